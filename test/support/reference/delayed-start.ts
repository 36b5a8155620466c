/**
 * Computes the two-arm rate test with delayed starts one by one: the same test begins again at each of `starts`, so that it detects a fault that appears after
 * twelve hours within minutes. Checks the folded form of `restart`.
 */
import {
  isRateTick,
  logAddExp,
  type RateTick,
  type TwoArmRateOptions,
  twoArmRateTest,
} from '@tenure/sequential'

interface DelayedEvidence {
  status: 'ok' | 'invalid'
  logE: number | null
  /** The log evidence of the test that begins at the first tick. */
  plainLogE: number | null
}

/**
 * Computes E = Σ_j w_j·E^(j) with w_j = 1/(j(j+1)) for the j-th start. The remaining mass, 1/(J+1), and starts beyond the last tick count
 * as 1. `starts` are indices into the ticks.
 */
export function delayedStartEvidence(
  ticks: readonly RateTick[],
  starts: readonly number[],
  options: TwoArmRateOptions = {},
): DelayedEvidence {
  const readable = starts.every((start) => Number.isInteger(start) && start >= 0) && ticks.every(isRateTick)
  if (!readable || !((options.ratio ?? 1) > 0)) return { status: 'invalid', logE: null, plainLogE: null }
  const run = (from: number): number => {
    const test = twoArmRateTest(options)
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
