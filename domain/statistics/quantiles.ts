/**
 * Quantiles by linear interpolation between order statistics (type 7, the default of NumPy and R). Written here
 * because the deciles of a reference profile and the latency limits of a release must be the same numbers
 * everywhere, and jstat's quantiles are another type.
 */

/** One value a probability; null where there is no data or the probability is outside [0, 1]. */
export function quantiles(
  values: readonly (number | null)[],
  probabilities: readonly number[],
): (number | null)[] {
  const sorted = Float64Array.from(values.filter((v): v is number => v !== null && !Number.isNaN(v))).sort()
  return probabilities.map((p) => quantileOfSorted(sorted, p))
}

/** The same for values already sorted upwards. */
export function quantileOfSorted(sorted: ArrayLike<number>, p: number): number | null {
  if (sorted.length === 0 || !(p >= 0 && p <= 1)) return null
  const at = (sorted.length - 1) * p
  const below = Math.floor(at)
  const low = sorted[below]!
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!
  const t = at - below
  // Equal neighbours answer exactly themselves, and infinite ones no NaN.
  return low === high || t === 0 ? low : low + t * (high - low)
}

/** The place of the first value that is not below `value`, among values sorted upwards. */
export function firstPlace(sorted: ArrayLike<number>, value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}
