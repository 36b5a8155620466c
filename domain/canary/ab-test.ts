/**
 * The sequential test of an A/B release: is the candidate better or worse than the champion on the one metric that was
 * declared beforehand? It may be looked at after every outcome, and either error stays below its α; a test of fixed size that
 * is peeked at would find a winner in every pair of equal models.
 *
 * It is K1 on cohorts of predictions of the same time, in both directions: H0 "no worse" and H0 "no better".
 */
import { isRateTick, rateTest } from '../sequential/two-arm-rate-test.ts'
import { inverseGrid, ratioGrid } from '../sequential/e-process.ts'
import { thresholdFor } from '../sequential/alpha-split.ts'
import type { Reason, Verdict } from '../verdict.ts'

/**
 * - `accuracy`: matured outcomes that the answer was wrong about; fewer are better.
 * - `conversions`: matured outcomes that are the wanted one; more are better.
 * - `errors`: requests that failed or got an invalid answer; fewer are better.
 */
export type AbMetric = 'accuracy' | 'conversions' | 'errors'
export const abMetrics: readonly AbMetric[] = ['accuracy', 'conversions', 'errors']

export interface AbPolicy {
  /** What is compared; declared before the release, so that it cannot be chosen by its result. */
  metric: AbMetric
  /** The probability that a candidate that is not better is taken for better. */
  alpha: number
}

/** Predictions of one span of time whose outcomes have had the time to come: how many, and in how many the event was seen. */
export interface AbCohort {
  atMs: number
  canary: { total: number; events: number }
  control: { total: number; events: number }
}

export interface AbFinding {
  kind: 'better' | 'worse' | 'open' | 'no_data'
  reason: Reason
  statistics: Record<string, number | null>
}

/** `alphaWorse` is the part of the release's α that may take a candidate back that is no worse. */
export function judgeAb(cohorts: readonly AbCohort[], policy: AbPolicy, alphaWorse: number): AbFinding {
  const { metric } = policy
  const moreIsBetter = metric === 'conversions'
  const worse = rateTest({ grid: moreIsBetter ? inverseGrid : ratioGrid })
  const better = rateTest({ grid: moreIsBetter ? ratioGrid : inverseGrid })
  const sum = { canary: { total: 0, events: 0 }, control: { total: 0, events: 0 } }
  for (const { canary, control } of cohorts) {
    const tick = {
      canaryTotal: canary.total,
      controlTotal: control.total,
      canaryEvents: canary.events,
      controlEvents: control.events,
    }
    if (!isRateTick(tick)) continue
    worse.add(tick)
    better.add(tick)
    for (const [all, one] of [
      [sum.canary, canary],
      [sum.control, control],
    ] as const) {
      all.total += one.total
      all.events += one.events
    }
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
    return found('no_data', `there is no matured outcome of ${metric} of both arms yet`, 0, 0)
  const rates = `${nouns[metric]} ${shown(sum.canary)} on the candidate, ${shown(sum.control)} on the champion`
  const arithmetic = (logE: number, sign: string, threshold: number) =>
    `${rates}: logE ${logE.toPrecision(4)} ${sign} ${threshold.toPrecision(4)}`
  const worseAt = thresholdFor(alphaWorse)
  const betterAt = thresholdFor(policy.alpha)
  if (worseLogE >= worseAt) return found('worse', arithmetic(worseLogE, '≥', worseAt), worseLogE, worseAt)
  if (betterLogE >= betterAt)
    return found('better', arithmetic(betterLogE, '≥', betterAt), betterLogE, betterAt)
  return found('open', `not decided yet, ${arithmetic(betterLogE, '<', betterAt)}`, betterLogE, betterAt)
}

const nouns: Readonly<Record<AbMetric, string>> = {
  accuracy: 'wrong answers',
  conversions: 'wanted outcomes',
  errors: 'bad answers',
}
const rateOf = ({ total, events }: { total: number; events: number }): number | null =>
  total === 0 ? null : events / total
const shown = (arm: { total: number; events: number }): string =>
  `${arm.events} of ${arm.total} (${Number((100 * (rateOf(arm) ?? 0)).toPrecision(3))} %)`

export function issuesOfAb(policy: AbPolicy): string[] {
  const issues: string[] = []
  if (!abMetrics.includes(policy.metric))
    issues.push(`metric is one of ${abMetrics.join(', ')}, not ${String(policy.metric)}`)
  if (!(policy.alpha > 0 && policy.alpha <= 0.2))
    issues.push(`alpha lies in (0, 0.2], not at ${policy.alpha}`)
  return issues
}

/** The verdict of a stage whose candidate must also win, or at least be decided about, on the declared metric. */
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
