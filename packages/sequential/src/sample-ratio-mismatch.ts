/**
 * Tests for a sample ratio mismatch: whether the arms get their configured shares. Without them, the arms cannot be compared. May be
 * evaluated after every tick; a chi-square test would raise a false alarm on most healthy days. A conjugate mixture as in Lindon and Malek,
 * "Anytime-valid inference for multinomial count data" (NeurIPS, 2022), here for two arms and a tolerance.
 */
import { logBeta } from './distributions.ts'

/** How far a healthy share may be off, and how dependent the counts are. */
export interface SrmOptions {
  /** The relative tolerance of the share, at least 0, because users differ in traffic. */
  tolerance?: number
  /** The number of requests that count as one independent draw, at least 1, because one user sends several. */
  designEffect?: number
}

/**
 * The log of the evidence, in nats, that the treatment's share lies outside share·[1/(1+tolerance), 1+tolerance]: the
 * likelihood of the counts under a Beta(100·share, 100·(1−share)) mixture over the best fit within the tolerance.
 * @param treatment the requests or users of the treatment, so far
 * @param control those of the control, so far
 * @param share the configured share of the treatment
 * @returns null for negative or infinite counts, and unless 0 < share < 1
 */
export function srmEvidence(
  treatment: number,
  control: number,
  share: number,
  options: SrmOptions = {},
): number | null {
  const { tolerance = 0, designEffect = 1 } = options
  const readable =
    [treatment, control].every((n) => Number.isFinite(n) && n >= 0) &&
    share > 0 &&
    share < 1 &&
    tolerance >= 0 &&
    designEffect >= 1
  if (!readable) return null
  const a = treatment / designEffect
  const b = control / designEffect
  if (a + b === 0) return 0
  const low = share / (1 + tolerance)
  const high = Math.min(1 - 1e-9, share * (1 + tolerance))
  const best = Math.min(high, Math.max(low, a / (a + b)))
  const mixture = logBeta(100 * share + a, 100 * (1 - share) + b) - logBeta(100 * share, 100 * (1 - share))
  return mixture - a * Math.log(best) - b * Math.log1p(-best)
}
