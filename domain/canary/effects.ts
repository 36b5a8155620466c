/**
 * Judges the effects of a candidate beyond its answers: what users do (business metrics) and what other systems measure (external
 * metrics).
 */
import { judgeBusiness } from './business-metric.ts'
import { judgeExternal } from './external/external-metric.ts'
import type { CanaryEvidence } from './evidence.ts'
import type { CanaryPolicy } from './policy.ts'
import { isAnswered, type EffectFindings, type Verdict } from '../verdict.ts'

export function effectsOf(
  { business, external, stage, accepted = [] }: Omit<CanaryEvidence, 'ticks'>,
  { business: events, external: asked, alpha }: CanaryPolicy,
  statistics: Verdict['statistics'],
): EffectFindings {
  const found: EffectFindings = { against: [], questions: [], pending: [] }
  const add = ({ against, questions, pending }: EffectFindings, isDue: boolean): void => {
    found.against.push(...against)
    found.questions.push(...questions)
    if (isDue) found.pending.push(...pending.filter((each) => !isAnswered(each, accepted)))
  }
  if (events !== undefined && alpha.business !== undefined)
    add(
      judgeBusiness(business ?? {}, events, alpha.business, statistics),
      stage.last && stage.promoted !== true,
    )
  // Absent while no window can be compared, as in a shadow.
  if (asked !== undefined && external !== undefined && alpha.external !== undefined)
    add(judgeExternal(external, asked, alpha.external, statistics), true)
  return found
}
