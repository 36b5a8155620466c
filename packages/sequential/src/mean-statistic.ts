/** Averages statistics, so that the mean has one bootstrap. */
import type { Statistic } from './bootstrap.ts'

/** The mean of statistics of sums; null when one of them is undefined. */
export function meanOfStatistics(statistics: readonly Statistic[]): Statistic {
  const all = statistics.flatMap((each) => (each.kind === 'sums' ? [each] : []))
  const inputs = all.map(({ columns }) => new Float64Array(columns.length))
  return {
    kind: 'sums',
    columns: all.flatMap(({ columns }) => columns),
    value: (sums, weight) => {
      let at = 0
      let total = 0
      for (const [k, { value }] of all.entries()) {
        const input = inputs[k]!
        for (let j = 0; j < input.length; j++) input[j] = sums[at++]!
        const one = value(input, weight)
        if (one === null) return null
        total += one / all.length
      }
      return total
    },
  }
}
