/** Weights the rows of a statistic, so that its value and its bootstrap use the same weights. */
import type { Statistic } from './bootstrap.ts'

/**
 * The statistic of rows that count by their weights. A resample multiplies the weight of a row by how often it is drawn.
 * @param weights one a row, at least 0
 */
export function weightedStatistic(statistic: Statistic, weights: Float64Array): Statistic {
  if (statistic.kind === 'weights') {
    const { value } = statistic
    const both = new Float64Array(weights.length)
    return {
      kind: 'weights',
      value: (drawn) => {
        for (let row = 0; row < both.length; row++) both[row] = weights[row]! * drawn[row]!
        return value(both)
      },
    }
  }
  const { columns, value } = statistic
  const own = new Float64Array(columns.length)
  return {
    kind: 'sums',
    columns: [...columns.map((column) => weights.map((weight, row) => weight * column[row]!)), weights],
    value: (sums) => {
      for (let j = 0; j < own.length; j++) own[j] = sums[j]!
      return value(own, sums[own.length]!)
    },
  }
}

/** How many rows of equal weights show as much: (Σ w)² / Σ w² (Kish, Survey Sampling, 1965). 0 without weights above 0. */
export function effectiveRows(weights: ArrayLike<number>): number {
  let [sum, squares] = [0, 0]
  for (let row = 0; row < weights.length; row++) {
    sum += weights[row]!
    squares += weights[row]! ** 2
  }
  return squares > 0 ? sum ** 2 / squares : 0
}
