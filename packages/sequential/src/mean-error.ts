/** Computes the standard error of a mean of rows that may belong to the same entity. */
import { ownersOf, sumByUnit, type StatisticColumn } from './bootstrap.ts'
import { sumOf } from './distributions.ts'

/** The rows of one entity count as one draw. Null for fewer than two draws, which do not show how much they vary. */
export function meanError(values: StatisticColumn, entities?: readonly (string | number)[]): number | null {
  const rows = values.length
  const mean = sumOf(values) / rows
  const residuals = Float64Array.from(values, (value) => value - mean)
  const draws = entities === undefined ? residuals : sumByUnit(residuals, ownersOf(entities))
  if (draws.length < 2) return null
  const squares = draws.reduce((sum, residual) => sum + residual ** 2, 0)
  return Math.sqrt((squares * draws.length) / (draws.length - 1)) / rows
}
