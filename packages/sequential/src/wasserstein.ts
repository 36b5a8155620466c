/** Computes the Wasserstein distance between two samples, in the unit of the feature. */
import { sumOf } from './distributions.ts'

/** The distance of two samples. */
export interface Wasserstein {
  status: 'ok' | 'no_data'
  /** In the unit of the values; null without data. */
  distance: number | null
  /** The distance in standard deviations of the reference (population, at least 0.001). */
  normed: number | null
}

/** ∫ |F − G|, the area between the two empirical distribution functions. Values that are not finite are left out. */
export function wasserstein(
  reference: readonly (number | null)[],
  current: readonly (number | null)[],
): Wasserstein {
  const [a, b] = [sorted(reference), sorted(current)]
  if (a.length === 0 || b.length === 0) return { status: 'no_data', distance: null, normed: null }
  // ∫ |F − G|: between neighbouring values, both distribution functions are constant.
  const areas: number[] = []
  let [i, j] = [0, 0]
  let last = Math.min(a[0]!, b[0]!)
  while (i < a.length || j < b.length) {
    const next = Math.min(a[i] ?? Infinity, b[j] ?? Infinity)
    areas.push(Math.abs(i / a.length - j / b.length) * (next - last))
    while (i < a.length && a[i]! <= next) i++
    while (j < b.length && b[j]! <= next) j++
    last = next
  }
  const distance = sumOf(areas)
  const mean = sumOf(a) / a.length
  const deviation = Math.sqrt(sumOf(a.map((value) => (value - mean) ** 2)) / a.length)
  return { status: 'ok', distance, normed: distance / Math.max(deviation, 0.001) }
}

function sorted(values: readonly (number | null)[]): Float64Array {
  return Float64Array.from(values.filter((v): v is number => v !== null && Number.isFinite(v))).sort()
}
