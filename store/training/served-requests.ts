/** Reads logged requests: with their outcomes as training rows, and without them to be answered again. */
import type { FeatureFit } from '@tenure/predictors/features'
import { textLiteral } from '../../domain/sql-text.ts'
import sql, { type Sql } from 'sql-template-tag'
import type { Features } from '../../domain/model/features.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { RowBatch } from '../database/cursor.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { Database } from '../postgres.ts'
import type { Output } from '../../domain/tasks/output.ts'

export interface AnsweringVersion {
  version: string
  features: Features
  fits: FeatureFit[]
  output: Output
  /** Predictions of its requests in the period. */
  predictions: number
  /** Predictions younger than the maturity age of outcomes. */
  young: number
  /** ISO 8601: its first request in the period. */
  firstAt: string
}

export interface ServedSpan {
  model: string
  /** ISO 8601. Absent: the whole log. */
  since?: string
  /** ISO 8601: outcomes that arrived later are not known. */
  asOf: string
  /** ISO 8601: later requests are too young. */
  matured: string
}

/** The versions that served in the period, the earliest first. */
export const listAnsweringVersions = (
  database: Database,
  { model, since = '-infinity', asOf, matured }: ServedSpan,
): Promise<AnsweringVersion[]> =>
  rowsFrom(database).list<AnsweringVersion>(sql`
    with asked as (
      select version, sum(instances)::float8 as predictions, min(at) as first_at,
        coalesce(sum(instances) filter (where at > ${matured}), 0)::float8 as young
      from predictions where model = ${model} and at > ${since} and at <= ${asOf} group by version
    )
    select asked.version, manifest -> 'features' as features, manifest -> 'preprocessing' as fits, manifest -> 'output' as output,
      predictions, young, first_at
    from asked join versions on versions.version = asked.version order by first_at, asked.version`)

export interface ServedRequest {
  id: string
  atMs: number
  version: string
  arm: string
  routingKey: string | null
  instances: number
  /** Null without an outcome. */
  features: Uint8Array | null
  outputs: number[]
  /** For each instance with an outcome: its index, the value as text, and the times of arrival and observation. */
  outcomes: [place: number, value: string, arrivedMs: number, observedMs: number][]
}

/**
 * The query for a cursor: mature requests of these versions, each with the newest of its outcomes that had arrived. Requests
 * without an outcome have null inputs.
 */
export function servedRequestsQuery(
  { model, since, asOf, matured }: ServedSpan,
  versions: readonly string[],
  maxRequests: number,
): string {
  const listed = versions.map(textLiteral).join(', ')
  return `select id, extract(epoch from at)::float8 * 1000, version, arm, routing_key, instances,
      case when outcomes is not null then encode(features, 'base64') end, array_to_json(outputs), outcomes
    from (
      select id, at, version, arm, routing_key, instances, features, outputs from predictions
      where model = ${textLiteral(model)} and version in (${listed})
        and at > ${textLiteral(since ?? '-infinity')}::timestamptz and at <= ${textLiteral(matured)}::timestamptz
      order by md5(id::text) limit ${maxRequests}
    ) as requests left join lateral (
      select json_agg(json_build_array(place, value, arrived, observed)) as outcomes from (
        select distinct on (prediction_id) instance_index(prediction_id) as place, value #>> '{}' as value,
          extract(epoch from arrived_at)::float8 * 1000 as arrived, extract(epoch from observed_at)::float8 * 1000 as observed
        from (
          select prediction_id, value, arrived_at, observed_at, revision from outcomes where request_id = requests.id
          -- An outcome outranks what a person said, whenever that was.
          union all select prediction_id, value, reviewed_at, reviewed_at, 0 from reviews where request_id = requests.id
        ) as told where arrived_at <= ${textLiteral(asOf)}::timestamptz and observed_at <= arrived_at
        order by prediction_id, revision = 0, ${newestOutcomeFirst.sql}
      ) as newest
    ) as told on true`
}

/** A row of that query. */
export function readServedRequest(row: RowBatch['rows'][number]): ServedRequest {
  const [id, atMs, version, arm, routingKey, instances, features, outputs, outcomes] = row
  return {
    id: id!,
    atMs: Number(atMs),
    version: version!,
    arm: arm!,
    routingKey: routingKey!,
    instances: Number(instances),
    features: features === null ? null : Buffer.from(features!, 'base64'),
    outputs: JSON.parse(outputs ?? '[]') as number[],
    outcomes: JSON.parse(outcomes ?? '[]') as ServedRequest['outcomes'],
  }
}

export interface LoggedSpan {
  model: string
  /** ISO 8601, both. */
  since: string
  to: string
}

/** The versions that answered requests in the period. */
export const listLoggedVersions = (database: Database, { model, since, to }: LoggedSpan) =>
  rowsFrom(database).list<Pick<AnsweringVersion, 'version' | 'features' | 'fits'>>(sql`
    select version, manifest -> 'features' as features, manifest -> 'preprocessing' as fits from versions
    where model = ${model} and exists (
      select from predictions
      where predictions.model = ${model} and predictions.version = versions.version and at > ${since} and at <= ${to})
    order by created_at, version`)

export interface LoggedRequest {
  id: string
  version: string
  routingKey: string | null
  instances: number
  features: Uint8Array
  /** The answers to all instances; null unless the version is the one whose answers are wanted. */
  outputs: number[] | null
  /** The instances of all requests of the sample. */
  total: number
  /** From 0 to 1, by the hash of the id. */
  start: number
}

/**
 * The query for `readEach`: a sample of the requests of these versions with `maxBytes` of inputs at most, in the order of a hash of their
 * ids. So the first ones are a sample as well, and every request is as likely, whatever its time.
 */
export const loggedRequestsQuery = (
  { model, since, to }: LoggedSpan,
  versions: readonly string[],
  { maxRequests, maxBytes, answersOf }: { maxRequests: number; maxBytes: number; answersOf?: string },
): Sql => sql`
  select id::text as id, version, routing_key as "routingKey", instances, features, case when version = ${answersOf ?? null} then outputs end as outputs,
    (sum(instances) over ())::float8 as total, (hash & 268435455) / 268435456::float8 as start
  from (
    select *, sum(octet_length(features)) over (order by hash, id) as bytes
    from (
      select id, version, routing_key, instances, features, outputs, uuid_hash_extended(id, 0) as hash from predictions
      where model = ${model} and version = any(${versions}) and at > ${since} and at <= ${to}
      order by hash, id limit ${maxRequests}
    ) as sampled
  ) as counted where bytes <= ${maxBytes} order by hash, id`
