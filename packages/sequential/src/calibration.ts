/**
 * Computes calibration: whether 70 % of the rows with a probability of 70 % are positive (expected calibration error: Naeini, Cooper and
 * Hauskrecht, AAAI, 2015).
 */
/** The gaps between probabilities and outcomes; null without rows, and for a probability outside of [0, 1]. */
export interface Calibration {
  /** Expected calibration error: the mean gap between probability and outcome over the bins, weighted by rows. */
  ece: number | null
  /** The largest gap of a bin. */
  mce: number | null
  bins: { rows: number; meanProbability: number | null; positiveRate: number | null }[]
}

const bins = 10

const binOf = (p: number): number => Math.min(Math.floor(bins * p), bins - 1)

/** @param y 1 for positive; @param p its probability. Bins of equal width; bin = min(⌊bins·p⌋, bins − 1). */
export function calibration(y: ArrayLike<number>, p: ArrayLike<number>): Calibration {
  const rows = new Float64Array(bins)
  const promised = new Float64Array(bins)
  const came = new Float64Array(bins)
  if (p.length === 0) return { ece: null, mce: null, bins: [] }
  for (let i = 0; i < p.length; i++) {
    if (!(p[i]! >= 0 && p[i]! <= 1)) return { ece: null, mce: null, bins: [] }
    const bin = binOf(p[i]!)
    rows[bin]!++
    promised[bin]! += p[i]!
    came[bin]! += y[i]!
  }
  let ece = 0
  let mce = 0
  for (let bin = 0; bin < bins; bin++) {
    if (rows[bin] === 0) continue
    const gap = Math.abs(promised[bin]! - came[bin]!)
    ece += gap / p.length
    mce = Math.max(mce, gap / rows[bin]!)
  }
  return {
    ece,
    mce,
    bins: Array.from(rows, (count, bin) => ({
      rows: count,
      meanProbability: count > 0 ? promised[bin]! / count : null,
      positiveRate: count > 0 ? came[bin]! / count : null,
    })),
  }
}

/**
 * The gap between probability and outcome of each row, in the direction that the other half of the rows gives its bin. Their mean estimates
 * the calibration error without the part that is chance: a bin whose gap is 0 has a random direction there, and so a mean of 0.
 * @param half 0 or 1 for each row.
 */
export function crossFittedGaps(
  y: ArrayLike<number>,
  p: ArrayLike<number>,
  half: ArrayLike<number>,
): Float64Array {
  const sums = [new Float64Array(bins), new Float64Array(bins)]
  for (let i = 0; i < p.length; i++) sums[half[i]!]![binOf(p[i]!)]! += p[i]! - y[i]!
  return Float64Array.from(
    { length: p.length },
    (_, i) => Math.sign(sums[1 - half[i]!]![binOf(p[i]!)]!) * (p[i]! - y[i]!),
  )
}
