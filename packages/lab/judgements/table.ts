/** Formats the tables of the benchmarks of judges. */
import { betaQuantile, quantiles } from '@tenure/sequential'

/** Returns the one-sided upper Clopper-Pearson bound at 95 %. */
export const atMostText = (x: number, n: number): string =>
  `${((betaQuantile(0.95, x + 1, n - x) ?? 1) * 100).toFixed(2)} %`

/** Formats the median and the 95th percentile. */
export const spreadText = (values: readonly number[]): string => {
  const [p50, p95] = quantiles(values, [0.5, 0.95])
  return values.length === 0 ? '–' : `${Math.round(p50!)} / ${Math.round(p95!)}`
}

export const printRow = (...cells: (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)
