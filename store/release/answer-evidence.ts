/** Reads the newest comparison of the answers of a release with those of the champion, as the judge has recorded it. */
import sql from 'sql-template-tag'
import type { BusinessRow } from '../../domain/canary/business-metric.ts'
import type { ExternalRow } from '../../domain/canary/external/external-metric.ts'
import type { DisagreementReport } from '../../domain/canary/disagreement.ts'
import type { Database } from '../postgres.ts'

export interface AnswerCounts {
  names: string[]
  canary: number[]
  control: number[]
  /** How many of the answers a user counts for; one when absent. */
  perKey?: number
}

export interface AnswerEvidence {
  /** In the shadow, on the same requests; absent without pairs. */
  disagreement?: DisagreementReport
  /** The answers of both arms over the whole release; absent where they are not counted. */
  answers?: AnswerCounts
  /** What users did after their first request, by metric; absent where the policy names none. */
  business?: BusinessRow[]
  /** What other systems have measured, by metric; absent where the policy names none. */
  external?: ExternalRow[]
}

export async function findAnswerEvidence(database: Database, release: string): Promise<AnswerEvidence> {
  const [row] = await database.query<{
    disagreement: DisagreementReport | null
    answers: AnswerCounts | null
    business: BusinessRow[] | null
    external: ExternalRow[] | null
  }>(sql`
    select
      (select inputs -> 'disagreement' from decisions
        where release_id = ${release} and inputs ? 'disagreement' order by id desc limit 1) as disagreement,
      (select inputs -> 'answers' from decisions
        where release_id = ${release} and inputs ? 'answers' order by id desc limit 1) as answers,
      (select inputs -> 'business' from decisions
        where release_id = ${release} and inputs ? 'business' order by id desc limit 1) as business,
      (select inputs -> 'external' from decisions
        where release_id = ${release} and inputs ? 'external' order by id desc limit 1) as external`)
  const { disagreement, answers, business, external } = row ?? {}
  return {
    disagreement: disagreement ?? undefined,
    answers: answers ?? undefined,
    business: business ?? undefined,
    external: external ?? undefined,
  }
}
