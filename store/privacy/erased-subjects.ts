/** Reads the erased subjects and requests, so that sources, outcomes and spooled rows do not bring them back. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'

/** Returns which of these predictions belong to an erased request. */
export async function findErased(database: Database, predictionIds: readonly string[]): Promise<Set<string>> {
  const rows = await database.query<{ id: string }>(sql`
    select sent.id from unnest(${[...predictionIds]}::uuid[]) as sent (id)
    join erased_requests on erased_requests.id = request_of(sent.id)`)
  return new Set(rows.map(({ id }) => id))
}

export const hasErasures = (database: Database): Promise<boolean> =>
  rowsFrom(database).any(sql`select from erasures limit 1`)

/**
 * Returns the hashes of the subjects whose rows are excluded from a model. Throws `configuration_invalid` if they were made with another
 * key. `isFormer`: only of erasures that an earlier build requested, or only of the others.
 */
export async function listErasedSubjects(
  database: Database,
  { model, subjectKey, isFormer }: { model: string; subjectKey: SubjectKey; isFormer?: boolean },
): Promise<string[]> {
  const rows = await database.query<{ subject_hash: string; key_digest: string }>(sql`
    select distinct subject_hash, key_digest from erasures
    where model = ${model} and (former_hashes is null) = coalesce(${isFormer ?? null}::boolean, former_hashes is null)
    order by subject_hash`)
  if (rows.some(({ key_digest: digest }) => digest !== subjectKey.digest)) throw underAnotherKey(model)
  return rows.map(({ subject_hash: hash }) => hash)
}

/** Throws `configuration_invalid` if persons were erased from the model under another key: they would not be recognised. */
export async function requireKeyOfErasures(
  database: Database,
  { model, subjectKey }: { model: string; subjectKey: SubjectKey },
): Promise<void> {
  const isOfOther = await rowsFrom(database).any(
    sql`select from erasures where model = ${model} and key_digest <> ${subjectKey.digest} limit 1`,
  )
  if (isOfOther) throw underAnotherKey(model)
}

export const underAnotherKey = (model: string) =>
  new DomainError(
    'configuration_invalid',
    `persons were erased from ${model} under another secret (TENURE_SUBJECT_KEY) and could not be told from others: set that key again, or erase them anew and remove the old rows from erasures`,
  )

/** Until the transaction ends, the model gets no new erasure: the row of an erasure references that of its model. */
export async function lockErasedSubjects(database: Database, model: string): Promise<void> {
  await database.query(sql`select from models where name = ${model} for update`)
}
