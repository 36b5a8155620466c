/** Tests the interval of an AUC that is computed from the AUC and the class counts alone. */
import { describe, expect, it } from 'vitest'
import { aucInterval } from '../src/auc-interval.ts'

describe('the interval of an AUC', () => {
  it('is that of Hanley and McNeil: 0.8929 with 51 abnormal and 58 normal has the standard error 0.0317', () => {
    const [low, high] = aucInterval(0.8929, { positives: 51, negatives: 58 })!
    expect((high - low) / 2 / 1.96).toBeCloseTo(0.0317, 2)
  })
  it('narrows with rows and stays within 0 and 1', () => {
    const width = (rows: number) => {
      const [low, high] = aucInterval(0.7, { positives: rows, negatives: rows })!
      return high - low
    }
    expect(width(10_000)).toBeLessThan(width(100) / 9)
    expect(aucInterval(1, { positives: 3, negatives: 3 })).toEqual([1, 1])
    expect(aucInterval(0.99, { positives: 2, negatives: 2 })![1]).toBeLessThanOrEqual(1)
  })
  it.each([
    [NaN, 10, 10],
    [1.1, 10, 10],
    [0.7, 0, 10],
    [0.7, 10, NaN],
  ])('of %f on %f and %f rows is null', (auc, positives, negatives) =>
    expect(aucInterval(auc, { positives, negatives })).toBeNull(),
  )
})
