/**
 * K1 with delayed starts: the same test begun again at each of `starts` (indices into the ticks), so that a
 * fault that appears at hour twelve is found in minutes and does not have to outweigh twelve good hours.
 */

import { logAddExp } from '../statistics/distributions.ts'
import { isRateTick, rateTest, type RateTestOptions, type RateTick } from './two-arm-rate-test.ts'

export interface DelayedEvidence {
  status: 'ok' | 'invalid'
  logE: number | null
  /** The evidence of the test begun at the first tick, alone. */
  plainLogE: number | null
}

/**
 * E = Σ_j w_j·E^(j), w_j = 1/(j(j+1)) for the j-th start; the mass left, 1/(J+1), counts 1.
 * A start beyond the last tick has not happened and counts 1 as well.
 */
export function delayedStartEvidence(
  ticks: readonly RateTick[],
  starts: readonly number[],
  options: RateTestOptions = {},
): DelayedEvidence {
  const readable = starts.every((start) => Number.isInteger(start) && start >= 0) && ticks.every(isRateTick)
  if (!readable || !((options.ratio ?? 1) > 0)) return { status: 'invalid', logE: null, plainLogE: null }
  const run = (from: number): number => {
    const test = rateTest(options)
    for (const tick of ticks.slice(from)) test.add(tick)
    return test.plainLogE()
  }
  let evidence = Math.log(1 / (starts.length + 1))
  starts.forEach((start, index) => {
    const j = index + 1
    evidence = logAddExp(evidence, Math.log(1 / (j * (j + 1))) + run(start))
  })
  return { status: 'ok', logE: evidence, plainLogE: run(0) }
}
