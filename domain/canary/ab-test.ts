/**
 * Tests sequentially whether the candidate of an A/B release is better or worse than the champion on one metric that was declared before
 * the release. May be evaluated after every outcome: the two-arm rate test on cohorts of the same period, against H0 "no worse" and H0 "no better".
 */
import { inverseGrid, isRateTick, ratioGrid, thresholdFor, twoArmRateTest } from '@tenure/sequential'
import { percentText, ratioOf } from '../figures.ts'
import { policyIssues } from '../policy-issues.ts'
import type { Reason, Verdict } from '../verdict.ts'

/**
 * - `accuracy`: wrong predictions among the matured outcomes; fewer are better.
 * - `conversions`: desired outcomes among the matured ones; more are better.
 * - `errors`: failed requests, including invalid outputs; fewer are better.
 */
export type AbMetric = 'accuracy' | 'conversions' | 'errors'
const abMetrics: readonly AbMetric[] = ['accuracy', 'conversions', 'errors']

export interface AbPolicy {
  /**
   * The compared metric, declared before the release so that its result cannot decide the choice: `accuracy`, `conversions`, `errors`, or
   * a name of `limits.business`.
   */
  metric: string
  /** The probability of declaring a candidate better that is not better. */
  alpha: number
}

/** The number of matured predictions, and how many of them had the event. */
type AbArm = { total: number; events: number }

/** The matured predictions of one period. */
export interface AbCohort {
  atMs: number
  canary: AbArm
  control: AbArm
}

export interface AbFinding {
  kind: 'better' | 'worse' | 'open' | 'no_data'
  reason: Reason
  statistics: Record<string, number | null>
}

/** `alphaWorse`: the probability of rolling back a candidate that is no worse; part of the release's α. */
export function judgeAb(
  cohorts: readonly AbCohort[],
  { metric, alpha }: { metric: AbMetric; alpha: number },
  alphaWorse: number,
): AbFinding {
  const moreIsBetter = metric === 'conversions'
  const worse = twoArmRateTest({ grid: moreIsBetter ? inverseGrid : ratioGrid })
  const better = twoArmRateTest({ grid: moreIsBetter ? ratioGrid : inverseGrid })
  const sum = { canary: { total: 0, events: 0 }, control: { total: 0, events: 0 } }
  for (const { canary, control } of cohorts) {
    const tick = {
      treatmentTotal: canary.total,
      controlTotal: control.total,
      treatmentEvents: canary.events,
      controlEvents: control.events,
    }
    if (!isRateTick(tick)) continue
    worse.add(tick)
    better.add(tick)
    sum.canary = sumOfArms(sum.canary, canary)
    sum.control = sumOfArms(sum.control, control)
  }
  const worseLogE = worse.plainLogE()
  const betterLogE = better.plainLogE()
  const statistics = {
    abCanary: rateOf(sum.canary),
    abControl: rateOf(sum.control),
    abCanaryOutcomes: sum.canary.total,
    abControlOutcomes: sum.control.total,
    abWorseLogE: worseLogE,
    abBetterLogE: betterLogE,
  }
  const found = (kind: AbFinding['kind'], message: string, logE: number, threshold: number): AbFinding => ({
    kind,
    statistics,
    reason: { code: `ab_${kind}`, message, values: { ...statistics, metric, logE, threshold } },
  })
  if (sum.canary.total === 0 || sum.control.total === 0)
    return found('no_data', `no matured outcomes of both arms yet (metric ${metric})`, 0, 0)
  const rates = `${nouns[metric]} ${shown(sum.canary)} on the candidate, ${shown(sum.control)} on the champion`
  const arithmetic = (logE: number, sign: string, threshold: number) =>
    `${rates}: logE ${logE.toPrecision(4)} ${sign} ${threshold.toPrecision(4)}`
  const worseAt = thresholdFor(alphaWorse)
  const betterAt = thresholdFor(alpha)
  if (worseLogE >= worseAt) return found('worse', arithmetic(worseLogE, '≥', worseAt), worseLogE, worseAt)
  if (betterLogE >= betterAt)
    return found('better', arithmetic(betterLogE, '≥', betterAt), betterLogE, betterAt)
  return found('open', `undecided: ${arithmetic(betterLogE, '<', betterAt)}`, betterLogE, betterAt)
}

const nouns: Readonly<Record<AbMetric, string>> = {
  accuracy: 'wrong predictions',
  conversions: 'conversions',
  errors: 'failed requests',
}
const sumOfArms = (one: AbArm, other: AbArm): AbArm => ({
  total: one.total + other.total,
  events: one.events + other.events,
})
const rateOf = ({ total, events }: AbArm): number | null => ratioOf(events, total)
const shown = (arm: AbArm): string => `${arm.events} of ${arm.total} (${percentText(rateOf(arm) ?? 0)})`

/** Whether the metric is computed from outcomes or requests; other metrics are computed from events. */
export const isAbMetric = (metric: string): metric is AbMetric =>
  (abMetrics as readonly string[]).includes(metric)

/** `business`: the names of the business metrics. */
export function issuesOfAb(policy: AbPolicy, business: readonly string[] = []): string[] {
  const { issues, need, oneOf } = policyIssues()
  oneOf('metric', policy.metric, [...abMetrics, ...business])
  need(policy.alpha > 0 && policy.alpha <= 0.2, `alpha is above 0 and at most 0.2, not ${policy.alpha}`)
  return issues
}

/** The verdict of a stage combined with the A/B finding: a stage passes only when its candidate is better on the metric. */
export function withAb(verdict: Verdict, finding: AbFinding): Verdict {
  const statistics = { ...verdict.statistics, ...finding.statistics }
  const { kind, reasons } = verdict
  if (kind === 'fail' || kind === 'error' || kind === 'no_data') return { ...verdict, statistics }
  switch (finding.kind) {
    case 'worse':
      return { ...verdict, kind: 'fail', reasons: [finding.reason], statistics }
    case 'better':
      return { ...verdict, reasons: kind === 'pass' ? [finding.reason, ...reasons] : reasons, statistics }
    case 'open':
    case 'no_data':
      return {
        ...verdict,
        kind: finding.kind === 'open' ? 'inconclusive' : 'no_data',
        reasons: [finding.reason, ...(kind === 'pass' ? [] : reasons)],
        statistics,
      }
    default:
      return finding.kind satisfies never
  }
}
