import { expect, it } from 'vitest'
import { middlePlace, pinballLoss, sortQuantiles } from '../../../domain/model/quantile-levels.ts'

it('sorts the quantiles of each row separately', () => {
  const outputs = Float32Array.of(3, 1, 2, 0, 5, 4, 9, 8, 7)
  sortQuantiles(outputs, 2, 3)
  expect([...outputs]).toEqual([1, 2, 3, 0, 4, 5, 9, 8, 7])
})

it('a row with a quantile that is not a number keeps it', () => {
  const outputs = [2, NaN, 1]
  sortQuantiles(outputs, 1, 3)
  expect(outputs.some(Number.isNaN)).toBe(true)
})

it.each([
  // scikit-learn's mean_pinball_loss of y = 10 for each level, and the mean.
  [[4, 8, 13], [0.1, 0.5, 0.9], (0.1 * 6 + 0.5 * 2 + 0.1 * 3) / 3],
  [[10, 10], [0.25, 0.75], 0],
  [[12, 15], [0.25, 0.75], (0.75 * 2 + 0.25 * 5) / 2],
])('the pinball loss of %j at the levels %j is %d', (quantiles, levels, loss) =>
  expect(pinballLoss(10, quantiles, levels)).toBeCloseTo(loss, 12),
)

it.each([
  [[0.1, 0.5, 0.9], 1],
  [[0.05, 0.95], 0],
  [[0.6, 0.7], 0],
  [[0.1, 0.2, 0.45, 0.9], 2],
])('of the levels %j the one at %i stands for the row', (levels, place) =>
  expect(middlePlace(levels)).toBe(place),
)
