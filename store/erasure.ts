/**
 * What is erased of a person, and how far that has come. Each step deletes, counts and remembers in one transaction, so that
 * one that is killed and done again counts nothing twice and leaves nothing out.
 */
import sql, { type Sql } from 'sql-template-tag'
import { DomainError } from '../domain/errors.ts'
import type { Database } from './postgres.ts'
import type { SubjectKey } from './subject-key.ts'

export const erasureStages = ['logs', 'replicas', 'again', 'rest', 'snapshots', 'done'] as const
export type ErasureStage = (typeof erasureStages)[number]

export interface Erasure {
  id: string
  model: string
  /** Of the person; the name itself is kept nowhere. */
  subjectHash: string
  keyDigest: string
  requestedBy: string
  /** ISO 8601. */
  requestedAt: string
  stage: ErasureStage
  reachedAt?: string
  /** What was erased, by where it was. */
  counts: Record<string, number>
  outstanding: string[]
  notes: string[]
  snapshots: { digest: string; holds: 'yes' | 'unknown'; dropAfter: string; droppedAt?: string }[]
  endedAt?: string
}

export interface NewErasure {
  id: string
  model: string
  subjectHash: string
  keyDigest: string
  predictionIds: readonly string[]
  requestedBy: string
}

/** The open one of the same person when there is one, with the predictions added to it. */
export async function insertErasure(
  database: Database,
  each: NewErasure,
): Promise<{ id: string; isNew: boolean }> {
  const [row] = await database.query<{ id: string; is_new: boolean }>(sql`
    insert into erasures (id, model, subject_hash, key_digest, requests, requested_by)
    values (${each.id}, ${each.model}, ${each.subjectHash}, ${each.keyDigest},
      (select coalesce(array_agg(distinct request_of(id)), '{}') from unnest(${[...each.predictionIds]}::uuid[]) as id), ${each.requestedBy})
    on conflict (model, subject_hash) where ended_at is null
    do update set requests = array(select distinct unnest(erasures.requests || excluded.requests))
    returning id, id = ${each.id} as is_new`)
  await database.query(sql`select pg_notify('tenure_erasures', ${row!.id})`)
  return { id: row!.id, isNew: row!.is_new }
}

export async function findErasure(database: Database, id: string): Promise<Erasure | undefined> {
  const [row] = await database.query<ErasureRow>(sql`${selected} where erasures.id = ${id}`)
  return row && toErasure(row)
}

/** Throws `not_found`. */
export async function getErasure(database: Database, id: string): Promise<Erasure> {
  const found = await findErasure(database, id)
  if (found === undefined)
    throw new DomainError('not_found', `there is no erasure ${JSON.stringify(id.slice(0, 80))}`)
  return found
}

/** The newest first, from behind a row on. */
export async function listErasures(
  database: Database,
  {
    model,
    models,
    after,
    limit,
  }: { model?: string; models?: readonly string[]; after?: { at: string; id: string }; limit: number },
): Promise<Erasure[]> {
  const rows = await database.query<ErasureRow>(sql`${selected}
    where (${model ?? null}::text is null or model = ${model ?? null})
      and (${models ? [...models] : null}::text[] is null or model = any(${models ? [...models] : null}::text[]))
      and (${after?.id ?? null}::text is null
        or (date_trunc('milliseconds', requested_at), erasures.id) < (${after?.at ?? null}::timestamptz, ${after?.id ?? null}))
    order by date_trunc('milliseconds', requested_at) desc, erasures.id desc limit ${limit}`)
  return rows.map(toErasure)
}

/** Where the log of a model is gone through: from its first row to the moment of the erasure; clocks of replicas differ. */
export async function findLogSpan(
  database: Database,
  id: string,
): Promise<{ fromAt: string; toAt: string } | undefined> {
  const [row] = await database.query<{ from_at: Date | null; to_at: Date }>(sql`
    select coalesce(reached_at, (
        select min(first.at) from versions, lateral (
          select at from predictions where predictions.model = versions.model and predictions.version = versions.version
          order by at limit 1) as first
        where versions.model = erasures.model)) as from_at,
      requested_at + interval '1 minute' as to_at
    from erasures where id = ${id}`)
  if (row?.from_at == null) return undefined
  return { fromAt: row.from_at.toISOString(), toAt: row.to_at.toISOString() }
}

/** Erases what was asked for the person in a span of time, with all that hangs on it, and remembers to have come so far. */
export async function eraseSpan(
  database: Database,
  { id, key, fromAt, toAt }: { id: string; key: string; fromAt: string; toAt: string },
): Promise<void> {
  await database.query(sql`
    with erasure as materialized (
      select erasures.model, subject_hash, models.definition ->> 'subject' as subject
      from erasures join models on models.name = erasures.model where erasures.id = ${id}
    ), gone as (
      delete from predictions using erasure, versions
      where predictions.model = erasure.model and predictions.at >= ${fromAt} and predictions.at < ${toAt}
        and versions.version = predictions.version
        and is_of_subject(${key}, subject_hash, subject, coalesce(versions.manifest -> 'preprocessing', '[]'),
          predictions.routing_key, predictions.features, predictions.instances)
      returning predictions.id
    ), ${hanging(sql`select id from gone`)}
    update erasures set reached_at = ${toAt}, counts = ${added()} where id = ${id}`)
}

/** Erases the requests that were named themselves: those of the model, and what is said of those that nobody knows. */
export async function eraseNamed(database: Database, id: string): Promise<void> {
  await database.query(sql`
    with named as materialized (
      select unnest(requests) as id from erasures where id = ${id}
    ), foreign_ones as materialized (
      select predictions.id from predictions join named on named.id = predictions.id
      where predictions.model <> (select model from erasures where id = ${id})
    ), own as materialized (
      select id from named where id not in (select id from foreign_ones)
    ), gone as (
      delete from predictions using own where predictions.id = own.id returning predictions.id
    ), ${hanging(sql`select id from own`)}
    update erasures set counts = ${added()} ||
      case when (select count(*) from foreign_ones) = 0 then '{}'::jsonb
        else jsonb_build_object('of_other_models', (select count(*) from foreign_ones)) end
    where id = ${id}`)
}

/** The outcomes and pairs of requests, and the memory of them. */
const hanging = (requests: Sql): Sql => sql`
    remembered as (
      insert into erased_requests (id) ${requests} on conflict do nothing
    ), gone_outcomes as (
      delete from outcomes where request_id in (${requests}) returning 1
    ), gone_pairs as (
      delete from shadow_pairs where request_of(prediction_id) in (${requests}) returning 1
    )`

const added = (): Sql => sql`counts || jsonb_build_object(
      'requests', coalesce((counts ->> 'requests')::bigint, 0) + (select count(*) from gone),
      'outcomes', coalesce((counts ->> 'outcomes')::bigint, 0) + (select count(*) from gone_outcomes),
      'shadow_pairs', coalesce((counts ->> 'shadow_pairs')::bigint, 0) + (select count(*) from gone_pairs))`

/** Blanks the person's rows of batches that carry the column, and removes its values from the feature store. */
export async function eraseRest(database: Database, { id, key }: { id: string; key: string }): Promise<void> {
  await database.query(sql`
    with erasure as materialized (
      select erasures.model, subject_hash, models.definition ->> 'subject' as subject, models.definition -> 'views' as views
      from erasures join models on models.name = erasures.model where erasures.id = ${id}
    ), blanked as (
      update batch_predictions set key = null, outputs = null, answer = null, problem = 'erased'
      from erasure, batches
      where batches.model = erasure.model and batch_predictions.batch_id = batches.id and batch_predictions.key is not null
        and subject_hash_of(${key}, batch_predictions.key ->> erasure.subject) = subject_hash
      returning 1
    ), views as materialized (
      select feature_views.id from erasure, feature_views
      where feature_views.definition -> 'entity' = jsonb_build_array(erasure.subject)
        and feature_views.name in (select each ->> 'name' from jsonb_array_elements(coalesce(erasure.views, '[]')) as each)
    ), gone_history as (
      delete from feature_history using erasure, views
      where view_id = views.id and subject_hash_of(${key}, entity) = subject_hash returning 1
    ), gone_newest as (
      delete from feature_newest using erasure, views
      where view_id = views.id and subject_hash_of(${key}, entity) = subject_hash returning 1
    )
    update erasures set counts = counts || jsonb_build_object(
      'batch_rows', coalesce((counts ->> 'batch_rows')::bigint, 0) + (select count(*) from blanked),
      'feature_values', coalesce((counts ->> 'feature_values')::bigint, 0)
        + (select count(*) from gone_history) + (select count(*) from gone_newest))
    where id = ${id}`)
}

/** The next stage; told once more nothing changes. */
export async function reachStage(
  database: Database,
  { id, from, to }: { id: string; from: ErasureStage; to: ErasureStage },
): Promise<boolean> {
  const rows = await database.query(sql`
    update erasures set stage = ${to}, reached_at = null, ended_at = case when ${to === 'done'}::boolean then clock_timestamp() end
    where id = ${id} and stage = ${from} returning 1`)
  return rows.length > 0
}

export async function noteErasure(
  database: Database,
  { id, outstanding, note }: { id: string; outstanding?: readonly string[]; note?: string },
): Promise<void> {
  await database.query(sql`
    update erasures set outstanding = coalesce(${outstanding ? [...outstanding] : null}::text[], outstanding),
      notes = case when ${note ?? null}::text is null or ${note ?? null} = any(notes) then notes else notes || ${note ?? null}::text end
    where id = ${id}`)
}

/** Live replicas that have not said that nothing from before the erasure waits with them. */
export async function listOutstanding(database: Database, id: string): Promise<string[]> {
  const rows = await database.query<{ id: string }>(sql`
    select id from replicas where lease_until > now() and not exists (
      select from erasure_acknowledgements as said where said.replica_id = replicas.id and said.erasure_id = ${id})
    order by id`)
  return rows.map((row) => row.id)
}

/** Those that are not over and that this replica has said nothing of yet. */
export async function listUnacknowledged(database: Database, replica: string): Promise<string[]> {
  const rows = await database.query<{ id: string }>(sql`
    select id from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said where said.erasure_id = erasures.id and said.replica_id = ${replica})`)
  return rows.map((row) => row.id)
}

export async function acknowledgeErasures(
  database: Database,
  { replica, ids }: { replica: string; ids: readonly string[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id)
    select erasures.id, replicas.id from erasures, replicas
    where erasures.id = any(${[...ids]}::text[]) and replicas.id = ${replica} on conflict do nothing`)
}

/** Of these predictions, the ones whose request was erased. */
export async function findErased(database: Database, predictionIds: readonly string[]): Promise<Set<string>> {
  const rows = await database.query<{ id: string }>(sql`
    select sent.id from unnest(${[...predictionIds]}::uuid[]) as sent (id)
    join erased_requests on erased_requests.id = request_of(sent.id)`)
  return new Set(rows.map(({ id }) => id))
}

export async function hasErasures(database: Database): Promise<boolean> {
  const [row] = await database.query<{ there: boolean }>(sql`select exists (select from erasures) as there`)
  return row?.there === true
}

/** Hashes of the persons who are kept out of a model's rows. Throws `configuration_invalid` when they were made with another key. */
export async function listErasedSubjects(
  database: Database,
  { model, subjectKey }: { model: string; subjectKey: SubjectKey },
): Promise<string[]> {
  const rows = await database.query<{ subject_hash: string; key_digest: string }>(sql`
    select distinct subject_hash, key_digest from erasures where model = ${model} order by subject_hash`)
  if (rows.some(({ key_digest: digest }) => digest !== subjectKey.digest))
    throw new DomainError(
      'configuration_invalid',
      `persons were erased from ${model} under another signing key (TENURE_SIGNING_KEY) and could not be told from others: set that key again, or erase them anew`,
    )
  return rows.map(({ subject_hash: hash }) => hash)
}

const selected: Sql = sql`
  select erasures.*, (
    select coalesce(jsonb_agg(jsonb_build_object('digest', held.digest, 'holds', holds, 'dropAfter', drop_after,
      'droppedAt', dropped_at) order by held.digest), '[]')
    from erasure_snapshots as held join snapshots on snapshots.digest = held.digest where erasure_id = erasures.id
  ) as held from erasures`

interface ErasureRow {
  id: string
  model: string
  subject_hash: string
  key_digest: string
  requested_by: string
  requested_at: Date
  stage: ErasureStage
  reached_at: Date | null
  counts: Record<string, number>
  outstanding: string[]
  notes: string[]
  held: { digest: string; holds: 'yes' | 'unknown'; dropAfter: string; droppedAt: string | null }[]
  ended_at: Date | null
}

const toErasure = (row: ErasureRow): Erasure => ({
  id: row.id,
  model: row.model,
  subjectHash: row.subject_hash,
  keyDigest: row.key_digest,
  requestedBy: row.requested_by,
  requestedAt: row.requested_at.toISOString(),
  stage: row.stage,
  ...(row.reached_at === null ? {} : { reachedAt: row.reached_at.toISOString() }),
  counts: row.counts,
  outstanding: row.outstanding,
  notes: row.notes,
  snapshots: row.held.map(({ droppedAt, ...held }) => ({
    ...held,
    ...(droppedAt === null ? {} : { droppedAt }),
  })),
  ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
})
