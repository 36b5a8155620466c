/**
 * Tests sequentially whether the candidate of an A/B release is better or worse than the champion on one metric that was declared before
 * the release. May be evaluated after every outcome: the two-arm rate test on cohorts of the same period, or the bets on the losses of
 * blocks of users, against H0 "no worse" and H0 "no better".
 */
import { inverseGrid, isRateTick, ratioGrid, thresholdFor, twoArmRateTest } from '@tenure/sequential'
import { fourDigits, percentText, ratioOf } from '../figures.ts'
import { policyIssues } from '../policy-issues.ts'
import type { AbCohort } from './ab-cohorts.ts'
import { lossNote, meanLoss, notWorseLogE, worseLogE, type ArmLosses } from './holdback.ts'
import type { Reason, Verdict } from '../verdict.ts'

/**
 * - `accuracy`: wrong predictions among the matured outcomes; fewer are better.
 * - `loss`: the loss of the gate's primary metric, or its stand-in, on matured outcomes; less is better.
 * - `conversions`: desired outcomes among the matured ones; more are better.
 * - `errors`: failed requests, including invalid outputs; fewer are better.
 */
export type AbMetric = 'accuracy' | 'loss' | 'conversions' | 'errors'
export const abMetrics: readonly AbMetric[] = ['accuracy', 'loss', 'conversions', 'errors']
/** The metrics that count events. */
type RateMetric = Exclude<AbMetric, 'loss'>

export interface AbPolicy {
  /**
   * The compared metric, declared before the release so that its result cannot decide the choice: `accuracy`, `loss`, `conversions`,
   * `errors`, or a name of `limits.business`.
   */
  metric: string
  /** The probability of declaring a candidate better although it is not. */
  alpha: number
}

export interface AbFinding {
  kind: 'better' | 'worse' | 'open' | 'no_data'
  reason: Reason
  statistics: Record<string, number | null>
}

/** Of metrics that count events. `alphaWorse`: the probability of rolling back a candidate that is no worse; part of the release's α. */
export function judgeAb(
  cohorts: readonly AbCohort[],
  { metric, alpha }: { metric: RateMetric; alpha: number },
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
  return findingOf({
    metric,
    alpha,
    alphaWorse,
    worse: worse.plainLogE(),
    better: better.plainLogE(),
    canary: { outcomes: sum.canary.total, value: rateOf(sum.canary) },
    control: { outcomes: sum.control.total, value: rateOf(sum.control) },
    compared: `${nouns[metric]} ${shown(sum.canary)} on the candidate, ${shown(sum.control)} on the champion`,
  })
}

/** The same of the losses of the task; undefined losses are not known yet. */
export function judgeAbLosses(
  losses: ArmLosses | undefined,
  { alpha }: Pick<AbPolicy, 'alpha'>,
  alphaWorse: number,
): AbFinding {
  const none = { total: 0, loss: 0 }
  const { candidate, control } = losses ?? { candidate: none, control: none }
  const arm = (of: ArmLosses['control']) => ({ outcomes: of.total, value: meanLoss(of) })
  const text = (of: ArmLosses['control']) => `${fourDigits(meanLoss(of) ?? 0)} of ${of.total} outcomes`
  return findingOf({
    metric: 'loss',
    alpha,
    alphaWorse,
    worse: losses === undefined ? 0 : worseLogE(losses),
    better: losses === undefined ? 0 : notWorseLogE(losses, 0),
    canary: arm(candidate),
    control: arm(control),
    compared: `mean loss ${lossNote(losses ?? {})}${text(candidate)} on the candidate, ${text(control)} on the champion`,
  })
}

interface Compared {
  metric: AbMetric
  alpha: number
  alphaWorse: number
  /** The log evidence against H0 "no worse" and H0 "no better". */
  worse: number
  better: number
  canary: { outcomes: number; value: number | null }
  control: { outcomes: number; value: number | null }
  /** The values of both arms, in words. */
  compared: string
}

function findingOf({
  metric,
  alpha,
  alphaWorse,
  worse,
  better,
  canary,
  control,
  compared,
}: Compared): AbFinding {
  const statistics = {
    abCanary: canary.value,
    abControl: control.value,
    abCanaryOutcomes: canary.outcomes,
    abControlOutcomes: control.outcomes,
    abWorseLogE: worse,
    abBetterLogE: better,
  }
  const found = (kind: AbFinding['kind'], message: string, logE: number, threshold: number): AbFinding => ({
    kind,
    statistics,
    reason: { code: `ab_${kind}`, message, values: { ...statistics, metric, logE, threshold } },
  })
  if (canary.outcomes === 0 || control.outcomes === 0)
    return found('no_data', `no matured outcomes of both arms yet (metric ${metric})`, 0, 0)
  const arithmetic = (logE: number, sign: string, threshold: number) =>
    `${compared}: logE ${logE.toPrecision(4)} ${sign} ${threshold.toPrecision(4)}`
  const worseAt = thresholdFor(alphaWorse)
  const betterAt = thresholdFor(alpha)
  if (worse >= worseAt) return found('worse', arithmetic(worse, '≥', worseAt), worse, worseAt)
  if (better >= betterAt) return found('better', arithmetic(better, '≥', betterAt), better, betterAt)
  return found('open', `undecided: ${arithmetic(better, '<', betterAt)}`, better, betterAt)
}

const nouns: Readonly<Record<RateMetric, string>> = {
  accuracy: 'wrong predictions',
  conversions: 'conversions',
  errors: 'failed requests',
}
const sumOfArms = (one: AbCohort['canary'], other: AbCohort['canary']): AbCohort['canary'] => ({
  total: one.total + other.total,
  events: one.events + other.events,
})
const rateOf = ({ total, events }: AbCohort['canary']): number | null => ratioOf(events, total)
const shown = (arm: AbCohort['canary']): string =>
  `${arm.events} of ${arm.total} (${percentText(rateOf(arm) ?? 0)})`

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
