/**
 * Stores alerts. One alert per key is open; raising it again updates its evidence. The triggers `alerts_notify_insert` and
 * `alerts_notify_update` wake the dispatch through `tenure_alerts`.
 */
import sql, { raw } from 'sql-template-tag'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

export interface NewAlert {
  /** Alerts with the same key are the same alert. */
  dedupeKey: string
  model?: string
  severity: 'info' | 'warning' | 'critical'
  kind: AlertKind
  message: string
  evidence?: Record<string, unknown>
}

export interface Alert extends NewAlert {
  id: number
  raisedAt: string
  /** The highest severity that it has had, and since when; absent while it has the one with which it was raised. */
  worst?: NewAlert['severity']
  worstSince?: string
  acknowledgedAt?: string
  acknowledgedBy?: string
  resolvedAt?: string
}

const severityOf = (column: string) => `array_position(array['info', 'warning', 'critical'], ${column})`
const rises = raw(
  `${severityOf('excluded.severity')} > ${severityOf('coalesce(alerts.worst, alerts.severity)')}`,
)

/**
 * Raises an alert, or updates the open one with the same key. An alert that becomes more severe than it ever was is no longer acknowledged.
 * Returns its id.
 */
export async function upsertAlert(database: Database, alert: NewAlert): Promise<number> {
  const found = await rowsFrom(database).value<number>(sql`
    insert into alerts (dedupe_key, model, severity, kind, message, evidence)
    values (${alert.dedupeKey}, ${alert.model ?? null}, ${alert.severity}, ${alert.kind}, ${alert.message},
      ${JSON.stringify(alert.evidence ?? {})})
    on conflict (dedupe_key) where resolved_at is null
    do update set kind = excluded.kind, severity = excluded.severity, message = excluded.message, evidence = excluded.evidence,
      worst = case when ${rises} then excluded.severity else coalesce(alerts.worst, alerts.severity) end,
      worst_since = case when ${rises} then now() else alerts.worst_since end,
      acknowledged_at = case when not (${rises}) then alerts.acknowledged_at end,
      acknowledged_by = case when not (${rises}) then alerts.acknowledged_by end
    returning id`)
  return found ?? 0
}

/** Resolves the open alert with this key, if there is one, because its cause is gone. */
export async function resolveAlert(database: Database, dedupeKey: string): Promise<void> {
  await database.query(
    sql`update alerts set resolved_at = now() where dedupe_key = ${dedupeKey} and resolved_at is null`,
  )
}

/** Resolves the alerts of triggers and batches that no model file declares any more. `removed`: the models without a file. */
export async function resolveAlertsOfLeftTriggers(
  database: Database,
  removed: readonly string[],
): Promise<void> {
  await database.query(sql`
    update alerts set resolved_at = now()
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
export const resolveAlertById = (database: Database, id: number) =>
  rowsFrom(database).find<Alert>(
    sql`update alerts set resolved_at = now() where id = ${id} and resolved_at is null returning *`,
  )

export const findAlert = (database: Database, id: number) =>
  rowsFrom(database).find<Alert>(sql`select * from alerts where id = ${id}`)

/** Lists the alerts that stop a probation: failing responses, quality below the floor, lost quality, or other answers than in training. Warnings do not count. */
export const listAlarmsAgainst = (
  database: Database,
  { model, version }: { model: string; version: string },
) =>
  rowsFrom(database).list<Pick<Alert, 'id' | 'kind' | 'message'>>(prepared`
    select id, kind, message from alerts
    where dedupe_key in (${`quality_floor/${model}`}, ${`service/${model}/errors`}, ${`quality/${model}`}, ${`skew/${model}`})
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

/** The newest first. */
export const listAlerts = (
  database: Database,
  { open = false, limit = 100, ...filter }: ModelFilter & { open?: boolean; limit?: number },
) =>
  rowsFrom(database).list<Alert>(sql`
    select * from alerts where ${ofModels(filter)} and (not ${open}::boolean or resolved_at is null)
    order by id desc limit ${limit}`)
