/** The policy and the table of the benchmarks of judges. */
import { dayPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import { betaQuantile } from '../../domain/statistics/distributions.ts'
import { quantiles } from '../../domain/statistics/quantiles.ts'

const hourMs = 3_600_000

/** Two stages of half an hour at 100 requests a second. */
export const hourPolicy: ReleasePolicy = {
  ...dayPolicy,
  stages: [500, 2_500].map((shareBp) => ({
    shareBp,
    minMs: hourMs / 2,
    minRequests: 1_000,
    deadlineMs: hourMs,
  })),
}

/** The upper Clopper-Pearson bound at 95 %, one-sided. */
export const atMostText = (x: number, n: number): string =>
  `${((betaQuantile(0.95, x + 1, n - x) ?? 1) * 100).toFixed(2)} %`

/** Median and 95th percentile. */
export const spreadText = (values: readonly number[]): string => {
  const [p50, p95] = quantiles(values, [0.5, 0.95])
  return values.length === 0 ? '–' : `${Math.round(p50!)} / ${Math.round(p95!)}`
}

export const printRow = (...cells: (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)
