/**
 * Sample ratio mismatch: do the arms get the share of requests they were configured to get? If not, the
 * assignment itself is broken and no comparison of the arms means anything. It holds a release, it never takes
 * one back. The test may be looked at after every tick: a chi-square test looked at each tick would raise a
 * false alarm on most healthy days.
 */

import { logBeta } from '../statistics/distributions.ts'

export interface SrmOptions {
  /** How far, relative to the configured share, the realised share may lie by right (sticky keys are lumpy). */
  tolerance?: number
  /** How many requests count as one independent draw, because one routing key sends several. */
  designEffect?: number
}

/**
 * The log of the evidence that the canary's share lies outside share·[1/(1+tolerance), 1+tolerance]: the
 * likelihood of the counts under a Beta(100·share, 100·(1−share)) mixture over the best the tolerated range offers.
 * Null for counts or a share (0 < share < 1) that make no sense.
 */
export function srmEvidence(
  canary: number,
  control: number,
  share: number,
  options: SrmOptions = {},
): number | null {
  const { tolerance = 0, designEffect = 1 } = options
  const readable =
    [canary, control].every((n) => Number.isFinite(n) && n >= 0) &&
    share > 0 &&
    share < 1 &&
    tolerance >= 0 &&
    designEffect >= 1
  if (!readable) return null
  const a = canary / designEffect
  const b = control / designEffect
  if (a + b === 0) return 0
  const low = share / (1 + tolerance)
  const high = Math.min(1 - 1e-9, share * (1 + tolerance))
  const best = Math.min(high, Math.max(low, a / (a + b)))
  const mixture = logBeta(100 * share + a, 100 * (1 - share) + b) - logBeta(100 * share, 100 * (1 - share))
  return mixture - a * Math.log(best) - b * Math.log1p(-best)
}
