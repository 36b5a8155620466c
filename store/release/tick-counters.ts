/**
 * Stores the counts of each replica and arm per tick. Counts are absolute, so that writing a row again neither doubles nor hides a
 * failure.
 */
import sql, { empty } from 'sql-template-tag'
import type { BreakerCounts } from '../../domain/serving/circuit-breaker.ts'
import type { Arm } from '../../domain/serving/route.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

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
  /** Whether the circuit breaker of the replica has dropped the candidate. */
  breakerOpen?: boolean
  /** Upper bound in microseconds → requests. */
  latency: Record<string, number>
}

export async function writeTicks(
  database: Database,
  { replica, ticks }: { replica: string; ticks: readonly TickCounts[] },
): Promise<void> {
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
