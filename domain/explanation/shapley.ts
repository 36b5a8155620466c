/**
 * Attributes a number that a model answers to the features of a row, against background rows (interventional Shapley values: Lundberg and Lee,
 * 2017; by sampled permutations: Štrumbelj and Kononenko, 2014). Each permutation is walked forth and back, and each background row is met as
 * often as every other, so that base and attributions sum to the answer however few permutations there are.
 */
import type { FeatureRow } from '../model/features.ts'
import { permutationOf } from './importance.ts'

/** What each feature adds to the mean answer of the background. */
export interface Attribution {
  /** The mean over the background rows. */
  base: number
  /** Of the row: base and attributions sum to it. */
  score: number
  /** One a feature. */
  attributions: number[]
  /** Half the width of the 95 % interval of each; absent where attributions are exact. */
  errors?: number[]
}

export interface SampledQuestion {
  features: readonly string[]
  row: FeatureRow
  background: readonly FeatureRow[]
  /** Permutations, each walked forth and back; at least two for each background row. */
  permutations: number
  seed: number
  /** The explained number of each row. */
  answer: (rows: readonly FeatureRow[]) => Promise<ArrayLike<number>>
}

export async function sampledShapley({
  features,
  row,
  background,
  permutations,
  seed,
  answer,
}: SampledQuestion): Promise<Attribution> {
  const count = features.length
  const [score = NaN, ...before] = Array.from(await answer([row, ...background]))
  const cycles = Math.max(2, Math.ceil(permutations / background.length))
  const totals = background.map(() => features.map(() => ({ sum: 0, squares: 0 })))
  const draws = background.flatMap((_, place) =>
    Array.from({ length: cycles }, (_draw, cycle) => ({ place, seed: seed + place * cycles + cycle })),
  )
  const batch = Math.max(1, Math.floor(maxBatchRows / (2 * count)))
  for (let first = 0; first < draws.length; first += batch) {
    const walked = draws.slice(first, first + batch).map((draw) => {
      const forth = permutationOf(count, draw.seed)
      return { place: draw.place, ways: [forth, forth.toReversed()] }
    })
    const asked = walked.flatMap(({ place, ways }) =>
      ways.flatMap((way) => mixedRows(features, { row, from: background[place]! }, way)),
    )
    const answers = asked.length === 0 ? [] : await answer(asked)
    let at = 0
    for (const { place, ways } of walked) {
      const gains = features.map(() => 0)
      for (const way of ways) {
        let last = before[place]!
        way.forEach((feature, step) => {
          const next = step === count - 1 ? score : answers[at++]!
          gains[feature]! += (next - last) / ways.length
          last = next
        })
      }
      gains.forEach((gain, feature) => {
        totals[place]![feature]!.sum += gain
        totals[place]![feature]!.squares += gain * gain
      })
    }
  }
  /** Of one background row: the others add theirs. */
  const meanOf = (feature: number) =>
    totals.map((of) => {
      const { sum, squares } = of[feature]!
      const mean = sum / cycles
      return { mean, variance: Math.max(0, squares / cycles - mean * mean) / (cycles - 1) }
    })
  const means = features.map((_, feature) => meanOf(feature))
  const average = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / background.length
  return {
    base: average(before),
    score,
    attributions: means.map((of) => average(of.map(({ mean }) => mean))),
    errors: means.map(
      (of) => (1.96 * Math.sqrt(of.reduce((sum, { variance }) => sum + variance, 0))) / background.length,
    ),
  }
}

/** Rows of one question. */
const maxBatchRows = 2_000

/** The rows on the way from one row to another, without both: one more feature of `row` each. */
function mixedRows(
  features: readonly string[],
  { row, from }: { row: FeatureRow; from: FeatureRow },
  order: Uint32Array,
): FeatureRow[] {
  const mixed: FeatureRow[] = []
  let last = from
  for (const feature of order.subarray(0, -1)) {
    const name = features[feature]!
    last = { ...last, [name]: row[name] ?? null }
    mixed.push(last)
  }
  return mixed
}
