/** Reads predictions with their matured outcomes for live quality: a sample of instances with all their outcomes. */
import type { FeatureFit } from '@tenure/predictors/features'
import sql, { empty, type Sql } from 'sql-template-tag'
import type { OutcomeValue } from '../../domain/tasks/output.ts'
import type { LoggedRow } from '../../domain/model/logged-rows.ts'
import type { QualityEvidence } from '../../domain/monitoring/quality.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { iso, type Span, type VersionSpan } from './monitor-windows.ts'
import { newestOutcomeFirst } from './outcomes.ts'

/**
 * Parts of a `with` clause: `sample` holds at most `limit` instances of a period, each with its `place`, its `prediction_id`, and `at`,
 * `instances` and the given columns of its request. Large requests would fill the limit soon, so each of up to `limit` requests gives the
 * same share of its instances, at equal steps from a start by its hash. Every instance is equally likely, whatever its time and the size
 * of its request. `requestsOnly`: without the rows of batches.
 */
const instanceSample = (
  { model, version, fromMs, toMs, requestsOnly }: Span & { version?: string; requestsOnly?: boolean },
  limit: number,
  columns: Sql = empty,
) => sql`
  requests as (
    select id, at, instances, uuid_hash_extended(id, 0) as hash ${columns} from predictions
    where model = ${model} ${version === undefined ? empty : sql`and version = ${version}`}
      ${requestsOnly === true ? sql`and arm <> 'batch'` : empty}
      and at >= ${iso(fromMs)} and at < ${iso(toMs)}
    order by hash limit ${limit}
  ), sample as (
    select requests.*, place, encode(overlay(uuid_send(id) placing substr(int4send(place), 3) from 15 for 2), 'hex')::uuid as prediction_id
    from requests
      cross join (select greatest(1, sum(instances)::float8 / ${limit}) as step from requests) as thinned
      -- Not the first bits of the hash, which decide whether the request is here.
      cross join lateral (select (hash & 268435455) / 268435456::float8 as start) as offsets
      cross join lateral generate_series(0, ceil(instances / step)::integer) as nth
      cross join lateral (select floor((nth + start) * step)::integer as place) as places
    where place < instances order by hash, place limit ${limit}
  )`

/** The outputs of one instance of `sample`, of a request whose instances have `width` each. */
const outputsOf = (width: number): Sql =>
  sql`outputs[place * ${width}::int + 1 : (place + 1) * ${width}::int] as outputs`

/** The delays of the first outcomes of predictions in a period, in milliseconds, as known at `nowMs`; over a sample of instances. */
export const listDelays = (
  database: Database,
  { nowMs, ...span }: Span & { nowMs: number },
  limit = 10_000,
) =>
  rowsFrom(database).column<number>(sql`
    with ${instanceSample(span, limit)}
    select extract(epoch from min(arrived_at) - sample.at)::float8 * 1000 as delay
    from sample join outcomes on outcomes.prediction_id = sample.prediction_id
    where arrived_at <= ${iso(nowMs)} group by sample.prediction_id, sample.at`)

/** The number of predictions that `listDelays` samples. */
export const countPredictions = async (database: Database, span: Span, limit = 10_000): Promise<number> =>
  (await rowsFrom(database).value<number>(sql`
    with ${instanceSample(span, limit)} select count(*)::integer from sample`)) ?? 0

/**
 * How many of the first requests to a version in a period have an outcome at `nowMs`. In the order of the index: a sample of the whole period
 * would read all its requests, which exceeds the time limit of a statement for a few requests per second.
 */
export async function countAnswered(
  database: Database,
  { model, version, fromMs, toMs, nowMs }: VersionSpan & { nowMs: number },
  limit = 1_000,
): Promise<{ requests: number; answered: number }> {
  const [row] = await database.query<{ requests: number; answered: number }>(sql`
    select count(*)::integer as requests, count(*) filter (where exists (
        select from outcomes where request_id = first.id and arrived_at <= ${iso(nowMs)}))::integer as answered
    from (
      select id from predictions
      where model = ${model} and version = ${version} and at >= ${iso(fromMs)} and at < ${iso(toMs)}
      order by at limit ${limit}
    ) as first`)
  return row!
}

/** Predictions of a version in a period with all their outcomes, over a sample of instances. */
export async function listAnswered(
  database: Database,
  { width, ...span }: VersionSpan & { width: number },
  limit = 20_000,
): Promise<Pick<QualityEvidence, 'predictions' | 'labels'>> {
  const predictions = await database.query<{
    id: string
    at: Date
    outputs: number[]
    routing_key: string | null
  }>(sql`
    with ${instanceSample(span, limit, sql`, outputs, routing_key`)}
    select prediction_id as id, at, ${outputsOf(width)}, routing_key from sample`)
  const labels = await database.query<{
    prediction_id: string
    value: OutcomeValue
    observed_at: Date
    arrived_at: Date
    revision: number
  }>(sql`
    select prediction_id, value, observed_at, arrived_at, revision
    from outcomes where prediction_id = any(${predictions.map(({ id }) => id)}::uuid[])`)
  return {
    predictions: predictions.map(({ id, at, outputs, routing_key: routingKey }) => ({
      id,
      atMs: at.getTime(),
      outputs,
      routingKey: routingKey ?? undefined,
    })),
    labels: labels.map((row) => ({
      predictionId: row.prediction_id,
      value: row.value,
      observedMs: row.observed_at.getTime(),
      arrivedMs: row.arrived_at.getTime(),
      revision: row.revision,
    })),
  }
}

/** The outputs of a version in a period, with or without outcomes, one after the other, over a sample of instances. */
export const listScores = async (
  database: Database,
  { width, ...span }: VersionSpan & { width: number; requestsOnly?: boolean },
  limit = 20_000,
): Promise<number[]> =>
  (
    await rowsFrom(database).column<number[]>(sql`
      with ${instanceSample(span, limit, sql`, outputs`)}
      select ${outputsOf(width)} from sample`)
  ).flat()

/** Logged rows and predictions with their routing keys, over a sample of instances. */
export const listLogged = (
  database: Database,
  { fits, width, ...span }: VersionSpan & { fits: readonly FeatureFit[]; width: number },
  limit: number,
) =>
  database.query<{ predictionId: string; entity: string; row: LoggedRow; outputs: number[] }>(sql`
    with ${instanceSample(span, limit, sql`, features, outputs, routing_key`)}
    select prediction_id as "predictionId", coalesce(routing_key, prediction_id::text) as entity,
      instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, place) as row, ${outputsOf(width)}
    from sample`)

// Reads matured rows with features, prediction and outcome, for metrics of slices.

export interface MaturedRow {
  row: LoggedRow
  outputs: number[]
  /** The routing key of the request, or the prediction without one. */
  entity: string
  /** The newest one that had arrived at the time of the check. */
  value: OutcomeValue
}

/**
 * The instances of a version in a period whose outcome was known by `nowMs`, among a sample of `limit` instances; `sampled` is how many
 * there are with the others.
 */
export async function listMaturedRows(
  database: Database,
  {
    fits,
    width,
    nowMs,
    ...span
  }: VersionSpan & { nowMs: number; fits: readonly FeatureFit[]; width: number },
  limit: number,
): Promise<{ sampled: number; rows: MaturedRow[] }> {
  const found = await database.query<Omit<MaturedRow, 'value'> & { value: OutcomeValue | null }>(sql`
    with ${instanceSample(span, limit, sql`, features, outputs, routing_key`)}
    select instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, place) as row,
      ${outputsOf(width)}, coalesce(routing_key, sample.prediction_id::text) as entity, value
    from sample left join lateral (
      select value from outcomes
      where outcomes.prediction_id = sample.prediction_id and arrived_at <= ${iso(nowMs)} and observed_at <= arrived_at
      order by ${newestOutcomeFirst} limit 1
    ) as newest on true`)
  const rows = found.flatMap(({ value, ...each }) => (value === null ? [] : [{ ...each, value }]))
  return { sampled: found.length, rows }
}
