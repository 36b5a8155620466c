/** Finds under which hash a subject is searched, from the type of its column in the newest snapshot. */
import sql from 'sql-template-tag'
import type { SubjectColumn } from '../../domain/privacy/nothing-found.ts'
import { canonicalNumber } from '../../domain/values/names.ts'
import { numberTypes } from '../../domain/values/types.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'
import { isLoggedRequests, isUsedBy } from '../training/snapshots.ts'

export interface HashedSubject {
  subjectHash: string
  /** Whether texts that write the same number name the subject. */
  isNumber: boolean
  /** The hash of the number that the key writes, which names the subject where the column is a number; absent for another key. */
  numberHash?: string
}

/** In a column of texts, 007 and 7 and 7.0 are three subjects; in one of numbers, they are one. Without a snapshot, it counts as text. */
export async function findSubjectHash(
  database: Database,
  { hashOf }: Pick<SubjectKey, 'hashOf'>,
  { model, subject }: { model: string; subject: string },
): Promise<HashedSubject> {
  const number = canonicalNumber(subject)
  if (number === undefined) return { subjectHash: hashOf(subject), isNumber: false }
  const { isNumber = false } = await readSubjectColumn(database, model)
  return { subjectHash: hashOf(isNumber ? number : subject), isNumber, numberHash: hashOf(number) }
}

/**
 * The column that the model file names, and whether it holds numbers in the newest snapshot. Absent is unknown. A snapshot of equal rows
 * belongs to the model that took it first, whose subject may be another column: the type of the column decides there.
 */
export const readSubjectColumn = async (database: Database, model: string): Promise<SubjectColumn> =>
  (await rowsFrom(database).find<SubjectColumn>(sql`
    select definition ->> 'subject' as column, (
      select is_number from (
        select created_at, digest, coalesce(
          case when snapshots.model = ${model} then (source ->> 'subjectIsNumber')::boolean end,
          columns ->> (definition ->> 'subject') ~ ${numberTypes}
        ) as is_number from snapshots where ${isUsedBy(model)} and not ${isLoggedRequests}
      ) as used where is_number is not null order by created_at desc, digest desc limit 1
    ) as is_number from models where name = ${model}`)) ?? {}
