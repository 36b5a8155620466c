/** Computes the chi-square test of homogeneity of two rows of counts. PSI alone is large by chance on few rows. */
import { chiSquareUpperTail, sumOf } from './distributions.ts'

/** The statistic with its degrees of freedom and p-value; null unless the status is `ok`. */
export interface ChiSquare {
  /** `one_column`: all counts are in one column, so nothing can differ. */
  status: 'ok' | 'one_column' | 'no_data' | 'invalid'
  stat: number | null
  dof: number | null
  p: number | null
  /** The effect size, 0..1, independent of the number of rows. */
  cramersV: number | null
}

function undefinedWith(status: ChiSquare['status']): ChiSquare {
  return { status, stat: null, dof: null, p: null, cramersV: null }
}

/**
 * Pearson's test of homogeneity on the 2×K table: Σ (observed − expected)²/expected with K − 1 degrees of freedom. Drops columns that are
 * empty on both sides; no Yates correction. Approximate: trust it from five expected rows a bin.
 * @param reference counts a bin; @param current counts of the same bins
 * @returns status `invalid` for rows of different lengths and for negative or infinite counts
 */
export function chiSquareHomogeneity(reference: readonly number[], current: readonly number[]): ChiSquare {
  if (!areCounts(reference, current)) return undefinedWith('invalid')
  const [n, m] = [sumOf(reference), sumOf(current)]
  if (n === 0 || m === 0) return undefinedWith('no_data')
  const total = n + m
  const columns = reference.map((count, k) => [count, current[k]!] as const).filter(([a, b]) => a + b > 0)
  if (columns.length < 2) return { status: 'one_column', stat: 0, dof: 0, p: 1, cramersV: null }
  const stat = sumOf(
    columns.map(([a, b]) => {
      const expected = ((a + b) * n) / total
      const difference = a - expected // b − its expectation has the opposite sign
      return difference ** 2 / expected + difference ** 2 / (((a + b) * m) / total)
    }),
  )
  const dof = columns.length - 1
  return { status: 'ok', stat, dof, p: chiSquareUpperTail(stat, dof), cramersV: Math.sqrt(stat / total) }
}

/** Whether two rows of counts can be compared: same length, finite, not negative. */
export function areCounts(a: readonly unknown[], b: readonly unknown[]): boolean {
  const isCount = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value >= 0
  return a.length === b.length && a.every(isCount) && b.every(isCount)
}
