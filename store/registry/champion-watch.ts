/**
 * Stores what the watch of champions knows, one row a model. A tick is judged once: the row moves on in the transaction that stores the
 * judgement, under a lock that one control worker holds.
 */
import sql from 'sql-template-tag'
import { watchTickMs, type WatchedTick, type WatchState } from '../../domain/monitoring/champion-watch.ts'
import { lastMinuteMs, type LastMinute } from '../../domain/monitoring/last-minute.ts'
import { defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** Replicas store a tick within this time after its end. */
const settleMs = 1_500

/** False while another control worker judges. */
export async function lockWatch(database: Database): Promise<boolean> {
  const [row] = await database.query<{ locked: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtext('champion watch')) as locked`,
  )
  return row!.locked
}

export interface Watched {
  model: string
  version: string
  /** The limit that the model file declares; absent without one. */
  limit?: number
  /** Absent when this version has not been judged since it became champion. */
  state?: WatchState
  /** Its 99th percentile before, in microseconds; absent where it is not known. */
  slowUs?: number
  /** The ticks that are still to be judged, the oldest first. */
  ticks: WatchedTick[]
}

/**
 * The champions with ticks that are still to be judged. A champion that is the candidate of an open release is left to the judge of that
 * release. Ticks of more than an hour ago are evidence of the past.
 */
export const listWatched = (database: Database) =>
  rowsFrom(database).list<Watched>(sql`
    with span as (
      select to_timestamp(floor((extract(epoch from clock_timestamp()) * 1000 - ${settleMs}::float8) / ${watchTickMs}::float8)
        * ${watchTickMs}::float8 / 1000) as until
    )
    select champions.model, champions.version, (models.definition #>> '{monitor,service,errorAlarm}')::float8 as "limit",
      watch.state, watch.slow_us::float8 as slow_us, counted.ticks
    from span cross join champions join models on models.name = champions.model
      left join champion_watch as watch on watch.model = champions.model and watch.version = champions.version
      cross join lateral (
        select greatest(champions.since, watch.judged_at, until - interval '1 hour') as from_at
      ) as judged
      cross join lateral (
        select jsonb_agg(jsonb_build_object('endMs', place * ${watchTickMs}::float8, 'requests', requests, 'failed', failed,
          'repeats', repeats, 'slow', case when watch.slow_us is not null then slow end) order by place) as ticks
        from (
          select ceil(extract(epoch from ends_at) * 1000 / ${watchTickMs}::float8) as place, sum(requests) as requests,
            sum(failed_callers) as failed, sum(repeats) as repeats, coalesce(sum(slow), 0) as slow
          from (
            select tick + tick_ms * interval '1 millisecond' as ends_at, requests, failed_callers, repeats, (
                select sum(value::bigint) from jsonb_each_text(latency) where key::bigint > watch.slow_us
              ) as slow
            from tick_counters
            where model = champions.model and version = champions.version and arm <> 'shadow' and requests > 0
              and tick >= champions.since and tick > from_at - interval '10 minutes'
          ) as ended
          where ends_at > from_at and ends_at <= until
          group by 1
        ) as placed
      ) as counted
    where counted.ticks is not null and not exists (
      select from releases
      where releases.model = champions.model and releases.version = champions.version and ended_at is null)`)

export interface Judged extends Pick<Watched, 'model' | 'version'> {
  state: WatchState
  /** The end of the last judged tick; the next round goes on there. */
  judgedMs: number
}

/** Another champion, or one that fails no more, awaits no decision. */
export async function storeWatched(database: Database, judged: readonly Judged[]): Promise<void> {
  await database.query(sql`
    insert into champion_watch as watch (model, version, judged_at, state, is_failing)
    select model, version, to_timestamp("judgedMs" / 1000), state, (state ->> 'isFailing')::boolean
    from jsonb_to_recordset(${JSON.stringify(judged)}::jsonb)
      as judged (model text, version text, "judgedMs" float8, state jsonb)
    on conflict (model) do update set version = excluded.version, judged_at = excluded.judged_at, state = excluded.state,
      is_failing = excluded.is_failing,
      slow_us = case when watch.version = excluded.version then watch.slow_us end,
      measured_at = case when watch.version = excluded.version then watch.measured_at end,
      claimed_until = case when watch.version = excluded.version and excluded.is_failing then watch.claimed_until end,
      decided_at = case when watch.version = excluded.version and excluded.is_failing then watch.decided_at end`)
}

/** A failing champion that needs a decision, or another one ten minutes after it was kept. */
export interface FailingChampion {
  model: string
  version: string
  state: WatchState
}

/** Claims them for a minute, so that one control worker decides. */
export const claimFailing = (database: Database, limit: number) =>
  rowsFrom(database).list<FailingChampion>(sql`
    update champion_watch set claimed_until = clock_timestamp() + interval '90 seconds'
    where model in (
      select champion_watch.model from champion_watch join champions using (model, version)
      where is_failing and (claimed_until is null or claimed_until < clock_timestamp())
        and (decided_at is null or decided_at < clock_timestamp() - interval '10 minutes')
      order by decided_at nulls first limit ${limit} for update of champion_watch skip locked)
    returning model, version, state`)

export async function markDecided(
  database: Database,
  { model, version }: Pick<Watched, 'model' | 'version'>,
): Promise<void> {
  await database.query(sql`
    update champion_watch set decided_at = clock_timestamp(), claimed_until = null
    where model = ${model} and version = ${version}`)
}

/**
 * Measures the 99th percentile of the week of one champion, at most once a day each: of one tick in twenty, because a week has 60,000. The
 * last ten minutes are left out, so that a fault does not set its own limit. Fewer than 1,000 requests set none.
 */
export async function measureSlow(database: Database): Promise<void> {
  await database.query(sql`
    with due as (
      select model, version from champion_watch
      where measured_at is null or measured_at < clock_timestamp() - interval '1 day'
      order by measured_at nulls first limit 1
    ), buckets as (
      select key::bigint as bound, sum(value::bigint) as count
      from due
        cross join (
          select at, at + interval '10 seconds' as until from generate_series(
            to_timestamp(floor(extract(epoch from statement_timestamp() - interval '7 days') / 200) * 200),
            statement_timestamp() - interval '3 hours', interval '200 seconds') as at
          union all
          select statement_timestamp() - interval '3 hours', statement_timestamp() - interval '10 minutes'
        ) as sampled
        join tick_counters on tick_counters.model = due.model and tick_counters.version = due.version
          and tick >= sampled.at and tick < sampled.until,
        jsonb_each_text(latency)
      where arm <> 'shadow'
      group by 1
    ), running as (
      select bound, sum(count) over (order by bound) as reached, sum(count) over () as total from buckets
    )
    update champion_watch set measured_at = clock_timestamp(),
      slow_us = (select min(bound) filter (where reached >= 0.99 * total and total >= 1000) from running)
    from due where champion_watch.model = due.model and champion_watch.version = due.version`)
}

/**
 * The last minute of each of these models by version; the running tick is not counted yet. What a version answered before it became champion
 * is not the champion's.
 */
export async function readLastMinute(
  database: Database,
  models: readonly string[],
): Promise<Map<string, LastMinute>> {
  if (models.length === 0) return new Map()
  const rows = await database.query<LastMinute & { model: string }>(sql`
    with span as (select statement_timestamp() - ${lastMinuteMs}::float8 * interval '1 millisecond' as from_at),
    counted as (
      select tick_counters.model, tick_counters.version, champions.version is not null as is_champion,
        sum(requests)::float8 as requests, sum(errors + invalid)::float8 as failed
      from tick_counters left join champions on champions.model = tick_counters.model
        and champions.version = tick_counters.version and tick + tick_ms * interval '1 millisecond' > since
      where tick_counters.model = any(${[...models]}::text[]) and arm <> 'shadow' and requests > 0 and tick > (select from_at from span)
      group by 1, 2, 3
    )
    select models.name as model,
      case when champions.version is not null then jsonb_strip_nulls(jsonb_build_object('version', champions.version,
        'requests', coalesce(served.requests, 0), 'failed', coalesce(served.failed, 0),
        'limit', coalesce((models.definition #>> '{monitor,service,errorAlarm}')::float8, ${defaultMonitorPolicy.service.errorAlarm}::float8),
        'servedMs', extract(epoch from statement_timestamp() - since) * 1000, 'isProven', watched.is_failing, 'rolledBack', former.version)) end as champion,
      coalesce((
        select jsonb_agg(jsonb_build_object('version', version, 'requests', requests, 'failed', failed) order by requests desc, version)
        from counted where counted.model = models.name and not is_champion), '[]') as others
    from models left join champions on champions.model = models.name
      left join counted as served on served.model = models.name and is_champion
      left join champion_watch as watched on watched.model = champions.model and watched.version = champions.version
        and judged_at > (select from_at from span)
      left join lateral (
        select previous_version as version from champion_history as change
        where change.model = champions.model and at >= since and cause = 'rollback' and since > (select from_at from span)
        order by id desc limit 1
      ) as former on true
    where models.name = any(${[...models]}::text[])`)
  return new Map(
    rows.map(({ model, champion, others }) => [model, { ...(champion && { champion }), others }]),
  )
}
