/**
 * Reads the events of models in a period (releases, retrainings, champion changes, drift, quality and alerts) for the timeline and the
 * list of changes.
 */
import sql from 'sql-template-tag'
import { kindsThatEnd } from '../../domain/monitoring/alert-kinds.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface HistorySpan {
  model: string
  kind: 'release' | 'drift' | 'quality' | 'incident'
  fromMs: number
  /** Absent while the event lasts. */
  toMs?: number
  /** The outcome or the stage of a release or `drill`, the level of drift or quality, the severity of an alert. */
  level: string
  /** The version, or the kind of the alert. */
  name: string
}

/** The newest events of each kind for each of these models that overlap the time since `fromAt`, oldest first. */
export const listModelHistory = (
  database: Database,
  { models, fromAt, limit }: { models: readonly string[]; fromAt: string; limit: number },
) =>
  rowsFrom(database).list<HistorySpan>(sql`
    select asked.model, kind, (extract(epoch from from_at) * 1000)::float8 as from_ms,
      (extract(epoch from to_at) * 1000)::float8 as to_ms, level, spans.name
    from unnest(${models}::text[]) with ordinality as asked (model, place), lateral (
      (select 'release' as kind, started_at as from_at, ended_at as to_at, case when state ? 'drill' then 'drill' else coalesce(outcome, stage) end as level, version as name
        from releases where model = asked.model and coalesce(ended_at, 'infinity') >= ${fromAt}::timestamptz
        order by started_at desc limit ${limit})
      union all
      (select 'drift', from_at, to_at, level, version from drift_judgements
        where model = asked.model and subject = 'served' and to_at >= ${fromAt}::timestamptz
          and level in ('stable', 'warn', 'alarm')
        order by to_at desc limit ${limit})
      union all
      (select 'quality', from_at, to_at, level, version from quality_judgements
        where model = asked.model and level <> 'insufficient' and to_at >= ${fromAt}::timestamptz
        order by to_at desc limit ${limit})
      union all
      (select 'incident', raised_at, resolved_at, severity, alerts.kind from alerts
        where model = asked.model and severity <> 'info' and alerts.kind <> all(${kindsThatEnd('answered')}::text[]) and coalesce(resolved_at, 'infinity') >= ${fromAt}::timestamptz
        order by raised_at desc limit ${limit})
    ) as spans
    order by asked.place, from_at`)

export interface RecentChange {
  at: string
  model: string
  kind: 'champion' | 'release' | 'retraining' | 'pin'
  /** The cause of a champion change, the outcome of a release or a retraining, or the mode of a kill switch. */
  what: string
  version?: string
  previousVersion?: string
  /** Who changed it, or requested the retraining; absent for the end of a release, whose reason names the user. */
  actor?: string
  reason?: string
  releaseId?: string
  retrainingId?: string
}

/** The changes since `fromAt`, newest first. A release that promoted or rolled back its model counts as the champion change. */
export const listRecentChanges = (database: Database, { fromAt, limit }: { fromAt: string; limit: number }) =>
  rowsFrom(database).list<RecentChange>(sql`
    select * from (
      (select at, model, 'champion' as kind, cause as what, version, previous_version, actor, reason, release_id, null as retraining_id
        from champion_history where at >= ${fromAt}::timestamptz order by at desc limit ${limit})
      union all
      (select ended_at, model, 'release', outcome, version, null, null, reason, id, null
        from releases where ended_at >= ${fromAt}::timestamptz and not (state ? 'drill')
          and not exists (select from champion_history where champion_history.release_id = releases.id
            and champion_history.version = releases.version and releases.outcome = 'promoted')
        order by ended_at desc limit ${limit})
      union all
      (select ended_at, model, 'retraining', outcome, version, null, requested_by, message, null, id
        from retrainings where ended_at >= ${fromAt}::timestamptz order by ended_at desc limit ${limit})
      union all
      (select at, model, 'pin', serve, null, null, actor, reason, null, null
        from kill_switches where at >= ${fromAt}::timestamptz order by at desc limit ${limit})
    ) as changes order by at desc limit ${limit}`)
