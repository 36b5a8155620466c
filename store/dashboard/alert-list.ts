/** Lists alerts for the dashboard: all open ones, then the resolved ones page by page. */
import sql from 'sql-template-tag'
import { fromRow } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'

export interface AlertFilter {
  models?: readonly string[]
  model?: string
  /** Only those before this one. */
  before?: number
  limit: number
}

/** The worst first, the newest of them first. */
export async function listOpenAlerts(database: Database, filter: AlertFilter): Promise<Alert[]> {
  const { models, model, limit } = filter
  const rows = await database.query(sql`
    select * from alerts where resolved_at is null
      and (${models === undefined} or model = any(${[...(models ?? [])]}::text[]))
      and (${model ?? null}::text is null or model = ${model ?? null})
    order by array_position(array['critical', 'warning', 'info'], severity), id desc limit ${limit}`)
  return rows.map(fromRow<Alert>)
}

/** The newest first. */
export async function listResolvedAlerts(database: Database, filter: AlertFilter): Promise<Alert[]> {
  const { models, model, before, limit } = filter
  const rows = await database.query(sql`
    select * from alerts where resolved_at is not null
      and (${models === undefined} or model = any(${[...(models ?? [])]}::text[]))
      and (${model ?? null}::text is null or model = ${model ?? null})
      and (${before ?? null}::bigint is null or id < ${before ?? null})
    order by id desc limit ${limit}`)
  return rows.map(fromRow<Alert>)
}
