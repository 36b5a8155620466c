/** Reads the newest comparison of the answers of a release with those of the champion, as the judge has recorded it. */
import sql from 'sql-template-tag'
import type { DisagreementReport } from '../../domain/canary/disagreement.ts'
import type { Database } from '../postgres.ts'

export interface AnswerCounts {
  names: string[]
  canary: number[]
  control: number[]
}

export interface AnswerEvidence {
  /** In the shadow, on the same requests; absent without pairs. */
  disagreement?: DisagreementReport
  /** The answers of both arms over the whole release; absent where they are not counted. */
  answers?: AnswerCounts
}

export async function findAnswerEvidence(database: Database, release: string): Promise<AnswerEvidence> {
  const [row] = await database.query<{
    disagreement: DisagreementReport | null
    answers: AnswerCounts | null
  }>(sql`
    select
      (select inputs -> 'disagreement' from decisions
        where release_id = ${release} and inputs ? 'disagreement' order by id desc limit 1) as disagreement,
      (select inputs -> 'answers' from decisions
        where release_id = ${release} and inputs ? 'answers' order by id desc limit 1) as answers`)
  return { disagreement: row?.disagreement ?? undefined, answers: row?.answers ?? undefined }
}
