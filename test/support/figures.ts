/** Summarises and formats the figures of the reports. */
import { cpus } from 'node:os'

/**
 * The lines of a Markdown table: a column of names, and columns of figures, which are aligned to the right. Heads may be one text
 * with ` | ` between them.
 */
export function figureTable(
  heads: string | readonly string[],
  rows: readonly (readonly string[])[],
  { names = '---', figures = '--:' } = {},
): string[] {
  const columns = typeof heads === 'string' ? heads.split(' | ') : heads
  const rule = columns.map((_, index) => (index === 0 ? names : figures))
  return [columns, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`)
}

/** A quantile of numbers in any order; NaN without numbers. */
export function quantileOf(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}

/** Minimum, median and maximum. */
export const spreadOf = (numbers: readonly number[]): number[] =>
  [0, 0.5, 1].map((share) => quantileOf(numbers, share))

export const sumBy = <T>(list: readonly T[], of: (each: T) => number): number =>
  list.reduce((total, each) => total + of(each), 0)

/** A whole number with separators. */
export const roundedNumber = (value: number): string => Math.round(value).toLocaleString('en-US')

/** What a report was made on. */
export const processors = `${cpus().length} cores (${cpus()[0]?.model.trim()})`
export const machine = `${processors}, Node ${process.versions.node}`
