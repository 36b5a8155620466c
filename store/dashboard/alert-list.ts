/** Lists alerts for the dashboard: all open ones, then the resolved ones page by page. */
import sql from 'sql-template-tag'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'

/** The most severe first, then the newest. */
export const listOpenAlerts = (database: Database, { limit, ...filter }: ModelFilter & { limit: number }) =>
  rowsFrom(database).list<Alert>(sql`
    select * from alerts where resolved_at is null and ${ofModels(filter)}
    order by array_position(array['critical', 'warning', 'info'], severity), id desc limit ${limit}`)

/** The newest first; with `before`, only those before that id. */
export const listResolvedAlerts = (
  database: Database,
  { before, limit, ...filter }: ModelFilter & { before?: number; limit: number },
) =>
  rowsFrom(database).list<Alert>(sql`
    select * from alerts
    where resolved_at is not null and ${ofModels(filter)} and (${before ?? null}::bigint is null or id < ${before ?? null})
    order by id desc limit ${limit}`)
