/**
 * Stores erasures: the hash of the subject, the stage and the receipt. The row remains, because it keeps later rows of the subject out.
 */
import sql, { type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import * as schema from '../../domain/schema.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { HashedSubject } from './hashed-subject.ts'

/**
 * - `done`: rows were erased, or a snapshot that holds the subject is listed for deletion.
 * - `nothing_found`: neither; the key may be written otherwise in the stored data.
 */
export type ErasureEnd = 'done' | 'nothing_found'
export type OpenStage = 'logs' | 'replicas' | 'again' | 'rest' | 'snapshots'
export type ErasureStage = OpenStage | ErasureEnd

/** An erasure as its receipt shows it. */
export const erasureRow = schema.record(
  {
    id: schema.text,
    model: schema.text,
    /** The hash of the subject's key; the key itself is not stored. */
    subjectHash: schema.text,
    keyDigest: schema.text,
    requestedBy: schema.text,
    requestedAt: schema.time,
    stage: schema.textOf<ErasureStage>(),
    /** The number of erased rows, by location. */
    counts: schema.map(schema.count),
    outstanding: schema.list(schema.text),
    notes: schema.list(schema.text),
    snapshots: schema.list(
      schema.record(
        { digest: schema.text, holds: schema.textOf<'yes' | 'unknown'>(), dropAfter: schema.time },
        { droppedAt: schema.time },
      ),
    ),
  },
  { reachedAt: schema.time, endedAt: schema.time },
)
export interface Erasure extends schema.TypeOf<typeof erasureRow> {
  /** Whether texts that write the same number name the subject. */
  isNumber: boolean
  /** The hash of the number that the subject's key writes. */
  numberHash?: string
}

export interface NewErasure
  extends Pick<Erasure, 'id' | 'model' | 'keyDigest' | 'requestedBy'>, HashedSubject {
  predictionIds: readonly string[]
}

/**
 * Inserts an erasure, or adds the predictions to the open erasure of the same subject, which then also covers the requests since. One
 * that has passed the log stage goes through the log again.
 */
export async function insertErasure(
  database: Database,
  each: NewErasure,
): Promise<{ id: string; isNew: boolean }> {
  const [row] = await database.query<{ id: string; isNew: boolean }>(sql`
    insert into erasures (id, model, subject_hash, is_number, number_hash, key_digest, requests, requested_by)
    values (${each.id}, ${each.model}, ${each.subjectHash}, ${each.isNumber}, ${each.numberHash ?? null}, ${each.keyDigest},
      (select coalesce(array_agg(distinct request_of(id)), '{}') from unnest(${[...each.predictionIds]}::uuid[]) as id), ${each.requestedBy})
    on conflict (model, subject_hash) where ended_at is null
    do update set is_number = excluded.is_number, number_hash = excluded.number_hash,
      requests = array(select distinct unnest(erasures.requests || excluded.requests)),
      requested_at = clock_timestamp(),
      -- Replicas acknowledge the newer request, and the log is read again after them.
      stage = case when erasures.stage = 'replicas' then 'replicas' else 'logs' end,
      reached_at = case when erasures.stage in ('logs', 'replicas') then erasures.reached_at end
    returning id, id = ${each.id} as "isNew"`)
  await database.query(sql`select pg_notify('tenure_erasures', ${row!.id})`)
  return row!
}

export const findErasure = (database: Database, id: string) =>
  rowsFrom(database).find<Erasure>(sql`${selected} where erasures.id = ${id}`)

/** Throws `not_found`. */
export async function getErasure(database: Database, id: string): Promise<Erasure> {
  const found = await findErasure(database, id)
  if (found === undefined)
    throw new DomainError('not_found', `there is no erasure ${JSON.stringify(id.slice(0, 80))}`)
  return found
}

/** The newest first, after the given row. */
export const listErasures = (
  database: Database,
  { after, limit, ...filter }: ModelFilter & { after?: { at: string; id: string }; limit: number },
) =>
  rowsFrom(database).list<Erasure>(sql`${selected}
    where ${ofModels(filter)} and (${after?.id ?? null}::text is null
      or (date_trunc('milliseconds', requested_at), erasures.id) < (${after?.at ?? null}::timestamptz, ${after?.id ?? null}))
    order by date_trunc('milliseconds', requested_at) desc, erasures.id desc limit ${limit}`)

/** Records the next stage. A repeated call changes nothing. */
export async function reachStage(
  database: Database,
  { id, from, to }: { id: string; from: OpenStage; to: OpenStage },
): Promise<void> {
  await database.query(
    sql`update erasures set stage = ${to}, reached_at = null where id = ${id} and stage = ${from}`,
  )
}

/** Ends an erasure by what it has found. Rows of other models were not erased. Undefined when it has left that stage already. */
export const endErasure = (database: Database, { id, from }: { id: string; from: OpenStage }) =>
  rowsFrom(database).value<ErasureEnd>(sql`
    update erasures set reached_at = null, ended_at = clock_timestamp(), stage = case
      when exists (select from jsonb_each(counts - 'of_other_models') as counted where value::bigint > 0)
        or exists (select from erasure_snapshots where erasure_id = ${id} and holds = 'yes')
      then 'done' else 'nothing_found' end
    where id = ${id} and stage = ${from} returning stage`)

/** The newest erasure of the same key that has erased something. */
export const findEarlierErasure = (
  database: Database,
  { model, subjectHash }: Pick<Erasure, 'model' | 'subjectHash'>,
) =>
  rowsFrom(database).value<string>(sql`
    select id from erasures where model = ${model} and subject_hash = ${subjectHash} and stage = 'done'
    order by ended_at desc limit 1`)

export async function noteErasure(
  database: Database,
  { id, outstanding, note }: { id: string; outstanding?: readonly string[]; note?: string },
): Promise<void> {
  await database.query(sql`
    update erasures set outstanding = coalesce(${outstanding ? [...outstanding] : null}::text[], outstanding),
      notes = case when ${note ?? null}::text is null or ${note ?? null} = any(notes) then notes else notes || ${note ?? null}::text end
    where id = ${id}`)
}

const selected: Sql = sql`
  select id, model, subject_hash, is_number, number_hash, key_digest, requested_by, requested_at, stage, reached_at, counts, outstanding, notes, (
    select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('digest', held.digest, 'holds', holds, 'dropAfter', drop_after,
      'droppedAt', dropped_at)) order by held.digest), '[]')
    from erasure_snapshots as held join snapshots on snapshots.digest = held.digest where erasure_id = erasures.id
  ) as snapshots, ended_at
  from erasures`
