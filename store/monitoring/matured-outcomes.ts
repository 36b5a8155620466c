/** Reads predictions with their matured outcomes for live quality: a sample of requests with all their outcomes. */
import type { OutcomeValue } from '../../domain/model/outcome.ts'
import sql, { empty, type Sql } from 'sql-template-tag'
import type { FeatureFit, FeatureRow } from '../../domain/model/features.ts'
import type { QualityEvidence } from '../../domain/monitoring/quality.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { iso, type Span, type VersionSpan } from './span.ts'

/**
 * Parts of a `with` clause: `sample` holds at most `limit` instances of a period, each with its `place` and `prediction_id`. Requests with
 * many instances fill the limit soon, so each of up to `limit` requests gives the same share of its instances, at equal steps from a
 * random but repeatable start. Every instance is equally likely, whatever its time and the size of its request.
 */
export const instanceSample = (
  { model, version, fromMs, toMs }: Span & { version?: string },
  columns: Sql,
  limit: number,
) => sql`
  requests as (
    select id, at, instances, md5(id::text) as hash, ${columns} from predictions
    where model = ${model} ${version === undefined ? empty : sql`and version = ${version}`}
      and at >= ${iso(fromMs)} and at < ${iso(toMs)}
    order by hash limit ${limit}
  ), sample as (
    select requests.*, place, encode(overlay(uuid_send(id) placing substr(int4send(place), 3) from 15 for 2), 'hex')::uuid as prediction_id
    from requests
      cross join (select greatest(1, sum(instances)::float8 / ${limit}) as step from requests) as thinned
      -- Not the first digits of the hash, which decide whether the request is here.
      cross join lateral (select ('x' || right(hash, 7))::bit(28)::integer / 268435456::float8 as start) as offsets
      cross join lateral generate_series(0, ceil(instances / step)::integer) as nth
      cross join lateral (select floor((nth + start) * step)::integer as place) as places
    where place < instances order by hash, place limit ${limit}
  )`

/** The delays of the first outcomes of predictions in a period, in milliseconds, as known at `nowMs`; over a sample of requests. */
export const listDelays = (
  database: Database,
  { model, fromMs, toMs, nowMs }: Span & { nowMs: number },
  limit = 10_000,
) =>
  rowsFrom(database).column<number>(sql`
    with sample as (
      select id, at from predictions
      where model = ${model} and at >= ${iso(fromMs)} and at < ${iso(toMs)} order by md5(id::text) limit ${limit}
    )
    select extract(epoch from min(arrived_at) - sample.at)::float8 * 1000 as delay
    from sample join outcomes on outcomes.request_id = sample.id
    where arrived_at <= ${iso(nowMs)} group by outcomes.prediction_id, sample.at`)

/** The number of predictions of the requests that `listDelays` samples. */
export async function countPredictions(database: Database, { model, fromMs, toMs }: Span, limit = 10_000) {
  const [row] = await database.query<{ count: number }>(sql`
    select coalesce(sum(instances), 0)::float8 as count from (
      select instances from predictions
      where model = ${model} and at >= ${iso(fromMs)} and at < ${iso(toMs)} order by md5(id::text) limit ${limit}
    ) as sample`)
  return row?.count ?? 0
}

/** The predictions of a version in a period with all their outcomes, over a sample of requests. */
export async function listAnswered(
  database: Database,
  { model, version, fromMs, toMs, width }: VersionSpan & { width: number },
  limit = 20_000,
): Promise<Pick<QualityEvidence, 'predictions' | 'labels'>> {
  const requests = await database.query<{ id: string; at: Date; instances: number; outputs: number[] }>(sql`
    select id, at, instances, outputs from predictions
    where model = ${model} and version = ${version} and at >= ${iso(fromMs)} and at < ${iso(toMs)}
    order by md5(id::text) limit ${limit}`)
  const labels = await database.query<{
    request_id: string
    place: number
    value: OutcomeValue
    observed_at: Date
    arrived_at: Date
    revision: number
  }>(sql`
    select request_id, instance_index(prediction_id) as place, value, observed_at, arrived_at, revision
    from outcomes where request_id = any(${requests.map(({ id }) => id)}::uuid[])`)
  const key = (id: string, place: number) => `${id}/${place}`
  return {
    predictions: requests.flatMap(({ id, at, instances, outputs }) =>
      Array.from({ length: instances }, (_, place) => ({
        id: key(id, place),
        atMs: at.getTime(),
        outputs: outputs.slice(place * width, (place + 1) * width),
      })),
    ),
    labels: labels.map((row) => ({
      predictionId: key(row.request_id, row.place),
      value: row.value,
      observedMs: row.observed_at.getTime(),
      arrivedMs: row.arrived_at.getTime(),
      revision: row.revision,
    })),
  }
}

/** The predictions of a version with one output in a period, with or without outcomes, over a sample of requests. */
export async function listScores(
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
  limit = 20_000,
): Promise<number[]> {
  const rows = await database.query<{ outputs: number[] }>(sql`
    select outputs from predictions
    where model = ${model} and version = ${version} and at >= ${iso(fromMs)} and at < ${iso(toMs)}
    order by md5(id::text) limit ${limit}`)
  return rows.flatMap(({ outputs }) => outputs)
}

/** Logged rows and predictions, instance by instance, chosen by the hash of their requests. */
export async function listLogged(
  database: Database,
  asked: VersionSpan & { fits: readonly FeatureFit[]; width: number },
  limit: number,
): Promise<{ predictionId: string; row: FeatureRow; outputs: number[] }[]> {
  const { model, version, fromMs, toMs, fits, width } = asked
  const found = await database.query<{ id: string; place: number; row: FeatureRow; outputs: number[] }>(sql`
    with sample as (
      select id, instances, features, outputs from predictions
      where model = ${model} and version = ${version} and at >= ${iso(fromMs)} and at < ${iso(toMs)}
      order by md5(id::text) limit ${limit}
    )
    select id, place, instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, place) as row,
      outputs[place * ${width}::int + 1 : (place + 1) * ${width}::int] as outputs
    from sample, generate_series(0, instances - 1) as place order by md5(id::text), place limit ${limit}`)
  return found.map(({ id, place, row, outputs }) => ({
    predictionId: `${id.slice(0, -4)}${place.toString(16).padStart(4, '0')}`,
    row,
    outputs,
  }))
}
