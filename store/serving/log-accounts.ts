/**
 * Counts how many rows each API process has stored in the prediction log. The count is written in the transaction of the rows, so it
 * stays exact after a crash between commit and response.
 */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The rows that one transaction stores for one process. */
export interface Entry {
  account: string
  rows: number
}

/**
 * Runs after the rows, in their transaction and in the same message, so it has no parameters. A settled account accepts no more rows:
 * rows of a dead process that are still on their way to the server fail with it, and stay counted as lost.
 */
export function entryText({ account, rows }: Entry): string {
  if (!/^\w+$/.test(account) || !Number.isSafeInteger(rows)) throw new Error(`${account} is not an account`)
  return `insert into prediction_log_accounts (account, stored) values ('${account}', ${rows})
    on conflict (account) do update set stored = prediction_log_accounts.stored + excluded.stored`
}

/**
 * Settles the account of a process that has ended and has no spooled rows left. Returns how many of its served rows are stored nowhere.
 * Nothing may be stored for it afterwards. A repeated call changes nothing.
 */
export async function settleAccount(
  database: Database,
  { account, served }: { account: string; served: number },
): Promise<number> {
  const dropped = await rowsFrom(database).value<number>(sql`
    insert into prediction_log_accounts as known (account, served, dropped, settled_at)
    values (${account}, ${served}, ${served}, now())
    on conflict (account) do update set
      served = coalesce(known.served, greatest(excluded.served, known.stored)),
      dropped = coalesce(known.dropped, greatest(excluded.served - known.stored, 0)),
      settled_at = coalesce(known.settled_at, now())
    returning dropped`)
  return dropped ?? 0
}

/** The sums over all processes with a settled account; served = stored + dropped. */
export async function sumAccounts(
  database: Database,
): Promise<Record<'accounts' | 'open' | 'served' | 'stored' | 'dropped', number>> {
  const [row] = await database.query<Awaited<ReturnType<typeof sumAccounts>>>(sql`
    select count(*) as accounts, count(*) filter (where settled_at is null) as open,
      coalesce(sum(served), 0)::bigint as served, sum(stored)::bigint as stored, coalesce(sum(dropped), 0)::bigint as dropped
    from prediction_log_accounts`)
  return row!
}
