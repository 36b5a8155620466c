/** Reads the erased subjects and requests, so that sources, outcomes and spooled rows do not bring them back. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'
import type { HashedSubject } from './hashed-subject.ts'

/** Returns which of these predictions belong to an erased request. */
export async function findErased(database: Database, predictionIds: readonly string[]): Promise<Set<string>> {
  const rows = await database.query<{ id: string }>(sql`
    select sent.id from unnest(${[...predictionIds]}::uuid[]) as sent (id)
    join erased_requests on erased_requests.id = request_of(sent.id)`)
  return new Set(rows.map(({ id }) => id))
}

/** An event, by the routing key of its user. */
interface KeyedEvent {
  id: string
  /** Default: every model. */
  model?: string
  routingKey: string
  /** ISO 8601. */
  occurredAt: string
}

/**
 * Returns the ids of the events of a person that occurred before the person was erased. Each routing key is hashed once, however many
 * erasures there are.
 */
export async function findErasedEvents(
  database: Database,
  { key }: Pick<SubjectKey, 'key'>,
  events: readonly KeyedEvent[],
): Promise<Set<string>> {
  if (events.length === 0 || !(await hasErasures(database))) return new Set()
  const rows = await database.query<{ id: string }>(sql`
    with sent as (
      select * from unnest(
        ${events.map(({ id }) => id)}::text[],
        ${events.map(({ model }) => model ?? null)}::text[],
        ${events.map(({ routingKey }) => routingKey)}::text[],
        ${events.map(({ occurredAt }) => occurredAt)}::timestamptz[]
      ) as sent (id, model, routing_key, occurred_at)
    ), hashed as materialized (
      select routing_key, is_number, subject_hashes_of(${key}, routing_key, is_number) as hashes
      from (select distinct routing_key from sent) as named, (select distinct is_number from erasures) as way
    )
    select distinct sent.id
    from sent join (select routing_key, is_number, unnest(hashes) as subject_hash from hashed) as named using (routing_key)
      join erasures using (is_number, subject_hash)
    where (sent.model is null or sent.model = erasures.model) and occurred_at < requested_at + interval '1 minute'`)
  return new Set(rows.map(({ id }) => id))
}

export const hasErasures = (database: Database): Promise<boolean> =>
  rowsFrom(database).any(sql`select from erasures limit 1`)

/** Returns the subjects whose rows are excluded from a model. Throws `configuration_invalid` if they were hashed with another key. */
export async function listErasedSubjects(
  database: Database,
  { model, subjectKey }: { model: string; subjectKey: SubjectKey },
): Promise<HashedSubject[]> {
  const rows = await rowsFrom(database).list<HashedSubject & { keyDigest: string }>(sql`
    select distinct subject_hash, is_number, number_hash, key_digest from erasures
    where model = ${model} order by subject_hash, is_number, number_hash`)
  if (rows.some(({ keyDigest }) => keyDigest !== subjectKey.digest)) throw underAnotherKey(model)
  return rows
}

/** Throws `configuration_invalid` if persons were erased from the model under another key: they would not be recognised. */
export async function requireKeyOfErasures(
  database: Database,
  { model, subjectKey }: { model: string; subjectKey: SubjectKey },
): Promise<void> {
  const isOfOther = await rowsFrom(database).any(
    sql`select from erasures where model = ${model} and key_digest <> ${subjectKey.digest} limit 1`,
  )
  if (isOfOther) throw underAnotherKey(model)
}

export const underAnotherKey = (model: string) =>
  new DomainError(
    'configuration_invalid',
    `persons were erased from ${model} under another secret (TENURE_SUBJECT_KEY) and could not be told from others: set that key again, or erase them anew and remove the old rows from erasures`,
  )

/** Until the transaction ends, the model gets no new erasure: the row of an erasure references that of its model. */
export async function lockErasedSubjects(database: Database, model: string): Promise<void> {
  await database.query(sql`select from models where name = ${model} for update`)
}
