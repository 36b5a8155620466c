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
  const attributions = features.map(() => 0)
  const squares = features.map(() => 0)
  for (const [place, from] of background.entries()) {
    const sums = features.map(() => 0)
    const totals = features.map(() => 0)
    for (let cycle = 0; cycle < cycles; cycle++) {
      const order = permutationOf(count, seed + place * cycles + cycle)
      const [forth, back] = [order, order.toReversed()]
      const asked = [
        ...mixedRows(features, { row, from }, forth),
        ...mixedRows(features, { row, from }, back),
      ]
      const answers = asked.length === 0 ? [] : await answer(asked)
      const gains = features.map(() => 0)
      for (const [walk, way] of [forth, back].entries()) {
        let last = before[place]!
        way.forEach((feature, step) => {
          const next = step === count - 1 ? score : answers[walk * (count - 1) + step]!
          gains[feature]! += (next - last) / 2
          last = next
        })
      }
      gains.forEach((gain, feature) => {
        sums[feature]! += gain
        totals[feature]! += gain * gain
      })
    }
    for (let feature = 0; feature < count; feature++) {
      const mean = sums[feature]! / cycles
      attributions[feature]! += mean / background.length
      // The variance of the mean over this background row: the others add theirs.
      squares[feature]! += Math.max(0, totals[feature]! / cycles - mean * mean) / (cycles - 1)
    }
  }
  return {
    base: before.reduce((sum, value) => sum + value, 0) / background.length,
    score,
    attributions,
    errors: squares.map((square) => (1.96 * Math.sqrt(square)) / background.length),
  }
}

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
