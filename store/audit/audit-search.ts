/** Searches the audit log by actor, action and subject, each by an index. */
import sql, { join, type Sql } from 'sql-template-tag'
import type { AuditRow } from './audit-log.ts'
import { fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface AuditSearch {
  models?: readonly string[]
  model?: string
  actor?: string
  /** The whole action, or how it begins when it ends in a dot: `release.`. */
  action?: string
  subject?: string
  before?: number
  limit: number
}

/** The newest first. */
export async function searchAudit(database: Database, search: AuditSearch): Promise<AuditRow[]> {
  const { models, model, actor, action, subject, before, limit } = search
  const filters: Sql[] = [sql`true`]
  if (models !== undefined) filters.push(sql`model = any(${[...models]}::text[])`)
  if (model !== undefined) filters.push(sql`model = ${model}`)
  if (actor !== undefined) filters.push(sql`actor = ${actor}`)
  if (action !== undefined)
    filters.push(action.endsWith('.') ? sql`starts_with(action, ${action})` : sql`action = ${action}`)
  if (subject !== undefined) filters.push(sql`subject = ${subject}`)
  if (before !== undefined) filters.push(sql`seq < ${before}`)
  const rows = await database.query(sql`
    select seq, at, actor, action, subject, model, detail,
      encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash
    from audit where ${join(filters, ' and ')} order by seq desc limit ${limit}`)
  return rows.map(fromRow<AuditRow>)
}
