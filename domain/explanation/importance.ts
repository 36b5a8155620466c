/**
 * Measures how much a version needs each feature: the decrease of the primary metric when the values of one column are shuffled among the
 * test rows (Breiman, 2001). Features that carry the same information share their importance.
 */
import { quantiles, seededRandom, sumOf } from '@tenure/sequential'

/** The settings of the measurement. */
export interface ImportancePolicy {
  /** The number of test rows used; they are drawn with the seed of the gate. */
  rows: number
  /** How often each column is shuffled. */
  permutations: number
}

export const defaultImportance: ImportancePolicy = { rows: 2_000, permutations: 20 }

export interface FeatureImportance {
  feature: string
  /** The mean decrease of the metric; negative when shuffling improved it. */
  fall: number
  /**
   * The 2.5 % and 97.5 % quantiles of the decreases: the variation from shuffling, not from the choice of rows. Null for fewer than five
   * shuffles.
   */
  low: number | null
  high: number | null
}

export interface ImportanceReport {
  /** The primary metric of the gate. */
  metric: string
  /** The metric of the unshuffled rows. */
  value: number
  rows: number
  /** How often the most shuffled feature was shuffled; fewer than configured when the time was over. */
  permutations: number
  /** The largest first. */
  features: FeatureImportance[]
  /** Features without a measurement when the time was over; absent without any. */
  unmeasured?: string[]
}

/** The report from the metrics of the shuffled columns, one list per feature; undefined when the metric of the rows is undefined. */
export function importanceOf(
  shuffled: Readonly<Record<string, readonly (number | null)[]>>,
  {
    metric,
    isHigherBetter,
    value,
    rows,
  }: { metric: string; isHigherBetter: boolean; value: number | null; rows: number },
): ImportanceReport | undefined {
  if (value === null) return undefined
  const sign = isHigherBetter ? 1 : -1
  const features: FeatureImportance[] = []
  const unmeasured: string[] = []
  for (const [feature, values] of Object.entries(shuffled)) {
    const falls = values.flatMap((each) => (each === null ? [] : [sign * (value - each)]))
    const [low = null, high = null] = falls.length < minFalls ? [] : quantiles(falls, [0.025, 0.975])
    if (falls.length === 0) unmeasured.push(feature)
    else features.push({ feature, fall: sumOf(falls) / falls.length, low, high })
  }
  return {
    metric,
    value,
    rows,
    permutations: Math.max(0, ...Object.values(shuffled).map((values) => values.length)),
    features: features.toSorted((a, b) => b.fall - a.fall),
    unmeasured: unmeasured.length === 0 ? undefined : unmeasured,
  }
}

/** Fewer values give no meaningful quantiles. */
const minFalls = 5

/** A permutation of `length` positions (Fisher and Yates), the same one for the same seed. */
export function permutationOf(length: number, seed: number): Uint32Array {
  const uniform = seededRandom(seed)
  const places = Uint32Array.from({ length }, (_, place) => place)
  for (let last = length - 1; last > 0; last--) {
    const drawn = Math.floor(uniform() * (last + 1))
    const kept = places[last]!
    places[last] = places[drawn]!
    places[drawn] = kept
  }
  return places
}

/** The minimum weight of a feature in drift, as a share of the largest weight. */
const minWeight = 0.01

/**
 * The weights of the features in drift. No weight is 0: of two features with the same information, each alone seems useless. Undefined
 * when no feature matters.
 */
export function driftWeights({
  features,
}: Pick<ImportanceReport, 'features'>): Record<string, number> | undefined {
  const largest = Math.max(0, ...features.map(({ fall }) => fall))
  if (largest === 0) return undefined
  return Object.fromEntries(
    features.map(({ feature, fall }) => [feature, Math.max(fall / largest, minWeight)]),
  )
}
