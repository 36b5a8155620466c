/** Reads the newest comparison of a release's answers with the champion's, as the judge recorded it. */
import sql from 'sql-template-tag'
import type { BusinessRow } from '../../domain/canary/business-metric.ts'
import type { ExternalRow } from '../../domain/canary/external/external-metric.ts'
import type { DisagreementReport } from '../../domain/canary/disagreement.ts'
import type { Database } from '../postgres.ts'

export interface AnswerCounts {
  names: string[]
  canary: number[]
  control: number[]
  /** In how many bins one answer is counted. Default: 1. */
  perKey?: number
}

export interface AnswerEvidence {
  /** From the shadow, on the same requests; absent without pairs. */
  disagreement?: DisagreementReport
  /** The answers of both arms over the whole release; absent when not counted. */
  answers?: AnswerCounts
  /** What users did after their first request, by metric; absent when the policy has none. */
  business?: BusinessRow[]
  /** What other systems have measured, by metric; absent when the policy has none. */
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
