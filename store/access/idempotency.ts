/**
 * Stores the response to each command for a day. A sender that lost the response repeats the command, and must not execute it twice,
 * nor on a second replica while the first still executes it.
 */
import sql from 'sql-template-tag'
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
