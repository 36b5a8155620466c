/**
 * Computes quantiles by linear interpolation between order statistics: type 7 of Hyndman and Fan (The American Statistician, 1996), the
 * default of NumPy and R. Bins of a reference must be equal everywhere; jstat uses another type.
 */

/** One value per probability; null without data and for a probability outside [0, 1]. */
export function quantiles(
  values: readonly (number | null)[],
  probabilities: readonly number[],
): (number | null)[] {
  const sorted = Float64Array.from(values.filter((v): v is number => v !== null && !Number.isNaN(v))).sort()
  return probabilities.map((p) => quantileOfSorted(sorted, p))
}

/** The same for values sorted in ascending order. */
export function quantileOfSorted(sorted: ArrayLike<number>, p: number): number | null {
  if (sorted.length === 0 || !(p >= 0 && p <= 1)) return null
  const at = (sorted.length - 1) * p
  const below = Math.floor(at)
  const low = sorted[below]!
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!
  const t = at - below
  // Equal neighbours return themselves exactly, and infinite ones do not give NaN.
  return low === high || t === 0 ? low : low + t * (high - low)
}

/** The index of the first value that is not below `value`, among ascending values. */
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
