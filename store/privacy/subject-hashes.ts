/** Finds under which hashes a subject is searched, from the type of its column in the newest snapshot. */
import sql from 'sql-template-tag'
import { canonicalNumber, columnTextsOf, numberTypes } from '../../domain/privacy/canonical-number.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'

export interface SubjectHashes {
  subjectHash: string
  /** Of the spellings in lists of earlier builds. */
  formerHashes: string[]
  /** Whether texts that write the same number name the subject. */
  isNumber: boolean
}

/** In a column of texts, 007 and 7 and 7.0 are three subjects; in one of numbers, they are one. Without a snapshot, it counts as text. */
export async function findSubjectHashes(
  database: Database,
  { hashOf }: Pick<SubjectKey, 'hashOf'>,
  { model, subject }: { model: string; subject: string },
): Promise<SubjectHashes> {
  const number = canonicalNumber(subject)
  if (number === undefined || !(await hasNumbers(database, model)))
    return { subjectHash: hashOf(subject), formerHashes: [], isNumber: false }
  return { subjectHash: hashOf(number), formerHashes: columnTextsOf(number).map(hashOf), isNumber: true }
}

/** Snapshots of earlier builds tell the type of the column alone. */
const hasNumbers = (database: Database, model: string): Promise<boolean> =>
  rowsFrom(database).any(sql`
    select from (
      select coalesce((source ->> 'subjectIsNumber')::boolean,
        columns ->> (definition ->> 'subject') ~ ${numberTypes}) as is_number
      from snapshots join models on models.name = snapshots.model
      where model = ${model} and source ? 'subjects' order by created_at desc, digest desc limit 1
    ) as newest where is_number`)
