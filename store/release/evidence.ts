/** Stores and reads what a release is judged by: counts per tick, shadow pairs, answers, readings of other systems and events. */
import type { FeatureFit } from '@tenure/predictors/features'
import sql, { empty, type Sql } from 'sql-template-tag'
import type { BreakerCounts } from '../../domain/serving/circuit-breaker.ts'
import type { Arm } from '../../domain/serving/route.ts'
import { prepared } from '../database/prepared.ts'
import { readEach } from '../database/cursor.ts'
import type { Database, Store } from '../postgres.ts'
import type { LoggedRow } from '../../domain/model/logged-rows.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { BusinessRow } from '../../domain/canary/business-metric.ts'
import type { ExternalRow, ExternalReading } from '../../domain/canary/external/external-metric.ts'
import type { DisagreementReport } from '../../domain/canary/disagreement.ts'
import {
  servedSkewReason,
  servedText,
  type ServedRows,
} from '../../domain/monitoring/training-serving-skew.ts'
import type { OutcomeValue } from '../../domain/tasks/output.ts'
import { rowsFrom } from '../database/from-row.ts'

/** The arms of a route, and the shadow. */
export type CountedArm = Arm | 'shadow'

export interface TickCounts {
  model: string
  /** Absent between releases. */
  release: string | undefined
  version: string
  arm: CountedArm
  generation: number
  /** The start of the tick, in milliseconds of the database's time. */
  tickMs: number
  /** The length of the tick. */
  lengthMs: number
  requests: number
  errors: number
  invalid: number
  slow95: number
  slow99: number
  /** Callers with at least one failed request or invalid output in the tick; absent: every failure is one of another caller. */
  failedCallers?: number
  /** Further requests in the tick of callers that had failed in it; the watch of champions leaves them out. Absent: none. */
  repeats?: number
  /** Routing keys with their first request to the arm in this generation; absent outside a release. */
  keys?: number
  /** How many of those keys got each answer. */
  answers?: number[]
  /** The units with their first event at this replica in the tick, all of which the counts include. */
  units?: readonly CountedUnits[]
  /** Whether the circuit breaker of the replica has dropped the candidate. */
  breakerOpen?: boolean
  /** Upper bound in microseconds → requests. */
  latency: Record<string, number>
}

/** Units that have each added one to a count, and to each of the bins of the answers. */
export interface CountedUnits {
  counts: 'errors' | 'invalid' | 'slow95' | 'slow99' | 'keys' | 'failedCallers'
  bins: readonly number[]
  /** Hashes of the unit with what it counts for: the key, arm and stage, or the key and metric. */
  units: number[]
}

/** Takes `repeated` of the units out of the counts again, because another replica has counted them. */
function takeOut(tick: TickCounts, { counts, bins }: CountedUnits, repeated: number): void {
  tick[counts] = (tick[counts] ?? 0) - repeated
  for (const bin of bins) tick.answers![bin]! -= repeated
  // The failure of a caller that has failed at another replica is a further request of it.
  if (counts === 'failedCallers') tick.repeats = (tick.repeats ?? 0) + repeated
}

/** The counts of the ticks, in which each unit counts once over all replicas. `held`: how many units of each list this replica holds. */
export function countedOnce(
  ticks: readonly TickCounts[],
  held: ReadonlyMap<CountedUnits, number>,
): TickCounts[] {
  return ticks.map(({ units = [], ...tick }) => {
    const counted = { ...tick, ...(tick.answers && { answers: [...tick.answers] }) }
    for (const each of units) takeOut(counted, each, each.units.length - (held.get(each) ?? 0))
    return counted
  })
}

/**
 * Claims the units of ticks for a replica. The primary key makes one replica count each unit, and a tick that is written again holds the
 * units that it has claimed before. All replicas insert in one order, so that none waits for another in a circle.
 */
async function claimUnits(
  database: Database,
  { replica, ticks }: { replica: string; ticks: readonly TickCounts[] },
): Promise<Map<CountedUnits, number>> {
  const lists = ticks.flatMap((tick) => (tick.units ?? []).map((each) => ({ tick, each })))
  if (lists.length === 0) return new Map()
  const held = await database.query<{ list: number; held: number }>(prepared`
    with sent as materialized (
      select list, unit, model, release_id, to_timestamp(tick_ms / 1000) as tick
      from unnest(${lists.flatMap(({ each }, list) => each.units.map(() => list + 1))}::integer[],
          ${lists.flatMap(({ each }) => each.units)}::bigint[]) as units (list, unit)
        join unnest(${lists.map(({ tick }) => tick.model)}::text[],
          ${lists.map(({ tick, each }) => (each.counts === 'failedCallers' ? '' : (tick.release ?? '')))}::text[],
          ${lists.map(({ tick }) => tick.tickMs)}::float8[]) with ordinality as lists (model, release_id, tick_ms, list) using (list)
    ), claimed as (
      insert into counted_units (model, release_id, unit, replica_id, tick)
      select model, release_id, unit, ${replica}, tick from sent order by release_id, unit
      on conflict do nothing returning release_id, unit, tick
    ), held as (
      select release_id, unit, tick from claimed
      union all
      select release_id, unit, counted_units.tick from sent join counted_units using (release_id, unit)
      where replica_id = ${replica} and counted_units.tick = sent.tick
    )
    select list::integer as list, count(*)::float8 as held from sent join held using (release_id, unit, tick) group by list`)
  return new Map(held.map((row) => [lists[row.list - 1]!.each, row.held]))
}

export async function writeTicks(
  database: Database,
  { replica, ticks: counted }: { replica: string; ticks: readonly TickCounts[] },
): Promise<void> {
  const ticks = countedOnce(counted, await claimUnits(database, { replica, ticks: counted }))
  await database.query(prepared`
    insert into tick_counters
      (replica_id, model, release_id, version, arm, generation, tick, tick_ms, requests, errors, invalid, slow95, slow99, latency, keys, answers,
        breaker_open, failed_callers, repeats)
    select ${replica}, model, release, version, arm, generation, to_timestamp("tickMs" / 1000.0), "lengthMs",
      requests, errors, invalid, slow95, slow99, latency, keys, answers, coalesce("breakerOpen", false),
      coalesce("failedCallers", errors + invalid), coalesce(repeats, 0)
    from jsonb_to_recordset(${JSON.stringify(ticks.map((tick) => ({ ...tick, release: tick.release ?? '' })))}) as sent (
      model text, release text, version text, arm text, generation bigint, "tickMs" double precision, "lengthMs" integer,
      requests bigint, errors bigint, invalid bigint, slow95 bigint, slow99 bigint, latency jsonb,
      keys bigint, answers bigint[], "breakerOpen" boolean, "failedCallers" bigint, repeats bigint)
    on conflict (model, release_id, version, arm, tick, replica_id, generation) do update set
      requests = excluded.requests, errors = excluded.errors, invalid = excluded.invalid,
      slow95 = excluded.slow95, slow99 = excluded.slow99, latency = excluded.latency,
      keys = excluded.keys, answers = excluded.answers, breaker_open = excluded.breaker_open,
      failed_callers = excluded.failed_callers, repeats = excluded.repeats, flushed_at = now()`)
}

/** The counts of an arm over all replicas in one tick of one generation. */
export interface ArmTick extends Omit<
  TickCounts,
  'latency' | 'release' | 'model' | 'breakerOpen' | 'failedCallers' | 'repeats'
> {
  /** How many replicas have reported the tick. */
  replicas: number
  /** The age of the newest row. */
  ageMs: number
}

/** All ticks of a release, oldest first; with `sinceMs`, only later ones. The model lets an index find them. */
export async function findTicks(
  database: Database,
  release: string,
  { model, sinceMs }: { model?: string; sinceMs?: number } = {},
): Promise<ArmTick[]> {
  const ofModel = model === undefined ? empty : sql`and model = ${model}`
  const since = sinceMs === undefined ? empty : sql`and tick >= to_timestamp(${sinceMs}::float8 / 1000)`
  const rows = await database.query<
    Omit<ArmTick, 'answers' | 'keys'> & { keys: number | null; answers: number[][] | null }
  >(prepared`
    select version, arm, generation, extract(epoch from tick)::double precision * 1000 as "tickMs",
      max(tick_ms) as "lengthMs", count(distinct replica_id)::integer as replicas,
      sum(requests)::bigint as requests, sum(errors)::bigint as errors, sum(invalid)::bigint as invalid,
      sum(slow95)::bigint as slow95, sum(slow99)::bigint as slow99,
      case when bool_and(keys is not null) then sum(keys) end::bigint as keys,
      case when bool_and(keys is not null) then jsonb_agg(answers) end as answers,
      extract(epoch from clock_timestamp() - max(flushed_at))::double precision * 1000 as "ageMs"
    from tick_counters
    where release_id = ${release} ${ofModel} ${since}
    group by tick, generation, version, arm
    order by tick, generation, arm`)
  return rows.map(({ keys, answers, ...row }) => ({
    ...row,
    ...(keys !== null && { keys, answers: sumOfAnswers(answers ?? []) }),
  }))
}

/** The answers of all replicas; empty while replicas count different bins, during a deployment. */
function sumOfAnswers(counted: readonly (number[] | null)[]): number[] {
  const [first = []] = counted
  if (!counted.every((each) => each?.length === first?.length)) return []
  return (first ?? []).map((_, i) => counted.reduce((sum, each) => sum + Number(each![i]), 0))
}

/**
 * What the live replicas report. `staleMs`: how long the most silent replica has written no counters, counted at the earliest from its
 * start and from the last route, because a live but silent replica may hide failures; null without a live replica. `breakers`: how many
 * replicas have stopped sending requests to the candidate.
 */
export async function findReplicaReports(
  database: Database,
  { id, model }: { id: string; model: string },
): Promise<{ staleMs: number | null; breakers: BreakerCounts }> {
  const [row] = await database.query<{ silence_ms: number | null } & BreakerCounts>(prepared`
    select max(extract(epoch from clock_timestamp() - greatest(started_at, routed.at, written.at)) * 1000)::float8
        as silence_ms,
      count(*) filter (where written.candidate)::integer as replicas,
      count(*) filter (where written.open)::integer as open
    from replicas
      cross join (select max(updated_at) as at from routing where model = ${model}) as routed
      left join lateral (
        select max(flushed_at) as at, bool_or(arm in ('canary', 'targeted')) as candidate, bool_or(breaker_open) as open
        from tick_counters
        where tick_counters.model = ${model} and release_id = ${id} and replica_id = replicas.id) as written on true
    where lease_until > clock_timestamp()`)
  const { silence_ms: silence = null, open = 0, replicas = 0 } = row ?? {}
  return { staleMs: silence === null ? null : Math.max(0, silence), breakers: { open, replicas } }
}

/** The latency quantiles of a version over the last `windowMs`, inside and outside releases; undefined when it served no request. */
export async function findLatency(
  database: Database,
  { model, version, windowMs }: { model: string; version: string; windowMs: number },
): Promise<{ requests: number; p95: number; p99: number } | undefined> {
  const rows = await database.query<{ requests: number; p95: number | null; p99: number | null }>(sql`
    with buckets as (
      select key::bigint as bound, sum(value::bigint) as count
      from tick_counters, jsonb_each_text(latency)
      where model = ${model} and version = ${version} and arm <> 'shadow'
        and tick > now() - ${windowMs}::double precision * interval '1 millisecond'
      group by key::bigint
    ), running as (
      select bound, sum(count) over (order by bound) as reached, sum(count) over () as total from buckets
    )
    select coalesce(max(total), 0)::bigint as requests,
      min(bound) filter (where reached >= 0.95 * total) as p95,
      min(bound) filter (where reached >= 0.99 * total) as p99
    from running`)
  const row = rows[0]
  if (row === undefined || row.p95 === null || row.p99 === null) return undefined
  return { requests: row.requests, p95: row.p95, p99: row.p99 }
}

// Stores pairs of champion and shadow predictions for one request. To tell which model is right more often, pairs need a tenth of the
// labels of two separate cohorts.

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
  /** The row as the shadow version has read it, as bytes of the prediction log, with its outputs; absent for most pairs. */
  features?: Uint8Array
  outputs?: readonly number[]
}

/** Stores pairs. An existing pair stays unchanged, and those of erased requests are left out: a replica may hold them for minutes. */
export async function insertPairs(database: Database, pairs: readonly Pair[]): Promise<void> {
  await database.query(sql`
    insert into shadow_pairs
      (model, release_id, prediction_id, served_version, shadow_version, served, shadow, difference, entity, features, outputs)
    select sent.model, sent.release_id, sent.prediction_id, served_version, shadow_version, served, shadow, difference, entity, features,
      outputs::real[]
    from unnest(
      ${pairs.map((pair) => pair.model)}::text[],
      ${pairs.map((pair) => pair.release)}::text[],
      ${pairs.map((pair) => pair.predictionId)}::uuid[],
      ${pairs.map((pair) => pair.servedVersion)}::text[],
      ${pairs.map((pair) => pair.shadowVersion)}::text[],
      ${pairs.map((pair) => JSON.stringify(pair.served))}::jsonb[],
      ${pairs.map((pair) => JSON.stringify(pair.shadow))}::jsonb[],
      ${pairs.map((pair) => pair.difference ?? null)}::double precision[],
      ${pairs.map((pair) => pair.entity)}::bigint[],
      ${pairs.map((pair) => pair.features ?? null)}::bytea[],
      ${pairs.map((pair) => (pair.outputs === undefined ? null : `{${pair.outputs.join()}}`))}::text[]
    ) as sent (model, release_id, prediction_id, served_version, shadow_version, served, shadow, difference, entity, features, outputs)
    where not exists (select from erased_requests where erased_requests.id = request_of(sent.prediction_id))
    on conflict (release_id, prediction_id) do nothing`)
}

/** Returns how many rows the shadow of a release has answered. */
export async function countShadowRows(database: Database, release: string): Promise<number> {
  const [row] = await database.query<{ rows: number }>(
    sql`select count(*)::float8 as rows from shadow_pairs where release_id = ${release}`,
  )
  return row?.rows ?? 0
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

/** A row that a version has served, with the bytes and the outputs of its request. */
export interface ServedRequest {
  id: string
  /** Its time, in Postgres' text format. */
  storedAt: string
  features: Buffer
  instances: number
  outputs: number[]
}

interface ServedQuery {
  release: string
  version: string
  after?: Pick<ServedRequest, 'storedAt' | 'id'> | undefined
  /** Whether the oldest ones are read, and not the newest: a reader that has fallen behind leaves out those between. */
  isFirst: boolean
}

const afterLast = ({ after }: ServedQuery) =>
  sql`(${after?.storedAt ?? '-infinity'}::timestamptz, ${after?.id ?? '00000000-0000-0000-0000-000000000000'}::uuid)`

/** The oldest first. */
async function listServed(
  database: Database,
  found: Sql,
  { isFirst }: ServedQuery,
  limit: number,
): Promise<ServedRequest[]> {
  const direction = isFirst ? empty : sql`desc`
  const rows = await database.query<ServedRequest>(
    sql`${found} order by at ${direction}, id ${direction} limit ${limit}`,
  )
  return isFirst ? rows : rows.reverse()
}

/** Returns the next pairs of a release that are stored with the row of the shadow version, each as a request of one row. */
export const listShadowRows = (
  database: Database,
  query: ServedQuery,
  limit: number,
): Promise<ServedRequest[]> =>
  listServed(
    database,
    sql`
    select prediction_id as id, at::text as "storedAt", features, 1 as instances, outputs from shadow_pairs
    where release_id = ${query.release} and shadow_version = ${query.version} and features is not null
      and (at, prediction_id) > ${afterLast(query)}
      and at < clock_timestamp() - make_interval(secs => ${settleSeconds}::float8)`,
    query,
    limit,
  )

/** Returns the next requests to a version in a release, the oldest first: all of them, or by the hash of their ids one in `oneIn`. */
export const listServedRequests = (
  database: Database,
  { model, fromMs, oneIn, ...query }: ServedQuery & { model: string; fromMs: number; oneIn: number },
  limit: number,
): Promise<ServedRequest[]> =>
  listServed(
    database,
    sql`
    select id, at::text as "storedAt", features, instances, outputs from predictions
    where model = ${model} and version = ${query.version} and release_id = ${query.release}
      and at >= to_timestamp(${fromMs}::float8 / 1000) and (at, id) > ${afterLast(query)}
      and uuid_hash_extended(id, 0) % ${oneIn}::bigint = 0`,
    query,
    limit,
  )

/** Returns the features and outputs of predictions that are already in the log. */
export const listLoggedPredictions = (
  database: Database,
  { ids, fits, width }: { ids: readonly string[]; fits: readonly FeatureFit[]; width: number },
) =>
  database.query<{ predictionId: string; row: LoggedRow; outputs: number[] }>(sql`
    select asked.id as "predictionId",
      instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, instance_index(asked.id)) as row,
      outputs[instance_index(asked.id) * ${width}::int + 1 : (instance_index(asked.id) + 1) * ${width}::int] as outputs
    from unnest(${ids}::uuid[]) as asked (id)
      join predictions on predictions.id = request_of(asked.id)
        and predictions.at >= (select min(prediction_time(id)) - interval '1 hour' from unnest(${ids}::uuid[]) as id)
        and predictions.at < (select max(prediction_time(id)) + interval '1 hour' from unnest(${ids}::uuid[]) as id)
    where instance_index(asked.id) < instances`)

/**
 * The share of outcomes that must have arrived before any pair is counted, and the quantile of outcome delays that a counted pair must
 * exceed.
 */
const coverage = 0.8
const maturity = 0.95

interface PairQuery {
  release: string
  served: string
  shadow: string
}

/**
 * The first pair of each entity, as repeated requests of one user are no further evidence, if it is older than most outcome delays, measured
 * on the older half of the pairs. A late flight becomes known late, so young pairs with an outcome are mostly negative, which would favour a
 * model that always predicts "on time".
 */
const maturedFirsts = ({ release, served, shadow }: PairQuery) => sql`
    half as (
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
      where release_id = ${release} and served_version = ${served} and shadow_version = ${shadow} and at <= mature.until
      order by entity, at, prediction_id
    )`

/** A pair with its newest outcome, null without one; the answers are as they were returned. */
export interface MaturedPair {
  served: Readonly<Record<string, unknown>>
  shadow: Readonly<Record<string, unknown>>
  value: OutcomeValue | null
}

/** The matured pairs. Of more than `limit`, the oldest, so that the sample only grows. */
export const listMaturedPairs = (
  database: Database,
  query: PairQuery,
  limit = 100_000,
): Promise<MaturedPair[]> =>
  database.query<MaturedPair>(sql`
    with ${maturedFirsts(query)}
    select pairs.served, pairs.shadow, newest.value
    from (select * from firsts order by at, prediction_id limit ${limit}) as pairs
      left join lateral (
        select value from outcomes where outcomes.prediction_id = pairs.prediction_id order by ${newestOutcomeFirst} limit 1
      ) as newest on true`)

// Reads the newest comparison of a release's answers with the champion's, as the judge recorded it.

export interface AnswerCounts {
  names: string[]
  canary: number[]
  control: number[]
  /** In how many bins one answer is counted. Default: 1. */
  perKey?: number
}

export interface AnswerEvidence {
  /** From the shadow, on the same requests; absent without pairs. */
  disagreement?: DisagreementReport
  /** The answers of both arms over the whole release; absent when not counted. */
  answers?: AnswerCounts
  /** What users did after their first request, by metric; absent when the policy has none. */
  business?: BusinessRow[]
  /** What other systems have measured, by metric; absent when the policy has none. */
  external?: ExternalRow[]
  /** The served rows of the last judged stage beside the training path, in one sentence. */
  served?: string
}

export async function findAnswerEvidence(database: Database, release: string): Promise<AnswerEvidence> {
  const [row] = await database.query<{
    disagreement: DisagreementReport | null
    answers: AnswerCounts | null
    business: BusinessRow[] | null
    external: ExternalRow[] | null
    served: ServedRows | null
  }>(sql`
    select
      (select inputs -> 'disagreement' from decisions
        where release_id = ${release} and inputs ? 'disagreement' order by id desc limit 1) as disagreement,
      (select inputs -> 'answers' from decisions
        where release_id = ${release} and inputs ? 'answers' order by id desc limit 1) as answers,
      (select inputs -> 'business' from decisions
        where release_id = ${release} and inputs ? 'business' order by id desc limit 1) as business,
      (select inputs -> 'external' from decisions
        where release_id = ${release} and inputs ? 'external' order by id desc limit 1) as external,
      (select inputs -> 'served' from decisions
        where release_id = ${release} and inputs ? 'served' order by id desc limit 1) as served`)
  const { disagreement, answers, business, external, served } = row ?? {}
  return {
    disagreement: disagreement ?? undefined,
    answers: answers ?? undefined,
    business: business ?? undefined,
    external: external ?? undefined,
    served: served ? (servedSkewReason(served)?.message ?? servedText(served)) : undefined,
  }
}

// Reads the predictions of both arms of a release with their outcomes.

export interface AnsweredRow {
  version: string
  atMs: number
  outputs: number[]
  /** The newest outcome; null while none is known. */
  value: OutcomeValue | null
  /** The time before which most outcomes are known. */
  maturedMs: number
}

/** A release of more requests is judged by its oldest. */
const maxAnswers = 20_000_000
/** The time limit of one batch; the first one sorts all requests. */
const answersMs = 3_600_000
/** The fewest delays from which the delay of most outcomes is estimated. */
const minDelays = 20

/**
 * Reads the matured ones of the first predictions of each user to each version, the oldest first, because later requests of a user are not
 * independent. None while the delay of outcomes is unknown: that of most, in the older half of these predictions. Takes seconds per million
 * requests. Late and corrected outcomes count, because each reading begins anew; and only the end of the sample moves, because a sample that
 * changed between two looks would invalidate the bounds of the tests.
 */
export const readReleaseAnswers = (
  store: Pick<Store, 'pool'>,
  { release, model, versions, width, fromMs = 0 }: AnswersQuery,
  take: (row: AnsweredRow) => void,
): Promise<void> => {
  const served = (version: string) => sql`(
      select id, version, at, outputs, coalesce(routing_key, id::text) as entity from predictions
      where model = ${model} and version = ${version} and release_id = ${release} and arm <> 'targeted'
        and at >= to_timestamp(${fromMs}::float8 / 1000)
      order by at, id limit ${maxAnswers})`
  return readEach<AnsweredRow>(
    store,
    sql`
    with earliest as (
      select * from (${served(versions[0])} union all ${served(versions[1])}) as both_versions order by at, id limit ${maxAnswers}
    ), firsts as (
      select distinct on (version, entity) id, version, at, outputs from earliest order by version, entity, at, id
    ), answered as materialized (
      select id, version, (extract(epoch from at) * 1000)::float8 as at_ms, outputs[1 : ${width}::int] as outputs, known.value,
        (extract(epoch from greatest(known.arrived_at, at) - at) * 1000)::float8 as delay_ms
      from firsts
        left join lateral (
          select (array_agg(value order by ${newestOutcomeFirst}))[1] as value, min(arrived_at) as arrived_at
          from outcomes where prediction_id = firsts.id
        ) as known on true
    ), half as (
      select now_ms, min(at_ms) + (now_ms - min(at_ms)) / 2 as until_ms
      from answered, (select (extract(epoch from now()) * 1000)::float8 as now_ms) as clock group by now_ms
    ), mature as (
      select now_ms - percentile_cont(${maturity}::float8) within group (order by delay_ms) as until_ms
      from answered, half where at_ms < half.until_ms and delay_ms is not null
      group by now_ms having count(*) >= ${minDelays}
    )
    select version, at_ms as "atMs", outputs, value, until_ms as "maturedMs"
    from answered, mature where at_ms < until_ms order by at_ms, id`,
    take,
    answersMs,
  )
}

export interface AnswersQuery {
  release: string
  model: string
  /** The candidate and the champion. */
  versions: readonly [string, string]
  /** The number of outputs of the wider version. */
  width: number
  fromMs?: number
}

/** Whether any prediction of the holdback has an outcome. Most probations have none and are not read further. */
export async function hasHoldbackOutcome(
  database: Database,
  { model, release, baseline, fromMs }: { model: string; release: string; baseline: string; fromMs: number },
): Promise<boolean> {
  const [row] = await database.query<{ known: boolean }>(sql`
    select exists (
      select 1 from predictions join outcomes on outcomes.request_id = predictions.id
      where predictions.model = ${model} and predictions.version = ${baseline} and release_id = ${release}
        and predictions.at >= to_timestamp(${fromMs}::float8 / 1000)
    ) as known`)
  return row?.known === true
}

// Stores the readings of external metrics for the windows of a release. The first reading of a window stays, so that evidence never
// changes.

export interface StoredReading extends ExternalReading {
  metric: string
}

interface ReadingRow {
  metric: string
  fromMs: number
  canary?: number
  control?: number
  problem?: string
}

const readingOf = ({ canary, control, ...row }: ReadingRow): StoredReading => ({
  ...row,
  canary: canary ?? null,
  control: control ?? null,
})

/** Ordered by window. */
export async function listReadings(database: Database, release: string): Promise<StoredReading[]> {
  const rows = await rowsFrom(database).list<ReadingRow>(sql`
    select metric, extract(epoch from from_at)::float8 * 1000 as from_ms, canary, control, problem
    from external_readings where release_id = ${release} order by from_at, metric`)
  return rows.map(readingOf)
}

/** Returns the stored reading, because another watcher may have read the window first. */
export async function insertReading(
  database: Database,
  release: string,
  { metric, fromMs, canary, control, problem }: StoredReading,
): Promise<StoredReading> {
  const stored = await rowsFrom(database).find<ReadingRow>(sql`
    insert into external_readings (release_id, metric, from_at, canary, control, problem)
    values (${release}, ${metric}, to_timestamp(${fromMs}::float8 / 1000), ${canary}, ${control}, ${problem ?? null})
    on conflict (release_id, metric, from_at) do update set metric = excluded.metric
    returning metric, extract(epoch from from_at)::float8 * 1000 as from_ms, canary, control, problem`)
  return readingOf(stored!)
}

// Reads the users of a release with their events after their first request, page by page.

export interface UserEventsQuery {
  release: string
  model: string
  /** The candidate and the champion. */
  versions: readonly [string, string]
  /** The routing generations in which both versions serve. */
  generations: readonly number[]
  /** The start of the first of these generations. */
  fromMs: number
  /** The names of the events. */
  names: readonly string[]
  /** How long events count after the first request. */
  withinMs: number
  /** How long events may take to arrive. */
  delayMs: number
}

/** The last request of a page, after which the next page begins. */
export interface UserEventsCursor {
  at: string
  id: string
}

export interface UserEvents {
  /** A hash of the routing key; a request without one is its own user. */
  user: number
  /** The version and the generation of the first request in this page. */
  version: string
  generation: number
  /** By event name; absent for a user without events. */
  events?: Record<string, { count: number; sum: number }>
}

/**
 * The users of the next `limit` requests whose events are due, in the order of their first requests. An event that names a prediction
 * happened after it, whatever the clock of its sender says. One that arrives later than `delayMs` after its user was due never counts,
 * because a value that changed between two looks would void the bounds of the judge. Absent `last`: there is no further request yet.
 */
export async function listUserEvents(
  database: Database,
  { release, model, versions, generations, fromMs, names, withinMs, delayMs }: UserEventsQuery,
  { after, limit }: { after?: UserEventsCursor; limit: number },
): Promise<{ users: UserEvents[]; requests: number; last?: UserEventsCursor }> {
  // The index begins with the version, so each version is read in index order; bounds are subselects, because a join would sort all rows.
  const served = (version: string) => sql`(
      select id, version, generation, at, routing_key, coalesce(routing_key, id::text) as entity from predictions
      where model = ${model} and version = ${version} and release_id = ${release} and arm <> 'targeted'
        and generation = any(${[...generations]}::bigint[])
        and at >= (select from_at from asked) and at < (select due_before from asked)
        and (at, id) > ((select from_at from asked), (select from_id from asked))
      order by at, id limit ${limit})`
  const [row] = await database.query<{
    users: [number, string, number, UserEvents['events'] | null][] | null
    requests: number
    at: string | null
    id: string | null
  }>(sql`
    with times as materialized (
      select make_interval(secs => ${withinMs}::float8 / 1000) as within, make_interval(secs => ${delayMs}::float8 / 1000) as delay
    ), asked as materialized (
      select coalesce(${after?.at ?? null}::timestamptz, to_timestamp(${fromMs}::float8 / 1000)) as from_at,
        coalesce(${after?.id ?? null}::uuid, '00000000-0000-0000-0000-000000000000') as from_id,
        clock_timestamp() - within - delay as due_before
      from times
    ), page as materialized (
      select * from (${served(versions[0])} union all ${served(versions[1])}) as both_versions order by at, id limit ${limit}
    ), users as materialized (
      select first.*, at + within as until, at + within + delay as closed
      from (select distinct on (entity) * from page order by entity, at, id) as first, times
    ), span as materialized (
      select min(at) as from_at, max(closed) as to_at from users
    ), counted as (
      select users.entity, events.name, events.value from users join events on events.routing_key = users.routing_key
      where events.name = any(${[...names]}::text[]) and (events.model is null or events.model = ${model})
        and events.occurred_at >= users.at and events.occurred_at < users.until and events.arrived_at < users.closed
      union all
      select users.entity, events.name, events.value
      from span join events on events.arrived_at >= span.from_at - interval '1 minute' and events.arrived_at < span.to_at
        join predictions on predictions.id = events.request_id and predictions.at >= span.from_at and predictions.at < span.to_at
        join users on users.entity = coalesce(predictions.routing_key, predictions.id::text)
      where events.request_id is not null and events.name = any(${[...names]}::text[])
        and predictions.model = ${model} and predictions.release_id = ${release}
        and greatest(events.occurred_at, predictions.at) >= users.at
        and greatest(events.occurred_at, predictions.at) < users.until and events.arrived_at < users.closed
    ), sums as (
      select entity, json_object_agg(name, json_build_object('count', count, 'sum', sum)) as events
      from (select entity, name, count(*) as count, sum(value) as sum from counted group by entity, name) as of_name group by entity
    )
    select (
        select json_agg(json_build_array(hashtextextended(users.entity, 0) >> 12, version, generation, sums.events) order by at, id)
        from users left join sums on sums.entity = users.entity
      ) as users,
      (select count(*) from page)::float8 as requests, last.at::text as at, last.id
    from times left join lateral (select at, id from page order by at desc, id desc limit 1) as last on true`)
  const { users, requests = 0, at, id } = row ?? {}
  return {
    users: (users ?? []).map(([user, version, generation, events]) => ({
      user,
      version,
      generation,
      events: events ?? undefined,
    })),
    requests,
    last: typeof at === 'string' && typeof id === 'string' ? { at, id } : undefined,
  }
}
