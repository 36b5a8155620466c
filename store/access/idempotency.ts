/**
 * Stores the response to each command for a day. A sender that lost the response repeats the command, and must not execute it twice,
 * nor on a second replica while the first still executes it.
 */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** One command by the key that sends it and the name that the sender gave it. */
export interface RequestName {
  keyId: string
  name: string
}

export type Claim =
  /** The caller executes it; `id` names the command. */
  | { kind: 'claimed'; id: string }
  /** Another process executes it. */
  | { kind: 'held' }
  /** It was answered so. */
  | { kind: 'answered'; answer: unknown }
  /** The name was given to another command. */
  | { kind: 'other' }

/** How long an answer is kept. */
const keptHours = 24

/** Takes a command in hand for `holdMs`, unless it is in hand, or was answered. */
export async function claimRequest(
  database: Database,
  request: RequestName & { hash: Buffer; holder: string; holdMs: number },
): Promise<Claim> {
  const { keyId, name, hash, holder, holdMs } = request
  await database.query(
    sql`delete from idempotent_requests where at < now() - ${keptHours} * interval '1 hour'`,
  )
  const [claimed] = await database.query<{ id: string }>(sql`
    insert into idempotent_requests as known (key_id, name, request_hash, holder, held_until)
    values (${keyId}, ${name}, ${hash}, ${holder}, clock_timestamp() + ${holdMs} * interval '1 ms')
    on conflict (key_id, name) do update set holder = excluded.holder, held_until = excluded.held_until
      where known.answer is null and known.held_until < clock_timestamp()
        and known.request_hash = excluded.request_hash
    returning left(encode(sha256(convert_to(concat_ws(' ', key_id, name, extract(epoch from at)), 'UTF8')), 'hex'), 32)::uuid
      as id`)
  if (claimed !== undefined) return { kind: 'claimed', id: claimed.id }
  const [known] = await database.query<{ same: boolean; answer: unknown }>(sql`
    select request_hash = ${hash} as same, answer from idempotent_requests
    where key_id = ${keyId} and name = ${name}`)
  // Deleted in this very moment: the next attempt gets it.
  if (known === undefined) return { kind: 'held' }
  if (!known.same) return { kind: 'other' }
  return known.answer === null ? { kind: 'held' } : { kind: 'answered', answer: known.answer }
}

/** An order that replicas kept while Postgres was away. */
export interface KeptOrder {
  keyId: string
  /** Of the command. */
  id: string
}

/** Has a space, which the name of no command has. */
const nameOfOrder = ({ id }: KeptOrder): string => `kept ${id}`

/** Notes the version that a kept order is about, before it is carried out. */
export async function noteSubject(
  database: Database,
  { version, ...order }: KeptOrder & { version: string },
): Promise<void> {
  await database.query(sql`
    insert into idempotent_requests (key_id, name, request_hash, holder, held_until, answer)
    values (${order.keyId}, ${nameOfOrder(order)}, '', '', clock_timestamp(), ${JSON.stringify({ version })})
    on conflict do nothing`)
}

/** The version of the first of these orders that was kept; undefined when none of them was. */
export const findSubject = (database: Database, orders: readonly KeptOrder[]) =>
  rowsFrom(database).value<string>(sql`
    select answer ->> 'version' from idempotent_requests
    where (key_id, name) in (
      select * from unnest(${orders.map(({ keyId }) => keyId)}::text[], ${orders.map(nameOfOrder)}::text[]))
    order by at limit 1`)

/** Keeps the answer of the command that this holder has in hand. */
export async function storeResponse(
  database: Database,
  { keyId, name, holder, status, answer }: RequestName & { holder: string; status: number; answer: object },
): Promise<void> {
  await database.query(sql`
    update idempotent_requests set status = ${status}, answer = ${JSON.stringify(answer)}
    where key_id = ${keyId} and name = ${name} and holder = ${holder}`)
}

/** Lets go of a command whose result is unknown, so that it may be tried again: with the same id, because Postgres may have carried it out. */
export async function releaseClaim(
  database: Database,
  { keyId, name, holder }: RequestName & { holder: string },
): Promise<void> {
  await database.query(sql`
    update idempotent_requests set held_until = clock_timestamp()
    where key_id = ${keyId} and name = ${name} and holder = ${holder} and answer is null`)
}
