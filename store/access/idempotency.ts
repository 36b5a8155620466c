/**
 * Stores the response to each command for a day. A sender that lost the response repeats the command; it must not be executed twice, nor
 * on a second replica while the first still executes it.
 */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** A command, identified by the key that sends it and its idempotency key. */
export interface RequestName {
  keyId: string
  name: string
}

export type Claim =
  /** The caller must execute the command; `id` identifies it. */
  | { kind: 'claimed'; id: string }
  /** Another process executes the command. */
  | { kind: 'held' }
  /** The command has this stored response. */
  | { kind: 'answered'; answer: unknown }
  /** The idempotency key was used for another command. */
  | { kind: 'other' }

/** How long a response is stored. */
const retentionHours = 24

/** Claims a command for `holdMs`, unless it is claimed or has a response. */
export async function claimRequest(
  database: Database,
  request: RequestName & { hash: Buffer; holder: string; holdMs: number },
): Promise<Claim> {
  const { keyId, name, hash, holder, holdMs } = request
  await database.query(
    sql`delete from idempotent_requests where at < now() - ${retentionHours} * interval '1 hour'`,
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
  // Deleted at this moment; the next attempt can claim it.
  if (known === undefined) return { kind: 'held' }
  if (!known.same) return { kind: 'other' }
  return known.answer === null ? { kind: 'held' } : { kind: 'answered', answer: known.answer }
}

/** An order that replicas stored while Postgres was unreachable. */
export interface KeptOrder {
  keyId: string
  /** The id of the command. */
  id: string
}

/** Contains a space, which no idempotency key does. */
const nameOfOrder = ({ id }: KeptOrder): string => `kept ${id}`

/** Records the version that a stored order refers to, before the order is carried out. */
export async function noteSubject(
  database: Database,
  { version, ...order }: KeptOrder & { version: string },
): Promise<void> {
  await database.query(sql`
    insert into idempotent_requests (key_id, name, request_hash, holder, held_until, answer)
    values (${order.keyId}, ${nameOfOrder(order)}, '', '', clock_timestamp(), ${JSON.stringify({ version })})
    on conflict do nothing`)
}

/** The version recorded for the first of these orders that has one; undefined when none has. */
export const findSubject = (database: Database, orders: readonly KeptOrder[]) =>
  rowsFrom(database).value<string>(sql`
    select answer ->> 'version' from idempotent_requests
    where (key_id, name) in (
      select * from unnest(${orders.map(({ keyId }) => keyId)}::text[], ${orders.map(nameOfOrder)}::text[]))
    order by at limit 1`)

/** Stores the response of a command that this process has claimed. */
export async function storeResponse(
  database: Database,
  { keyId, name, holder, status, answer }: RequestName & { holder: string; status: number; answer: object },
): Promise<void> {
  await database.query(sql`
    update idempotent_requests set status = ${status}, answer = ${JSON.stringify(answer)}
    where key_id = ${keyId} and name = ${name} and holder = ${holder}`)
}

/**
 * Releases the claim on a command whose result is unknown, so that it can be retried with the same id: Postgres may have carried it out.
 */
export async function releaseClaim(
  database: Database,
  { keyId, name, holder }: RequestName & { holder: string },
): Promise<void> {
  await database.query(sql`
    update idempotent_requests set held_until = clock_timestamp()
    where key_id = ${keyId} and name = ${name} and holder = ${holder} and answer is null`)
}
