/**
 * Stores pairs of champion and shadow predictions for one request. To tell which model is right more often, pairs need a tenth of the
 * labels of two separate cohorts.
 */
import sql from 'sql-template-tag'
import type { FeatureFit, FeatureRow } from '../../domain/model/features.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { Database } from '../postgres.ts'

export interface Pair {
  model: string
  release: string
  predictionId: string
  servedVersion: string
  shadowVersion: string
  served: object
  shadow: object
  /** 0 if both predictions are equal; absent if one version predicts more numbers than the other. */
  difference?: number
  /** A hash of the routing key, because the pairs of one user count once. */
  entity: number
}

/** Stores pairs. An existing pair stays unchanged, and those of erased requests are left out: a replica may hold them for minutes. */
export async function insertPairs(database: Database, pairs: readonly Pair[]): Promise<void> {
  await database.query(sql`
    insert into shadow_pairs
      (model, release_id, prediction_id, served_version, shadow_version, served, shadow, difference, entity)
    select * from unnest(
      ${pairs.map((pair) => pair.model)}::text[],
      ${pairs.map((pair) => pair.release)}::text[],
      ${pairs.map((pair) => pair.predictionId)}::uuid[],
      ${pairs.map((pair) => pair.servedVersion)}::text[],
      ${pairs.map((pair) => pair.shadowVersion)}::text[],
      ${pairs.map((pair) => JSON.stringify(pair.served))}::jsonb[],
      ${pairs.map((pair) => JSON.stringify(pair.shadow))}::jsonb[],
      ${pairs.map((pair) => pair.difference ?? null)}::double precision[],
      ${pairs.map((pair) => pair.entity)}::bigint[]
    ) as sent (model, release_id, prediction_id)
    where not exists (select from erased_requests where erased_requests.id = request_of(sent.prediction_id))
    on conflict (release_id, prediction_id) do nothing`)
}

/** A pair, reduced to its difference. */
export interface ComparedPair {
  predictionId: string
  entity: number
  /** The decisions; null for a number. */
  served: string | boolean | null
  shadow: string | boolean | null
  difference: number | null
  /** Each number, for a model of several numbers per row. */
  servedValues: number[] | null
  shadowValues: number[] | null
  /** The time at which the pair was stored, in Postgres' text format. */
  storedAt: string
}

/** Pairs younger than this may still be incomplete and are left for the next read. */
const settleSeconds = 1

/** Returns the next pairs of a release, in the order in which they were stored. */
export const listPairs = (
  database: Database,
  {
    release,
    served,
    shadow,
    after,
  }: {
    release: string
    served: string
    shadow: string
    after?: Pick<ComparedPair, 'storedAt' | 'predictionId'>
  },
  limit: number,
): Promise<ComparedPair[]> =>
  database.query<ComparedPair>(sql`
    select prediction_id as "predictionId", entity, served -> 'label' as served, shadow -> 'label' as shadow, difference,
      served -> 'values' as "servedValues", shadow -> 'values' as "shadowValues", at::text as "storedAt"
    from shadow_pairs
    where release_id = ${release} and served_version = ${served} and shadow_version = ${shadow}
      and (at, prediction_id) > (${after?.storedAt ?? '-infinity'}::timestamptz,
        ${after?.predictionId ?? '00000000-0000-0000-0000-000000000000'}::uuid)
      and at < clock_timestamp() - make_interval(secs => ${settleSeconds}::float8)
    order by at, prediction_id limit ${limit}`)

/** Returns the features and outputs of predictions that are already in the log. */
export const listLoggedPredictions = (
  database: Database,
  { ids, fits, width }: { ids: readonly string[]; fits: readonly FeatureFit[]; width: number },
) =>
  database.query<{ predictionId: string; row: FeatureRow; outputs: number[] }>(sql`
    select asked.id as "predictionId",
      instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, instance_index(asked.id)) as row,
      outputs[instance_index(asked.id) * ${width}::int + 1 : (instance_index(asked.id) + 1) * ${width}::int] as outputs
    from unnest(${ids}::uuid[]) as asked (id)
      join predictions on predictions.id = request_of(asked.id)
        and predictions.at >= (select min(prediction_time(id)) - interval '1 hour' from unnest(${ids}::uuid[]) as id)
        and predictions.at < (select max(prediction_time(id)) + interval '1 hour' from unnest(${ids}::uuid[]) as id)
    where instance_index(asked.id) < instances`)

/** Counts of the pairs with a known outcome, by which version was right. */
export interface PairCounts {
  /** Only the served version was right. */
  b: number
  /** Only the shadow version was right. */
  c: number
  /** Both were right, or both wrong. */
  same: number
}

/**
 * The share of outcomes that must have arrived before any pair is counted, and the quantile of outcome delays that a counted pair must
 * exceed.
 */
const coverage = 0.8
const maturity = 0.95

/**
 * Counts the entities of a release by their first pair, if its outcome is known: repeated requests of one user are no further evidence.
 * Models that predict a number have no right or wrong pairs. A pair counts only if it is older than most outcome delays, measured on the
 * older half of the pairs. A late flight becomes known late, so young pairs with an outcome are mostly negative, which would favour a model
 * that always predicts "on time".
 */
export async function countPairs(
  database: Database,
  { release, served, shadow }: { release: string; served: string; shadow: string },
): Promise<PairCounts> {
  const rows = await database.query<PairCounts>(sql`
    with half as (
      select min(at) + (clock_timestamp() - min(at)) / 2 as until from shadow_pairs
      where release_id = ${release} and served_version = ${served} and shadow_version = ${shadow}
    ),
    arrivals as (
      select at, (select min(arrived_at) from outcomes where outcomes.prediction_id = pairs.prediction_id) as arrived_at
      from shadow_pairs as pairs cross join half
      where release_id = ${release} and served_version = ${served} and shadow_version = ${shadow} and at <= half.until
    ),
    mature as (
      select case when count(arrived_at) >= ${coverage}::float8 * count(*) then clock_timestamp() - make_interval(secs =>
        percentile_cont(${maturity}::float8) within group (order by extract(epoch from greatest(arrived_at, at) - at))) end as until
      from arrivals
    ),
    firsts as (
      select distinct on (entity) prediction_id, served, shadow, at
      from shadow_pairs cross join mature
      where release_id = ${release} and served_version = ${served} and shadow_version = ${shadow}
        and served ? 'label' and shadow ? 'label' and at <= mature.until
      order by entity, at, prediction_id
    ),
    known as (
      select pairs.served -> 'label' as served, pairs.shadow -> 'label' as shadow,
        case jsonb_typeof(newest.value)
          when 'boolean' then newest.value
          when 'number' then case jsonb_typeof(pairs.served -> 'label')
            when 'boolean' then to_jsonb((newest.value)::numeric <> 0) else newest.value end
          else case jsonb_typeof(pairs.served -> 'label')
            when 'boolean' then to_jsonb(newest.value #>> '{}' = positive.name) else newest.value end
        end as truth
      from firsts as pairs
        cross join (
          select manifest #>> '{output,positive}' as name, manifest #> '{output,classes}' as classes
          from versions where version = ${shadow}
        ) as positive
        join lateral (
          select value from outcomes where outcomes.prediction_id = pairs.prediction_id order by ${newestOutcomeFirst} limit 1
        ) as newest on true
      -- Of a class that there is not, told before the prediction was in the log, both would be wrong, and so alike.
      where positive.classes is null or positive.classes ? (newest.value #>> '{}')
    )
    select count(*) filter (where served = truth and shadow <> truth)::integer as b,
      count(*) filter (where served <> truth and shadow = truth)::integer as c,
      count(*) filter (where (served = truth) = (shadow = truth))::integer as same
    from known`)
  return rows[0]!
}
