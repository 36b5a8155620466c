import { describe, expect, it } from 'vitest'
import { bootstrap, maxDrawnRows, type Statistic } from '../src/bootstrap.ts'
import { seededRandom } from '../src/random.ts'

const mean = (column: Float64Array): Statistic => ({
  kind: 'sums',
  columns: [column],
  value: (sums, weight) => sums[0]! / weight,
})
const deviation = (values: Float64Array): number => {
  const centre = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1))
}

describe('a bootstrap of more rows than are drawn one by one', () => {
  const rows = 2 * maxDrawnRows
  const uniform = seededRandom(5)
  // Sorted, as the rows of a snapshot are: neighbours are similar.
  const sorted = Float64Array.from({ length: rows }, () => uniform() ** 3).sort()

  it('varies as the mean of the rows does', () => {
    const resamples = 100
    const [values] = bootstrap([mean(sorted)], rows, { resamples, seed: 7 })
    expect(values).toHaveLength(resamples)
    const ratio = deviation(values!) / (deviation(sorted) / Math.sqrt(rows))
    // The ratio of 100 resamples has a standard error of 0.07.
    expect(ratio).toBeGreaterThan(0.75)
    expect(ratio).toBeLessThan(1.25)
  })

  it('repeats with its seed', () => {
    const options = { resamples: 2, seed: 3 }
    expect(bootstrap([mean(sorted)], rows, options)).toEqual(bootstrap([mean(sorted)], rows, options))
  })
})
