/**
 * Adjusts p-values for multiple tests. Fifty features tested at one per cent raise a false alarm every other day; the adjustment bounds
 * the error over the whole family.
 */

/**
 * Benjamini and Hochberg (JRSS-B, 1995): adjusted p-values that bound the false discovery rate. A missing p stays missing and does not
 * count.
 */
export function benjaminiHochberg(p: readonly (number | null)[]): (number | null)[] {
  return adjust(p, (sorted) => {
    const adjusted = sorted.map((value, i) => (value * sorted.length) / (i + 1))
    for (let i = adjusted.length - 2; i >= 0; i--) adjusted[i] = Math.min(adjusted[i]!, adjusted[i + 1]!)
    return adjusted
  })
}

/**
 * Holm (Scandinavian Journal of Statistics, 1979): adjusted p-values that bound the probability of any false rejection. A missing p stays
 * missing and does not count.
 */
export function holm(p: readonly (number | null)[]): (number | null)[] {
  return adjust(p, (sorted) => {
    const adjusted = sorted.map((value, i) => value * (sorted.length - i))
    for (let i = 1; i < adjusted.length; i++) adjusted[i] = Math.max(adjusted[i]!, adjusted[i - 1]!)
    return adjusted
  })
}

/**
 * e-BH (Wang and Ramdas, JRSS-B 2022) on log e-values: which of them are rejected at false discovery rate `alpha`, under any dependence
 * and at any look.
 */
export function eBenjaminiHochberg(logE: readonly number[], alpha: number): boolean[] {
  const sorted = [...logE].sort((a, b) => b - a)
  const needed = (k: number) => Math.log(logE.length / (k * alpha))
  const rejected = sorted.findLastIndex((value, i) => value >= needed(i + 1)) + 1
  return logE.map((value) => rejected > 0 && value >= sorted[rejected - 1]!)
}

function adjust(
  p: readonly (number | null)[],
  adjustSorted: (sorted: number[]) => number[],
): (number | null)[] {
  const order = p.map((_, i) => i).filter((i) => isProbability(p[i]))
  order.sort((a, b) => p[a]! - p[b]!)
  const adjusted = adjustSorted(order.map((i) => p[i]!))
  const result: (number | null)[] = p.map(() => null)
  order.forEach((i, rank) => {
    result[i] = Math.min(1, adjusted[rank]!)
  })
  return result
}

function isProbability(value: number | null | undefined): boolean {
  return typeof value === 'number' && value >= 0 && value <= 1
}
