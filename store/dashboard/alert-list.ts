/** Lists alerts for the dashboard: all open ones, then the resolved ones page by page. Who resolved them and the notes are in the audit log. */
import sql, { raw } from 'sql-template-tag'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'

export interface ShownAlert extends Alert {
  /** The note of the newest acknowledgement. */
  note?: string
}

export interface ResolvedAlert extends ShownAlert {
  /** Absent where its cause has ended. */
  resolvedBy?: string
  resolvedNote?: string
}

const audited = (what: string, action: string) =>
  raw(
    `(select ${what} from audit where subject = 'alert/' || alerts.id and action = 'alert.${action}' order by seq desc limit 1)`,
  )
const note = audited(`detail ->> 'reason'`, 'acknowledged')

/** The most severe first, then the newest. */
export const listOpenAlerts = (database: Database, { limit, ...filter }: ModelFilter & { limit: number }) =>
  rowsFrom(database).list<ShownAlert>(sql`
    select *, ${note} as note from alerts where resolved_at is null and ${ofModels(filter)}
    order by array_position(array['critical', 'warning', 'info'], severity), id desc limit ${limit}`)

/** The newest first; with `before`, only those before that id. */
export const listResolvedAlerts = (
  database: Database,
  { before, limit, ...filter }: ModelFilter & { before?: number; limit: number },
) =>
  rowsFrom(database).list<ResolvedAlert>(sql`
    select *, ${note} as note, ${audited('actor', 'resolved')} as resolved_by,
      ${audited(`detail ->> 'reason'`, 'resolved')} as resolved_note
    from alerts
    where resolved_at is not null and ${ofModels(filter)} and (${before ?? null}::bigint is null or id < ${before ?? null})
    order by id desc limit ${limit}`)
