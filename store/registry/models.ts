/** Stores the model files as data. Workers and replicas read models here, so a new file needs a sync but no restart. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import { appendAudit, type AuditEntry, type Transaction } from '../audit/audit-log.ts'

export interface StoredModel {
  name: string
  definition: ModelDefinition
  /** The digest of the model file and its imports. */
  codeDigest: string
  /** The sent files that workers run; absent for files of the workers' project. */
  filesDigest?: string
  /** ISO 8601. */
  syncedAt: string
}

/** Stores models or their new content. Returns the names of the changed ones. */
export const upsertModels = (database: Database, models: readonly Omit<StoredModel, 'syncedAt'>[]) =>
  rowsFrom(database).column<string>(sql`
    insert into models (name, definition, code_digest, files_digest)
    select name, definition, "codeDigest", "filesDigest"
    from jsonb_to_recordset(${JSON.stringify(models)}::jsonb)
      as given (name text, definition jsonb, "codeDigest" text, "filesDigest" text)
    on conflict (name) do update set definition = excluded.definition, code_digest = excluded.code_digest,
      files_digest = excluded.files_digest, synced_at = now()
    where models.code_digest <> excluded.code_digest or models.definition <> excluded.definition
      or models.files_digest is distinct from excluded.files_digest
    returning name`)

export const findModel = (database: Database, name: string) =>
  rowsFrom(database).find<StoredModel>(sql`select * from models where name = ${name}`)

/** The model, which no other transaction changes until the end of this one. */
export const lockModel = (database: Transaction, name: string) =>
  rowsFrom(database).find<StoredModel>(sql`select * from models where name = ${name} for update`)

/** Throws `model_not_found`. */
export async function getModel(database: Database, name: string): Promise<StoredModel> {
  const model = await findModel(database, name)
  if (model === undefined)
    throw new DomainError('model_not_found', `there is no model ${JSON.stringify(name)}`)
  return model
}

/** Lists the models by name. */
export const listModels = (database: Database) =>
  rowsFrom(database).list<StoredModel>(sql`select * from models order by name`)

/** The models whose files were sent to the server. */
export const listSentModels = (database: Database) =>
  rowsFrom(database).column<string>(sql`select name from models where files_digest is not null`)

/** Ordered. */
export const listModelNames = (database: Database) =>
  rowsFrom(database).column<string>(sql`select name from models order by name`)

// Notes what a sync has changed in models, for the audit log. The process of a sync may hold no signing key, so the control worker writes
// the rows.

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
