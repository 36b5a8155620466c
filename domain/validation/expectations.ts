/**
 * What a batch of rows must look like before a model may learn from it. A broken export trains without complaint
 * and is only noticed by the users; each expectation here blocks or warns, and stores what it saw.
 */

import type { Profile } from '../model/reference-profile.ts'

export type ExpectationSeverity = 'block' | 'warn'

export type Check =
  /** The columns a snapshot must have, and what they hold. */
  | { check: 'schema'; columns: Record<string, 'number' | 'text' | 'time' | 'flag'> }
  | { check: 'rows'; min?: number; max?: number }
  /** The number of rows against the median of the last runs. */
  | { check: 'rows_as_usual'; minRatio: number; maxRatio: number }
  /** The newest event is at most this old at `asOf`. */
  | { check: 'fresh'; withinMs: number }
  | { check: 'unique'; columns: string[] }
  | { check: 'complete'; columns: string[] }
  /** Filled wherever another column has this value. */
  | { check: 'complete_when'; column: string; when: string; is: string | number | boolean }
  | { check: 'finite'; columns: string[] }
  | { check: 'in_set'; column: string; values: readonly (string | number)[] }
  | { check: 'between'; column: string; min?: number; max?: number }
  | { check: 'length'; column: string; min?: number; max?: number }
  | { check: 'matches'; column: string; pattern: string }
  | { check: 'distinct'; column: string; min?: number; max?: number }
  | { check: 'mean'; column: string; min?: number; max?: number }
  | { check: 'std'; column: string; min?: number; max?: number }
  | { check: 'quantile'; column: string; q: number; min?: number; max?: number }
  /** Every class has at least this many rows. */
  | { check: 'every_class'; column: string; classes: readonly (string | number)[]; min: number }
  /** The share of rows where a column is 1 or true. */
  | { check: 'share'; column: string; min?: number; max?: number }
  /** One column is never above another. */
  | { check: 'ordered'; low: string; high: string }
  /** Of the scale that the champion was trained on, and not missing or unknown all of a sudden. */
  | { check: 'as_trained'; column: string; reference: Profile }

export type Expectation = Check & {
  severity: ExpectationSeverity
  /** The share of rows that must comply, for checks of single rows; 1 when absent. */
  mostly?: number
}

/** Column-wise rows; times are milliseconds. */
export interface BatchTable {
  rows: number
  columns: Record<string, ArrayLike<BatchCell>>
}
export type BatchCell = number | string | boolean | null

/** What a person looks at first of a column, when a batch was blocked. */
export interface ColumnSummary {
  column: string
  rows: number
  missing: number
  distinct: number
  min: number | string | null
  max: number | string | null
  mean: number | null
  deviation: number | null
  /** The most frequent values of a text column, with their counts. */
  frequent?: [string, number][]
}

export interface ExpectationContext {
  asOfMs: number
  /** Name of the column with the event's time, where there is one. */
  eventAt?: string
  /** Row counts of earlier snapshots of the model, the latest first. */
  earlierRows: readonly number[]
}

export interface ExpectationResult {
  check: Check['check']
  /** What it looked at, e.g. `distance`. */
  subject: string
  severity: ExpectationSeverity
  passed: boolean
  /** One sentence with its arithmetic. */
  message: string
  /** What was seen; null where undefined. */
  observed: number | string | null
  /** Rows that did not comply, for checks of single rows. */
  failing?: number
  mostly?: number
  /** A few of the values that did not comply. */
  examples?: string[]
}

/**
 * - `pass`: everything complies.
 * - `warn`: something that warns does not; training goes on and the report says so.
 * - `block`: something that blocks does not, or there are no rows: the whole batch is quarantined.
 */
export type ValidationVerdict = 'pass' | 'warn' | 'block'

/** The worst that the results say; nothing to judge blocks. */
export function verdictOf(rows: number, results: readonly ExpectationResult[]): ValidationVerdict {
  const failed = results.filter((result) => !result.passed)
  if (rows === 0 || results.length === 0 || failed.some(({ severity }) => severity === 'block'))
    return 'block'
  return failed.length > 0 ? 'warn' : 'pass'
}
