/**
 * Compares one metric between canary and control, and computes the proof that a promotion requires. A finding needs evidence and a
 * relevant difference, because enough traffic makes even a negligible difference significant.
 */
import {
  inverseGrid,
  logMeanExp,
  oneArmRateTest,
  type RateTick,
  ratioGrid,
  thresholdFor,
  twoArmRateTest,
} from '@tenure/sequential'
import type { AlphaSplit } from './alpha-split.ts'
import { fourDigits, groupedDigits, percentText, ratioOf } from '../figures.ts'
import type { CanaryTick } from './evidence.ts'
import type { CanaryPolicy, PromotionPolicy, RateMetric } from './policy.ts'
import type { Reason, Verdict } from '../verdict.ts'

export const slowNouns = {
  slow95: "slower than the champion's p95",
  slow99: "slower than the champion's p99",
} as const

const kinds: Record<RateMetric, { code: string; alpha: keyof AlphaSplit; noun: string }> = {
  errors: { code: 'error_rate', alpha: 'errors', noun: 'failed' },
  invalid: { code: 'invalid_rate', alpha: 'invalid', noun: 'invalid' },
  slow95: { code: 'slow95_rate', alpha: 'slow95', noun: slowNouns.slow95 },
  slow99: { code: 'slow99_rate', alpha: 'slow99', noun: slowNouns.slow99 },
}

/**
 * The weight of the first start. Most faults are present from the first request: a 2 % error rate at a 5 % share is found within 1,311
 * canary requests in 95 % of runs with a weight of 0.8, and within 1,400 with 0.5. In return, a fault that begins at hour twelve needs
 * about a sixth more requests with 0.8 than with 0.5.
 */
export const firstMass = 0.8

export interface ArmComparison {
  add(tick: CanaryTick): void
  /** Starts another copy of the test, beside the older ones. */
  restart(atMs: number): void
  /** The reason to roll the canary back, from the first tick that proved it; null before. */
  finding(): Reason | null
  /** Adds the rates and the evidence of this metric to the statistics of a verdict. */
  describe(statistics: Verdict['statistics']): void
}

export function compareArms(metric: RateMetric, policy: CanaryPolicy): ArmComparison {
  const { alpha } = kinds[metric]
  const tolerated = metric === 'slow95' || metric === 'slow99' ? policy.slowRatio : policy.errorRatio
  const test = twoArmRateTest({ ratio: tolerated, grid: ratioGrid, firstMass })
  const threshold = thresholdFor(policy.alpha[alpha]!)
  const total: RateTick = { treatmentTotal: 0, controlTotal: 0, treatmentEvents: 0, controlEvents: 0 }
  const differences = stratifiedDifference()
  let logE = 0
  let peak = 0
  // Built once: a simulated day reads them ten thousand times.
  const names = {
    canary: `${metric}Canary`,
    control: `${metric}Control`,
    logE: `${metric}LogE`,
    maxLogE: `${metric}MaxLogE`,
    threshold: `${metric}Threshold`,
  }
  let found: Reason | null = null
  return {
    add(tick) {
      const counts = countsOf(tick, metric)
      for (const name of countNames) total[name] += counts[name]
      differences.add(counts)
      test.add(counts)
      if (counts.treatmentEvents === 0 && counts.controlEvents === 0) return
      logE = test.logE()
      if (logE > peak) peak = logE
      if (found !== null || logE < threshold) return
      const atMs = tick.startMs
      const delta = differences.max(atMs, policy.restartMs / 4)
      if (delta < policy.minDelta) return
      const { minDelta } = policy
      found = differenceReason(metric, total, { delta, minDelta, logE, threshold, ratio: tolerated, atMs })
    },
    restart(atMs) {
      test.restart()
      differences.restart(atMs)
    },
    finding: () => found,
    describe(statistics) {
      if (total.treatmentTotal + total.controlTotal === 0) return
      statistics[names.canary] = ratioOf(total.treatmentEvents, total.treatmentTotal)
      statistics[names.control] = ratioOf(total.controlEvents, total.controlTotal)
      statistics[names.logE] = logE
      statistics[names.maxLogE] = peak
      statistics[names.threshold] = threshold
    },
  }
}

const countNames = ['treatmentTotal', 'controlTotal', 'treatmentEvents', 'controlEvents'] as const

const countsOf = ({ canary, control }: CanaryTick, metric: RateMetric): RateTick => ({
  treatmentTotal: canary.requests,
  controlTotal: control.requests,
  treatmentEvents: canary[metric],
  controlEvents: control[metric],
})

/** The difference of rates, stratified by tick (Mantel-Haenszel), because shares and base rates move during a release. */
function stratifiedDifference() {
  let difference = 0
  let weight = 0
  const origins = [{ atMs: -Infinity, difference: 0, weight: 0 }]
  return {
    add({ treatmentTotal, controlTotal, treatmentEvents, controlEvents }: RateTick) {
      const n = treatmentTotal + controlTotal
      if (n === 0) return
      difference += (treatmentEvents * controlTotal - controlEvents * treatmentTotal) / n
      weight += (treatmentTotal * controlTotal) / n
    },
    restart(atMs: number) {
      origins.push({ atMs, difference, weight })
    },
    /**
     * The largest difference since the start or since any restart, so that twelve good hours do not dilute a fault in the last hour. A
     * restart younger than `minAgeMs` is ignored: one failure in five requests would be a difference of 20 %.
     */
    max: (nowMs: number, minAgeMs: number): number =>
      origins.reduce((max, origin) => {
        const since = weight - origin.weight
        if (since <= 0 || nowMs - origin.atMs < minAgeMs) return max
        return Math.max(max, (difference - origin.difference) / since)
      }, -Infinity),
  }
}

function differenceReason(
  metric: RateMetric,
  { treatmentEvents, treatmentTotal, controlEvents, controlTotal }: RateTick,
  values: { logE: number; threshold: number } & Reason['values'],
): Reason {
  const { code, noun } = kinds[metric]
  const message = rateMessage({
    events: treatmentEvents,
    requests: treatmentTotal,
    what: `canary requests ${noun}`,
    beside: `control ${percentText(ratioOf(controlEvents, controlTotal))}`,
    ...values,
  })
  const counts = {
    canaryEvents: treatmentEvents,
    canaryRequests: treatmentTotal,
    controlEvents,
    controlRequests: controlTotal,
  }
  return { code, message, values: { ...counts, ...values } }
}

interface ProvenRate {
  events: number
  requests: number
  what: string
  /** What the rate is compared with, such as "control 0.5 %"; absent without requests to the control. */
  beside?: string | undefined
  logE: number
  threshold: number
  /** The counts of the evidence, from the moment of the proof; absent where they are those before. */
  proof?: { events: number; requests: number }
}

/** Describes a rate that is proven to be too high: "41 of 1,000 canary requests failed (4.1 %), control 0.5 %: logE 7.9 ≥ 4.6". */
export function rateMessage({ events, requests, what, beside, logE, threshold, proof }: ProvenRate): string {
  const compared = beside === undefined ? '' : `, ${beside}`
  const isOther = proof !== undefined && (proof.events !== events || proof.requests !== requests)
  const proven = isOther
    ? ` from ${groupedDigits(proof.events)} of ${groupedDigits(proof.requests)} since the release began`
    : ''
  return (
    `${groupedDigits(events)} of ${groupedDigits(requests)} ${what} (${percentText(ratioOf(events, requests))})${compared}: ` +
    `logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}${proven}`
  )
}

/**
 * A finding is worded at its tick, before the stage is known. In a shadow it counts copied requests; in probation those of the version
 * that is champion by now.
 */
export const wordedFor =
  (noun: string) =>
  ({ message, ...reason }: Reason): Reason => ({
    ...reason,
    message: message.replace(' canary requests ', ` ${noun} `),
  })

/** Sorts the earliest finding first, because it is shown as the cause of a rollback. */
export function inOrderFound(reasons: readonly Reason[]): Reason[] {
  const foundAt = ({ values }: Reason) => Number(values['atMs'] ?? Infinity)
  return reasons.toSorted((a, b) => foundAt(a) - foundAt(b))
}

export interface PromotionProof {
  metric: RateMetric
  add(tick: CanaryTick): void
  logE(): number
}

/**
 * Evidence that a metric is better than the policy forbids: the mean of two e-values, the two-arm test with inverse ratios against "the ratio is at
 * least `ratio`", and the inverse guard against "the rate is at least `negligibleRate`". A mean of e-values for one claim is an e-value.
 */
export function promotionProof(metric: RateMetric, promotion: PromotionPolicy): PromotionProof {
  const { ratio, negligibleRate } = promotion
  const test = twoArmRateTest({ ratio, grid: inverseGrid })
  const negligible = negligibleRate === null ? null : oneArmRateTest(negligibleRate, inverseGrid)
  return {
    metric,
    add(tick) {
      const counts = countsOf(tick, metric)
      test.add(counts)
      negligible?.add(counts.treatmentTotal, counts.treatmentEvents)
    },
    logE: () =>
      negligible === null ? test.plainLogE() : logMeanExp([test.plainLogE(), negligible.plainLogE()]),
  }
}
