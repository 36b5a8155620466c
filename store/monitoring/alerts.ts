/**
 * Stores alerts. One alert per key is open; raising it again updates its evidence. The triggers `alerts_notify_insert` and
 * `alerts_notify_update` wake the dispatch through `tenure_alerts`.
 */
import sql, { raw } from 'sql-template-tag'
import { kindsThatEnd, type AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import type { MonitorPolicy } from '../../domain/monitoring/policy.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

export const alertRow = schema.record(
  {
    id: schema.count,
    /** Alerts with the same key are the same alert. */
    dedupeKey: schema.text,
    severity: schema.oneOf('info', 'warning', 'critical'),
    kind: schema.textOf<AlertKind>(),
    message: schema.text,
    raisedAt: schema.time,
  },
  {
    model: schema.text,
    evidence: schema.data,
    /** What identifies the cause, without figures that differ from check to check. Default: the kind and the version of the evidence. */
    cause: schema.text,
    /** The highest severity that it has had, and when it rose or the cause changed; absent while both are those with which it was raised. */
    worst: schema.textOf<'info' | 'warning' | 'critical'>(),
    worstSince: schema.time,
    acknowledgedAt: schema.time,
    acknowledgedBy: schema.text,
    resolvedAt: schema.time,
    /** What ended it. */
    resolution: schema.text,
  },
)
export type Alert = schema.TypeOf<typeof alertRow>
export type NewAlert = Pick<
  Alert,
  'dedupeKey' | 'model' | 'severity' | 'kind' | 'message' | 'evidence' | 'cause'
>

const severityOf = (column: string) => `array_position(array['info', 'warning', 'critical'], ${column})`
const rises = `${severityOf('excluded.severity')} > ${severityOf('coalesce(alerts.worst, alerts.severity)')}`
const isNews = raw(`(${rises} or excluded.cause <> alerts.cause)`)

/** When the present cause began: `since` of the evidence, unless who raises it says when. Absent while it is the first one. */
const sinceOfCause = raw(`jsonb_strip_nulls(jsonb_build_object('since',
        case when excluded.cause <> alerts.cause then to_jsonb(now()) else alerts.evidence -> 'since' end))`)

/**
 * Raises an alert, or updates the open one with the same key. An alert that becomes more severe than it ever was, or has another
 * cause, is no longer acknowledged and is sent again. Returns its id.
 */
export async function upsertAlert(database: Database, alert: NewAlert): Promise<number> {
  const found = await rowsFrom(database).value<number>(sql`
    insert into alerts (dedupe_key, model, severity, kind, message, evidence, cause)
    values (${alert.dedupeKey}, ${alert.model ?? null}, ${alert.severity}, ${alert.kind}, ${alert.message},
      ${JSON.stringify(alert.evidence ?? {})}, ${causeOf(alert)})
    on conflict (dedupe_key) where resolved_at is null
    do update set kind = excluded.kind, severity = excluded.severity, message = excluded.message,
      evidence = ${sinceOfCause} || excluded.evidence,
      cause = excluded.cause,
      worst = case when ${isNews} then excluded.severity else coalesce(alerts.worst, alerts.severity) end,
      worst_since = case when ${isNews} then now() else alerts.worst_since end,
      acknowledged_at = case when not ${isNews} then alerts.acknowledged_at end,
      acknowledged_by = case when not ${isNews} then alerts.acknowledged_by end
    returning id`)
  return found ?? 0
}

export const causeOf = ({ kind, evidence, cause }: Pick<NewAlert, 'kind' | 'evidence' | 'cause'>): string => {
  const version = evidence?.['version']
  return cause ?? (typeof version === 'string' ? `${kind}/${version}` : kind)
}

/**
 * Resolves the open alert with this key, if there is one, because a check of its condition has measured that it is gone. `measured`: what
 * the check has seen, such as "0 of 412 requests failed". An alert of another end (`AlertEnd`) stays open.
 */
export async function resolveAlert(database: Database, dedupeKey: string, measured: string): Promise<void> {
  await database.query(sql`
    update alerts set resolved_at = now(), resolution = ${measured}
    where dedupe_key = ${dedupeKey} and kind = any(${kindsThatEnd('cleared')}) and resolved_at is null`)
}

export interface ServedSince {
  id: number
  /** The version that serves the model by default now. */
  version: string
  monitor?: MonitorPolicy
  /** What it has answered in the last minutes and since the alert, the shortest window first. */
  windows: { minutes: number; requests: number; bad: number }[]
}

/** The open alerts of events that are at least five minutes old and end once the serving version answers well. */
export const listServedSince = (database: Database) =>
  rowsFrom(database).list<ServedSince>(sql`
    select alerts.id, champions.version, models.definition -> 'monitor' as monitor, (
      select jsonb_agg(jsonb_build_object('minutes', minutes, 'requests', requests, 'bad', bad) order by minutes)
      from (values (5), (60)) as given (minutes), lateral (
        select coalesce(sum(requests), 0)::float8 as requests, coalesce(sum(errors + invalid), 0)::float8 as bad
        from tick_counters
        where model = alerts.model and version = champions.version and arm <> 'shadow'
          and tick >= greatest(now() - minutes * interval '1 minute', raised_at)) as counted
    ) as windows
    from alerts join champions on champions.model = alerts.model join models on models.name = alerts.model
    where kind = any(${kindsThatEnd('served')}) and resolved_at is null and raised_at < now() - interval '5 minutes'`)

/** Resolves an alert with what was measured. */
export async function resolveServed(
  database: Database,
  { id, measured }: { id: number; measured: string },
): Promise<void> {
  await database.query(
    sql`update alerts set resolved_at = now(), resolution = ${measured} where id = ${id} and resolved_at is null`,
  )
}

/** Resolves the alerts of releases without a promotion once a release that started later has made its candidate champion. */
export async function resolvePromotedSince(database: Database): Promise<void> {
  await database.query(sql`
    update alerts set resolved_at = now(), resolution = later.version || ' was promoted since'
    from (
      select distinct on (alerts.id) alerts.id, releases.version
      from alerts join champion_history as change on change.model = alerts.model and change.cause = 'promotion'
        join releases on releases.id = change.release_id and releases.started_at > alerts.raised_at
      where alerts.kind = any(${kindsThatEnd('promoted')}) and alerts.resolved_at is null
      order by alerts.id, change.id
    ) as later
    where alerts.id = later.id and alerts.resolved_at is null`)
}

/** Resolves the alerts of triggers and batches that no model file declares any more. `removed`: the models without a file. */
export async function resolveAlertsOfLeftTriggers(
  database: Database,
  removed: readonly string[],
): Promise<void> {
  await database.query(sql`
    update alerts set resolved_at = now(), resolution = 'the model file declares it no longer'
    where kind in ('trigger_unreadable', 'partition_failed') and resolved_at is null and not exists (
      select from models, lateral jsonb_array_elements(coalesce(definition -> 'batches', '[]')
        || case kind when 'trigger_unreadable' then coalesce(definition -> 'triggers', '[]')
          || coalesce(jsonb_path_query_array(definition, '$.batches[*].triggers[*]'), '[]') else '[]' end) as kept
      where models.name = alerts.model and models.name <> all (${removed}) and dedupe_key like '%/' || (kept ->> 'name'))`)
}

/** Acknowledges an open alert, which ends its escalation. Undefined when it is already acknowledged or resolved. */
export const acknowledgeAlert = (database: Database, { id, by }: { id: number; by: string }) =>
  rowsFrom(database).find<Alert>(sql`
    update alerts set acknowledged_at = now(), acknowledged_by = ${by}
    where id = ${id} and acknowledged_at is null and resolved_at is null returning *`)

/** Undefined when the alert is already resolved. */
export const resolveAlertById = (database: Database, { id, by }: { id: number; by: string }) =>
  rowsFrom(database).find<Alert>(sql`
    update alerts set resolved_at = now(), resolution = ${`closed by ${by}`} where id = ${id} and resolved_at is null returning *`)

/** The ids of the open alerts with the model and kind of one of these and no newer than it. */
export const listOfSameGroups = (database: Database, ids: readonly number[]) =>
  rowsFrom(database).column<number>(sql`
    select distinct each.id::float8 from alerts as named
      join alerts as each on each.kind = named.kind and each.model is not distinct from named.model and each.id <= named.id
    where named.id = any(${[...ids]}::bigint[]) and each.resolved_at is null
    order by 1`)

export const findAlert = (database: Database, id: number) =>
  rowsFrom(database).find<Alert>(sql`select * from alerts where id = ${id}`)

/** Lists the alerts that stop a probation: failing responses, quality below the floor, lost quality, or other answers than in training. Warnings do not count. */
export const listAlarmsAgainst = (
  database: Database,
  { model, version }: { model: string; version: string },
) =>
  rowsFrom(database).list<Pick<Alert, 'id' | 'kind' | 'message'>>(prepared`
    select id, kind, message from alerts
    where (dedupe_key in (${`service/${model}/errors`}, ${`quality/${model}`}, ${`skew/${model}`}, ${`parent/${model}`}) or (kind = 'quality_floor' and model = ${model}))
      and resolved_at is null
      and severity = 'critical' and evidence ->> 'version' = ${version}
    order by id`)

export const listOpenAlertKeys = (
  database: Database,
  kinds: readonly AlertKind[],
  { model = null }: { model?: string | null } = {},
) =>
  rowsFrom(database).column<string>(sql`
    select dedupe_key from alerts
    where resolved_at is null and kind = any(${kinds}) and (${model}::text is null or model = ${model})`)

/** Keeps others from raising the alert with this key until the end of the transaction. Returns the evidence of the open one. */
export async function lockAlert(
  database: Database,
  dedupeKey: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('alert'), hashtext(${dedupeKey}))`)
  return rowsFrom(database).value(
    sql`select evidence from alerts where dedupe_key = ${dedupeKey} and resolved_at is null`,
  )
}

/** The newest first. */
export const listAlerts = (
  database: Database,
  { open = false, limit = 100, ...filter }: ModelFilter & { open?: boolean; limit?: number },
) =>
  rowsFrom(database).list<Alert>(sql`
    select * from alerts where ${ofModel(filter)} and (not ${open}::boolean or resolved_at is null)
    order by id desc limit ${limit}`)
