/**
 * Notes what a sync has changed in models, for the audit log. The process of a sync may hold no signing key, so the control worker writes
 * the rows.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { appendAudit, type AuditEntry } from '../audit/audit-log.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'

export interface ModelChange extends Pick<AuditEntry, 'actor' | 'detail'> {
  model: string
  action: 'model.synced' | 'model.removed'
}

const prefix = 'model_change/'

/** Call it in the transaction of the change. */
export async function noteModelChanges(database: Database, changes: readonly ModelChange[]): Promise<void> {
  if (changes.length === 0) return
  const rows = changes.map((value) => ({ name: `${prefix}${randomUUID()}`, value }))
  await database.query(sql`
    insert into service_state (name, value)
    select name, value from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as noted (name text, value jsonb)`)
}

/** Writes the noted changes to the audit log. Returns their number. */
export const auditModelChanges = (store: Store): Promise<number> =>
  store.transaction(async (database) => {
    const noted = await rowsFrom(database).list<{ value: ModelChange; at: string }>(sql`
      delete from service_state where starts_with(name, ${prefix}) returning value, at`)
    const inOrder = noted.toSorted((one, other) => Date.parse(one.at) - Date.parse(other.at))
    for (const { value, at } of inOrder) {
      const { actor, action, model, detail } = value
      await appendAudit(database, {
        actor,
        action,
        subject: model,
        model,
        detail: { ...detail, syncedAt: at },
      })
    }
    return noted.length
  })
