/**
 * Reads the overview of every model with one statement for lasting facts and one for recent ones. With two hundred models, queries per
 * model would be a thousand statements every few seconds.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { ChampionChange } from '../registry/champions.ts'
import type { DriftLevel } from '../../domain/monitoring/drift.ts'
import type { KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import type { QualityReport } from '../../domain/monitoring/quality.ts'
import { rowsFrom } from '../database/from-row.ts'
import { isListedModel } from '../maintenance/expected-work.ts'
import type { Database } from '../postgres.ts'

/** One row of the overview, with the last measured quality of the champion and its source. */
export interface OverviewRow {
  model: string
  about?: string
  /** Whether its model file has no `train`. */
  isBrought: boolean
  /** The retraining that runs. */
  running?: string
  champion?: {
    version: string
    since: string
    releaseId?: string
    /** The actor of the change that made it champion. */
    actor?: string
    cause?: ChampionChange['cause']
  }
  /** Measured on matured outcomes. */
  quality?: Pick<QualityReport, 'level' | 'metric' | 'value' | 'baseline' | 'margin' | 'rows'> & {
    toAt: string
  }
  /** Measured before the release, on the frozen test rows. */
  evaluated?: { metric: string; value?: number; rows: number }
  /** The number of positives among those rows; absent without a positive class. */
  positives?: number
  drift?: { level: DriftLevel; toAt: string; worst?: string }
  serve: KillSwitchMode
}

/** Ordered by name. */
export const listOverviewRows = (database: Database, { limit }: { limit: number }) =>
  rowsFrom(database).list<OverviewRow>(sql`
    select models.name as model, models.definition ->> 'about' as about,
      models.definition -> 'isBrought' is not null as is_brought, running.id as running, champions.version as "champion.version",
      champions.since as "champion.since", champions.release_id as "champion.release_id", changed.actor as "champion.actor",
      changed.cause as "champion.cause", quality.report as quality,
      quality.to_at as "quality.to_at", evaluated.metric as "evaluated.metric", evaluated.value as "evaluated.value",
      evaluated.rows as "evaluated.rows",
      (evaluations.report ->> 'positives')::float8 / nullif((evaluations.report ->> 'rows')::float8, 0) as positives,
      drift.level as "drift.level", drift.to_at as "drift.to_at", drift.worst as "drift.worst",
      coalesce(kill_switches.serve, 'normal') as serve
    from models
      left join champions on champions.model = models.name
      left join versions on versions.version = champions.version
      left join evaluations on evaluations.id = versions.evaluation_id
      left join kill_switches on kill_switches.model = models.name
      left join retrainings as running on running.model = models.name and running.ended_at is null
      left join lateral (
        select actor, cause from champion_history
        where champion_history.model = models.name and champion_history.version = champions.version
        order by at desc limit 1
      ) as changed on true
      left join lateral (
        select metric, (versions.lineage -> 'metrics' ->> metric)::float8 as value,
          coalesce((versions.lineage #>> '{rows,test}')::int, 0) as rows
        from (select models.definition #>> '{evaluation,policy,primary}' as metric) as judged
        where metric is not null and versions.version is not null
      ) as evaluated on true
      left join lateral (
        select report, to_at from quality_judgements
        where quality_judgements.model = models.name and quality_judgements.version = champions.version
        order by from_at desc, to_at desc limit 1
      ) as quality on true
      left join lateral (
        select level, to_at, (
          select each ->> 'name' from jsonb_array_elements(
            (report -> 'features') || coalesce(nullif(report -> 'score', 'null'), '[]') || coalesce(report -> 'scores', '[]')
          ) as each
          order by (each ->> 'level') in ('warn', 'alarm') desc, (each ->> 'psi')::float8 desc nulls last limit 1
        ) as worst
        from drift_judgements
        where drift_judgements.model = models.name and drift_judgements.version = champions.version and subject = 'served'
        order by from_at desc, to_at desc limit 1
      ) as drift on true
    where ${isListedModel}
    order by models.name limit ${limit}`)

/** The requests of a model within a period, divided into equal intervals, the oldest first. */
export interface RecentTraffic {
  requests: number[]
  /** Failed requests and invalid outputs. */
  bad: number
}

/** For every model with requests. */
export async function readTraffic(
  database: Database,
  { parts, partMs }: { parts: number; partMs: number },
): Promise<Map<string, RecentTraffic>> {
  const rows = await database.query<{ model: string; part: number; requests: number; bad: number }>(sql`
    with span as (select clock_timestamp() - ${parts * partMs}::float8 * interval '1 millisecond' as from_at)
    select model, least(${parts - 1}::int, floor(extract(epoch from tick - from_at) * 1000 / ${partMs}::float8)::int) as part,
      sum(requests)::float8 as requests, sum(errors + invalid)::float8 as bad
    from tick_counters, span where tick >= from_at and arm <> 'shadow' group by 1, 2`)
  const traffic = new Map<string, RecentTraffic>()
  for (const { model, part, requests, bad } of rows) {
    const found = traffic.get(model) ?? { requests: Array.from({ length: parts }, () => 0), bad: 0 }
    found.requests[Math.max(0, part)]! += requests
    found.bad += bad
    traffic.set(model, found)
  }
  return traffic
}

/**
 * The requests that the champion answered for a model in the last day, in ticks of this length, the oldest first; at most 8,640. Ticks
 * without a request count, because a stage waits through them; those before the first request of a model do not. Without a release,
 * replicas count in longer ticks than a policy may have: such a tick is spread over the ticks that it covers.
 */
export async function readDayTraffic(
  database: Database,
  { model, tickMs }: { model: string; tickMs: number },
): Promise<{ requests: number; errors: number; invalid: number }[]> {
  const placeOf = (time: Sql) => sql`floor(extract(epoch from ${time}) * 1000 / ${tickMs}::float8)::bigint`
  const answered = sql`from tick_counters where model = ${model} and arm in ('champion', 'control') and requests > 0`
  const latestFirst = await rowsFrom(database).list<{
    requests: number
    errors: number
    invalid: number
  }>(sql`
    with span as (
      select clock_timestamp() - least(interval '1 day', 8640 * ${tickMs}::float8 * interval '1 millisecond') as from_at
    ), counted as (
      select ${placeOf(sql`tick`)} + part as place,
        sum(requests * (part + 1) / parts - requests * part / parts)::float8 as requests,
        sum(errors * (part + 1) / parts - errors * part / parts)::float8 as errors,
        sum(invalid * (part + 1) / parts - invalid * part / parts)::float8 as invalid
      from (select * ${answered} and tick > (select from_at from span)) as ticks,
        lateral (select greatest(1, round(tick_ms / ${tickMs}::float8))::int as parts) as spread,
        lateral generate_series(0, parts - 1) as part
      group by 1
    ), bounds as (
      select ${placeOf(sql`greatest(from_at, (select min(tick) ${answered}))`)} as first,
        -- The tick that runs is counted when it is over.
        greatest((select max(place) from counted), ${placeOf(sql`clock_timestamp()`)} - 1) as last
      from span where exists (select from counted)
    )
    select coalesce(requests, 0) as requests, coalesce(errors, 0) as errors, coalesce(invalid, 0) as invalid
    from bounds, generate_series(first, last) as place left join counted using (place) order by place desc limit 8640`)
  return latestFirst.toReversed()
}

export interface RequestRate {
  perSecond: number
  /** The time that it is the mean of; idle time counts. */
  spanMs: number
}

/** The requests of a model per second over the last day, or since its first request if that is younger. */
export async function readRequestRate(database: Database, model: string): Promise<RequestRate> {
  const answered = sql`from tick_counters where model = ${model} and arm <> 'shadow' and requests > 0`
  const found = await rowsFrom(database).find<{ requests: number; spanS: number }>(sql`
    select sum(requests)::float8 as requests,
      greatest(1, extract(epoch from clock_timestamp() - greatest(from_at, (select min(tick) ${answered}))))::float8 as span_s
    from (select clock_timestamp() - interval '1 day' as from_at) as span, lateral (select requests ${answered} and tick > from_at) as ticks
    group by from_at`)
  const { requests, spanS } = found ?? { requests: 0, spanS: 1 }
  return { perSecond: requests / spanS, spanMs: 1_000 * spanS }
}

/** The number of live replicas, and the time of the database. */
export async function readFleet(database: Database): Promise<{ replicas: number; nowMs: number }> {
  const [row] = await database.query<{ replicas: number; now: Date }>(sql`
    select count(*) filter (where lease_until > clock_timestamp())::int as replicas, clock_timestamp() as now from replicas`)
  return { replicas: row!.replicas, nowMs: row!.now.getTime() }
}
