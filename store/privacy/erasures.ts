/**
 * Stores erasures: the hash of the subject, the stage and the receipt. The row remains, because it keeps later rows of the subject out.
 */
import sql, { type Sql } from 'sql-template-tag'
import type pg from 'pg'
import { isUsedBy } from '../training/snapshots.ts'
import { DomainError } from '../../domain/errors.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import type { HashedSubject } from './hashed-subject.ts'
import { listRecentReplicas } from '../serving/replicas.ts'
import { scoredDay } from '../serving/batches.ts'
import { hasErasures } from './erased-subjects.ts'
import type { ErasureFilter } from '../serving/prediction-log.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'

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
    where ${ofModel(filter)} and (${after?.id ?? null}::text is null
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

/**
 * Ends an erasure by what it has found, or another one has erased with a shared snapshot. Rows of other models were not erased. Undefined when it
 * has left that stage already.
 */
export const endErasure = (
  database: Database,
  { id, from, isErased }: { id: string; from: OpenStage; isErased: boolean },
) =>
  rowsFrom(database).value<ErasureEnd>(sql`
    update erasures set reached_at = null, ended_at = clock_timestamp(), stage = case
      when exists (select from jsonb_each(counts - 'of_other_models') as counted where value::bigint > 0)
        or exists (select from erasure_snapshots where erasure_id = ${id} and holds = 'yes') or ${isErased}
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

/** An erasure of the same key in another model that has found it in a snapshot of this model, too. */
export const findSharedErasure = (
  database: Database,
  { model, subjectHash }: Pick<Erasure, 'model' | 'subjectHash'>,
) =>
  rowsFrom(database).find<{ id: string; model: string }>(sql`
    select erasures.id, erasures.model from erasures
    join erasure_snapshots as held on held.erasure_id = erasures.id and held.holds = 'yes'
    join snapshots on snapshots.digest = held.digest
    where erasures.model <> ${model} and subject_hash = ${subjectHash} and stage = 'done' and ${isUsedBy(model)}
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

/** The versions of a model whose requests have a digest in place of its subject, so that these name no person. */
export const listDigestedSubjects = (database: Database, model: string): Promise<string[]> =>
  rowsFrom(database).column<string>(sql`
    select version from versions join models on models.name = versions.model
    where versions.model = ${model} and manifest #>> array['features', definition ->> 'subject', 'log'] = 'digest' order by version`)

const selected: Sql = sql`
  select id, model, subject_hash, is_number, number_hash, key_digest, requested_by, requested_at, stage, reached_at, counts, outstanding, notes, (
    select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('digest', held.digest, 'holds', holds, 'dropAfter', drop_after,
      'droppedAt', dropped_at)) order by held.digest), '[]')
    from erasure_snapshots as held join snapshots on snapshots.digest = held.digest where erasure_id = erasures.id
  ) as snapshots, ended_at
  from erasures`

// Stores the acknowledgements of replicas that every row served before an erasure is in the log, where it can be deleted.

/** The ids of live replicas that may still hold rows from before the erasure. */
export async function listOutstanding(store: Pick<Store, 'query' | 'leases'>, id: string): Promise<string[]> {
  // Leases are read first: a replica that takes a lease later has no row from before the erasure in its memory.
  const { live } = await listRecentReplicas(store)
  const acknowledged = await rowsFrom(store).column<string>(sql`
    select said.replica_id from erasure_acknowledgements as said join erasures on erasures.id = said.erasure_id
    where said.erasure_id = ${id} and said.at >= erasures.requested_at`)
  return live.map((each) => each.id).filter((each) => !acknowledged.includes(each))
}

/** An erasure as of its latest request, at a microsecond. */
export interface RequestedErasure {
  id: string
  requestedAt: string
}

/** Open erasures that this replica has not acknowledged since they were requested, or requested again. */
export const listUnacknowledged = (database: Database, replica: string) =>
  rowsFrom(database).list<RequestedErasure>(sql`
    select id, requested_at::text as requested_at from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said
      where said.erasure_id = erasures.id and said.replica_id = ${replica} and said.at >= erasures.requested_at)`)

/** Leaves out erasures that were requested again since the replica read them: later rows may be in its memory. */
export async function acknowledgeErasures(
  database: Database,
  { replica, settled }: { replica: string; settled: readonly RequestedErasure[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id, at)
    select erasures.id, replicas.id, clock_timestamp() from replicas, erasures
      join unnest(${settled.map(({ id }) => id)}::text[], ${settled.map(({ requestedAt }) => requestedAt)}::timestamptz[])
        as settled (id, requested_at) using (id, requested_at)
    where replicas.id = ${replica} on conflict (erasure_id, replica_id) do update set at = excluded.at`)
}

// Builds the filter that keeps spooled rows of erased subjects out of the prediction log. Otherwise a replica that returns after an outage
// would store them again.

/**
 * Undefined while no subject was erased, so that most installations pay nothing for it. `batch`: the batch whose rows arrive; those of a past
 * day count as of that day.
 */
export async function findErasureFilter(
  database: Database,
  { key }: SubjectKey,
  batch?: string,
): Promise<ErasureFilter | undefined> {
  if (!(await hasErasures(database))) return undefined
  return async (client: pg.ClientBase) => {
    const { rows } = await client.query<{ id: string; first: string }>(
      // Each row is hashed once, however many erasures there are.
      `with dated as materialized (
         select arrived.*, least(arrived.at, (select ${scoredDay} from batch_partitions where id = $2)) as known_at from arrived
       ), late as materialized (
         select dated.*, is_number from dated
           join (select model, max(requested_at) as newest, bool_or(is_number) as is_number from erasures group by model) as erased
             using (model)
         where known_at < newest + interval '1 minute'
       ), identifying as materialized (
         select version, definition ->> 'subject' as subject, manifest -> 'preprocessing' as fits
         from versions join models on models.name = versions.model
         where version in (select version from late) and exists (
           select from jsonb_array_elements(manifest -> 'preprocessing') as fit
           where fit ->> 'name' = definition ->> 'subject' and fit ->> 'kind' <> 'number')
       ), hashed as materialized (
         select id, model, known_at, unnest(subject_hashes_of($1, routing_key, is_number)) as subject_hash from late
         union all
         select id, model, known_at,
           unnest(subject_hashes_of($1, instance_of(features, fits, instances, instance) ->> subject, is_number))
         from late join identifying using (version), generate_series(0, instances - 1) as instance
         where features <> ''
       ), requested as materialized (
         select model, requested_at, unnest(requests) as id from erasures
       ), hit as (
         select hashed.id from hashed join erasures using (model, subject_hash)
         where known_at < requested_at + interval '1 minute'
         union
         select id from late join requested using (model, id)
         where known_at < requested_at + interval '1 minute'
       ), gone as (
         delete from arrived using hit where arrived.id = hit.id returning arrived.id, arrived.at
       ), gone_outcomes as (
         delete from outcomes where request_id in (select id from gone)
       ), gone_reviews as (
         delete from reviews where request_id in (select id from gone)
       ), gone_events as (
         delete from events where request_id in (select id from gone)
       ), remembered as (
         insert into erased_requests (id) select id from gone on conflict do nothing
       )
       select id, (min(at) over ())::text as first from gone`,
      [key, batch],
    )
    // A replica may have stored the pairs before the requests.
    if (rows.length > 0)
      await client.query(
        `delete from shadow_pairs where request_of(prediction_id) = any($1::uuid[]) and at > $2::timestamptz - interval '1 minute'`,
        [rows.map(({ id }) => id), rows[0]!.first],
      )
    return rows.length
  }
}
