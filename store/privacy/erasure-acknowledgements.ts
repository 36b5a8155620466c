/** Stores the acknowledgements of replicas: every row served before an erasure is in the log, where it can be deleted. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** Live replicas that have not said that nothing from before the erasure waits with them. */
export const listOutstanding = (database: Database, id: string) =>
  rowsFrom(database).column<string>(sql`
    select id from replicas where lease_until > now() and not exists (
      select from erasure_acknowledgements as said where said.replica_id = replicas.id and said.erasure_id = ${id})
    order by id`)

/** Those that are not over and that this replica has said nothing of yet. */
export const listUnacknowledged = (database: Database, replica: string) =>
  rowsFrom(database).column<string>(sql`
    select id from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said where said.erasure_id = erasures.id and said.replica_id = ${replica})`)

export async function acknowledgeErasures(
  database: Database,
  { replica, ids }: { replica: string; ids: readonly string[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id)
    select erasures.id, replicas.id from erasures, replicas
    where erasures.id = any(${[...ids]}::text[]) and replicas.id = ${replica} on conflict do nothing`)
}
