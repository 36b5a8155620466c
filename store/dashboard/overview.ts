/**
 * Reads the overview: of every model only what orders it, of the models on the screen what their rows show. With a thousand models, queries
 * per model would be thousands of statements every few seconds.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { DriftLevel } from '../../domain/monitoring/drift.ts'
import type { AlertGroup } from '../../domain/monitoring/alert-groups.ts'
import { kindsThatEnd } from '../../domain/monitoring/alert-kinds.ts'
import type { KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import type { QualityReport } from '../../domain/monitoring/quality.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { isListedModel } from '../maintenance/expected-work.ts'
import type { Database } from '../postgres.ts'
import { silentForMs } from '../serving/observed-leases.ts'

/** The judgements that a champion was last given. */
const lastQuality = sql`
  select level, to_at, report from quality_judgements
  where quality_judgements.model = models.name and quality_judgements.version = champions.version
  order by from_at desc, to_at desc limit 1`
const lastDrift = sql`
  select level, to_at, report from drift_judgements
  where drift_judgements.model = models.name and drift_judgements.version = champions.version and subject = 'served'
  order by from_at desc, to_at desc limit 1`

/** What tells whether a model needs someone. */
export interface ModelState {
  model: string
  /** The champion. */
  version?: string
  quality?: QualityReport['level']
  drift?: DriftLevel
  /** The kill switch, unless the route decides. */
  pin?: { serve: Exclude<KillSwitchMode, 'normal'>; at: string; actor: string; reason: string }
}

/** Ordered by name; of one model, also of one whose file was removed. */
export const listModelStates = (database: Database, model?: string) =>
  rowsFrom(database).list<ModelState>(sql`
    select models.name as model, champions.version, quality.level as quality, drift.level as drift,
      pins.serve as "pin.serve", pins.at as "pin.at", pins.actor as "pin.actor", pins.reason as "pin.reason"
    from models
      left join champions on champions.model = models.name
      left join kill_switches as pins on pins.model = models.name and pins.serve <> 'normal'
      left join lateral (select level from (${lastQuality}) as judged) as quality on true
      left join lateral (select level from (${lastDrift}) as judged) as drift on true
    where ${model === undefined ? isListedModel : sql`models.name = ${model}`} order by models.name`)

/** Open alerts by model and kind, in no order. What releases ask is no alert here: the releases show it. */
export const listAlertGroups = (
  database: Database,
  { kind = null, ...filter }: ModelFilter & { kind?: string | null } = {},
) =>
  rowsFrom(database).list<AlertGroup>(sql`
    select model, kind, (array_agg(severity order by array_position(array['critical', 'warning', 'info'], severity)))[1] as severity,
      count(*)::int as count, count(acknowledged_at)::int as acknowledged, min(acknowledged_by) as acknowledged_by,
      min(case when evidence ->> 'since' ~ '^\\d{4}-\\d\\d-\\d\\dT' then (evidence ->> 'since')::timestamptz else raised_at end) as since, max(coalesce(worst_since, raised_at)) as changed_at, max(id)::float8 as id,
      left((array_agg(message order by acknowledged_at nulls first, id desc))[1], 400) as message,
      case when count(distinct coalesce(evidence ->> 'version', '')) = 1 then min(evidence ->> 'version') end as version
    from alerts
    where resolved_at is null and kind <> all(${kindsThatEnd('answered')}::text[]) and ${ofModel(filter)}
      and (${kind}::text is null or kind = ${kind})
    group by model, kind`)

/** One row of the overview, with the last measured quality of the champion and its source. */
export interface OverviewRow {
  model: string
  /** Whether its model file has no `train`. */
  isBrought: boolean
  /** The retraining that runs. */
  running?: string
  /** The version of a release that waits for another one to end. */
  queued?: string
  champion?: {
    version: string
    since: string
    releaseId?: string
    /** The actor of the change that made it champion. */
    actor?: string
  }
  /** Measured on matured outcomes. */
  quality?: Pick<QualityReport, 'level' | 'metric' | 'value'>
  /** Measured before the release, on the frozen test rows. */
  evaluated?: { metric: string; value?: number }
  drift?: { level: DriftLevel; worst?: string }
}

/** In the order of the names. */
export const listOverviewRows = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<OverviewRow>(sql`
    select models.name as model, models.definition -> 'isBrought' is not null as is_brought, running.id as running,
      queued.version as queued, champions.version as "champion.version", champions.since as "champion.since",
      champions.release_id as "champion.release_id", changed.actor as "champion.actor",
      quality.level as "quality.level", quality.report ->> 'metric' as "quality.metric",
      (quality.report ->> 'value')::float8 as "quality.value", evaluated.metric as "evaluated.metric",
      evaluated.value as "evaluated.value", drift.level as "drift.level", drift.worst as "drift.worst"
    from unnest(${[...models]}::text[]) with ordinality as asked (name, place)
      join models on models.name = asked.name
      left join champions on champions.model = models.name
      left join versions on versions.version = champions.version
      left join retrainings as running on running.model = models.name and running.ended_at is null
      left join release_queue as queued on queued.model = models.name and queued.state = 'waiting'
      left join lateral (
        select actor from champion_history
        where champion_history.model = models.name and champion_history.version = champions.version
        order by at desc limit 1
      ) as changed on true
      left join lateral (
        select metric, (versions.lineage -> 'metrics' ->> metric)::float8 as value
        from (select models.definition #>> '{evaluation,policy,primary}' as metric) as judged
        where metric is not null and versions.version is not null
      ) as evaluated on true
      left join lateral (${lastQuality}) as quality on true
      left join lateral (
        select level, (
          select each ->> 'name' from jsonb_array_elements(
            (report -> 'features') || coalesce(nullif(report -> 'score', 'null'), '[]') || coalesce(report -> 'scores', '[]')
          ) as each
          order by (each ->> 'level') in ('warn', 'alarm') desc, (each ->> 'psi')::float8 desc nulls last limit 1
        ) as worst
        from (${lastDrift}) as judged
      ) as drift on true
    order by asked.place`)

/** The requests of each of these models within a period, divided into equal intervals, the oldest first. */
export async function readTraffic(
  database: Database,
  { models, parts, partMs }: { models: readonly string[]; parts: number; partMs: number },
): Promise<Map<string, number[]>> {
  const rows = await database.query<{ model: string; part: number; requests: number }>(sql`
    with span as (select clock_timestamp() - ${parts * partMs}::float8 * interval '1 millisecond' as from_at)
    select model, least(${parts - 1}::int, floor(extract(epoch from tick - from_at) * 1000 / ${partMs}::float8)::int) as part,
      sum(requests)::float8 as requests
    from tick_counters, span
    where model = any(${[...models]}::text[]) and tick >= from_at and arm <> 'shadow' group by 1, 2`)
  const traffic = new Map<string, number[]>()
  for (const { model, part, requests } of rows) {
    const found = traffic.get(model) ?? Array.from({ length: parts }, () => 0)
    found[Math.max(0, part)]! += requests
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

/** The number of live replicas, that of replicas whose lease has ended although they were not stopped, and the time of the database. */
export async function readFleet(
  database: Database,
): Promise<{ replicas: number; silent: number; nowMs: number }> {
  const [row] = await database.query<{ replicas: number; silent: number; now: Date }>(sql`
    select count(*) filter (where lease_until > clock_timestamp())::int as replicas,
      count(*) filter (where lease_until <= clock_timestamp() and lease_ms > 0
        and lease_until > clock_timestamp() - ${silentForMs}::float8 * interval '1 millisecond')::int as silent,
      clock_timestamp() as now from replicas`)
  return { replicas: row!.replicas, silent: row!.silent, nowMs: row!.now.getTime() }
}
