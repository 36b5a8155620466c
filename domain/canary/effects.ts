/**
 * Judges the effects of a candidate beyond its answers: what users do (business metrics) and what other systems measure (external
 * metrics).
 */
import { sharedThreshold } from './alpha-split.ts'
import { judgeBusinessMetric } from './business-metric.ts'
import { judgeExternalMetric } from './external/external-metric.ts'
import type { CanaryEvidence } from './evidence.ts'
import type { CanaryPolicy } from './policy.ts'
import { isAnswered, type EffectFindings, type MetricFindings, type Verdict } from '../verdict.ts'

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

/** Judges each metric of a policy. All of them share `alpha`. */
const judgeEach =
  <Metric extends { action: 'rollback' | 'ask' }, Figures extends { worseLogE: number }>(
    kind: 'business' | 'external',
    judgeOne: (
      name: string,
      metric: Metric,
      figures: Figures | undefined,
      threshold: number,
    ) => MetricFindings,
  ) =>
  (
    evidence: Readonly<Record<string, Figures>>,
    metrics: Readonly<Record<string, Metric>>,
    alpha: number,
    statistics: Verdict['statistics'],
  ): EffectFindings => {
    const threshold = sharedThreshold(alpha, metrics)
    const found: EffectFindings = { against: [], questions: [], pending: [] }
    let worst = 0
    for (const [name, metric] of Object.entries(metrics)) {
      const figures = evidence[name]
      worst = Math.max(worst, figures?.worseLogE ?? 0)
      const { loss, questions = [], pending = [] } = judgeOne(name, metric, figures, threshold)
      if (loss !== undefined) found[metric.action === 'ask' ? 'questions' : 'against'].push(loss)
      found.questions.push(...questions)
      found.pending.push(...pending)
    }
    statistics[`${kind}LogE`] = worst
    statistics[`${kind}Threshold`] = threshold
    return found
  }

export const judgeBusiness = judgeEach('business', judgeBusinessMetric)
export const judgeExternal = judgeEach('external', judgeExternalMetric)
