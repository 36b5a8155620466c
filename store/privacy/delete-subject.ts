/**
 * Deletes the rows of an erasure. Each step deletes, counts and records in one transaction, so that a repeated step counts nothing twice
 * and skips nothing.
 */
import sql, { type Sql } from 'sql-template-tag'
import { fallbackSuffix } from '../../domain/serving/kill-switch.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { blanking } from '../serving/batches.ts'
import { awaitIngestion, subjectViews } from './subject-views.ts'

/**
 * The names in the log of a model, with the layout of their features. That of a constant fallback is unknown: it has the features of the
 * champion of the time, so its requests are found by their routing key alone.
 */
const loggedVersions = (model: Sql): Sql => sql`
  select version, coalesce(manifest -> 'preprocessing', '[]') as fits from versions where versions.model = ${model}
  union all select ${model} || ${fallbackSuffix}, '[]'::jsonb`

/** The period of the log to search: from the first row of the model to the erasure, with a margin because replica clocks differ. */
export async function findLogSpan(
  database: Database,
  id: string,
): Promise<{ fromAt: string; toAt: string } | undefined> {
  const span = await rowsFrom(database).find<{ fromAt?: string; toAt: string }>(sql`
    select coalesce(reached_at, (
        select min(first.at) from (${loggedVersions(sql`erasures.model`)}) as logged, lateral (
          select at from predictions where predictions.model = erasures.model and predictions.version = logged.version
          order by at limit 1) as first)) as from_at,
      requested_at + interval '1 minute' as to_at
    from erasures where id = ${id}`)
  return span?.fromAt === undefined ? undefined : { ...span, fromAt: span.fromAt }
}

/** Deletes the requests of the subject in a period with all dependent rows, and records the progress. */
export async function eraseSpan(
  database: Database,
  { id, key, fromAt, toAt }: { id: string; key: string; fromAt: string; toAt: string },
): Promise<void> {
  await database.query(sql`
    with erasure as materialized (
      select erasures.model, subject_hash, is_number, models.definition ->> 'subject' as subject
      from erasures join models on models.name = erasures.model where erasures.id = ${id}
    ), logged as materialized (
      select version, fits from erasure, lateral (${loggedVersions(sql`erasure.model`)}) as each
    ), gone as (
      delete from predictions using erasure, logged
      where predictions.model = erasure.model and predictions.at >= ${fromAt} and predictions.at < ${toAt}
        and logged.version = predictions.version
        and belongs_to_subject(${key}, subject_hash, is_number, subject, fits,
          predictions.routing_key, predictions.features, predictions.instances)
      returning predictions.id
    ), ${hanging(sql`select id from gone`)}
    update erasures set reached_at = ${toAt}, counts = ${added()} where id = ${id}`)
}

/** Deletes the requests that were named directly: those of the model, and the outcomes of requests that are not in the log. */
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

/** Deletes what hangs on requests, and records that they were erased. */
const hanging = (requests: Sql): Sql => sql`
    remembered as (
      insert into erased_requests (id) ${requests} on conflict do nothing
    ), ${dependent(requests)}`

/** The outcomes, reviews, events and pairs of requests. */
const dependent = (requests: Sql): Sql => sql`
    gone_outcomes as (
      delete from outcomes where request_id in (${requests}) returning 1
    ), gone_reviews as (
      delete from reviews where request_id in (${requests}) returning 1
    ), gone_pairs as (
      delete from shadow_pairs where request_of(prediction_id) in (${requests}) returning 1
    ), gone_events as (
      delete from events where request_id in (${requests}) returning 1
    )`

const added = (): Sql => sql`counts || jsonb_build_object(
      'requests', coalesce((counts ->> 'requests')::bigint, 0) + (select count(*) from gone),
      'outcomes', coalesce((counts ->> 'outcomes')::bigint, 0) + (select count(*) from gone_outcomes),
      'reviews', coalesce((counts ->> 'reviews')::bigint, 0) + (select count(*) from gone_reviews),
      'shadow_pairs', coalesce((counts ->> 'shadow_pairs')::bigint, 0) + (select count(*) from gone_pairs),
      'events', coalesce((counts ->> 'events')::bigint, 0) + (select count(*) from gone_events))`

/** Blanks the subject's rows of all batches, and deletes the requests of the log that they were logged as. */
export async function eraseBatchRows(
  database: Database,
  { id, key }: { id: string; key: string },
): Promise<void> {
  await database.query(
    blanking(key, {
      model: sql`(select model from erasures where id = ${id})`,
      erasures: sql`id = ${id}`,
      rows: sql`true`,
      also: hanging(sql`select id from gone`),
      counts: added(),
    }),
  )
}

/**
 * Deletes what was being stored while its request was erased: outcomes, reviews and events that had found the request, and pairs that a
 * replica still held. Later ones are refused. An earlier stage may have waited for days; a repeated request of an erasure moves its start.
 */
export async function eraseLate(database: Database, id: string): Promise<void> {
  await database.query(sql`
    with late as materialized (
      select id from erased_requests
      where erased_at > least(now() - interval '1 day', (select requested_at from erasures where id = ${id}))
    ), gone as (
      select from late where false
    ), ${dependent(sql`select id from late`)}
    update erasures set counts = ${added()} where id = ${id}`)
}

/**
 * Removes the subject's values from the feature store, the failed requests with its values, and the events of its routing key, including
 * events that belong to every model.
 */
export async function eraseRest(database: Database, { id, key }: { id: string; key: string }): Promise<void> {
  await awaitIngestion(database, id)
  await database.query(sql`
    with erasure as materialized (
      select erasures.model, subject_hash, is_number, requests, models.definition ->> 'subject' as subject
      from erasures join models on models.name = erasures.model where erasures.id = ${id}
    ), logged as materialized (
      select version, fits from erasure, lateral (${loggedVersions(sql`erasure.model`)}) as each
    ), gone_failed as (
      delete from failed_requests using erasure, logged
      where failed_requests.model = erasure.model and logged.version = failed_requests.version
        and (failed_requests.id = any(requests) or belongs_to_subject(${key}, subject_hash, is_number, subject, fits,
          failed_requests.routing_key, failed_requests.features, failed_requests.instances))
      returning 1
    ), views as materialized (
      ${subjectViews(sql`select model from erasures where id = ${id}`)}
    ), gone_history as (
      delete from feature_history using erasure, views
      where feature_history.view_id = views.view_id and subject_hash = any(subject_hashes_of(${key}, split_part(entity, chr(31), place), is_number)) returning 1
    ), gone_newest as (
      delete from feature_latest using erasure, views
      where feature_latest.view_id = views.view_id and subject_hash = any(subject_hashes_of(${key}, split_part(entity, chr(31), place), is_number)) returning 1
    ), gone_events as (
      delete from events using erasure
      where routing_key is not null and (events.model is null or events.model = erasure.model)
        and subject_hash = any(subject_hashes_of(${key}, routing_key, is_number))
      returning 1
    )
    update erasures set counts = counts || jsonb_build_object(
      'failed_requests', coalesce((counts ->> 'failed_requests')::bigint, 0) + (select count(*) from gone_failed),
      'feature_values', coalesce((counts ->> 'feature_values')::bigint, 0)
        + (select count(*) from gone_history) + (select count(*) from gone_newest),
      'events', coalesce((counts ->> 'events')::bigint, 0) + (select count(*) from gone_events))
    where id = ${id}`)
}
