/**
 * Defines the expectations of a batch of rows before a training. A broken export trains without an error, so each expectation blocks or
 * warns, and stores the observed value.
 */
import type { Profile } from '../model/reference-profile.ts'

export type ExpectationSeverity = 'block' | 'warn'

export type Check =
  /** The columns of a snapshot with their kinds. */
  | { check: 'schema'; columns: Record<string, 'number' | 'text' | 'time' | 'flag'> }
  | { check: 'rows'; min?: number; max?: number }
  /** The number of rows against the median of recent runs. */
  | { check: 'rows_as_usual'; minRatio: number; maxRatio: number }
  /** The newest event is at most this old at `asOf`. */
  | { check: 'fresh'; withinMs: number }
  | { check: 'unique'; columns: readonly string[] }
  | { check: 'complete'; columns: readonly string[] }
  /** A column has a value in at least one row. */
  | { check: 'not_empty'; column: string }
  /** A column is filled wherever another column has this value. */
  | { check: 'complete_when'; column: string; when: string; is: string | number | boolean }
  | { check: 'finite'; columns: readonly string[] }
  | { check: 'in_set'; column: string; values: readonly (string | number)[] }
  | { check: 'between'; column: string; min?: number; max?: number }
  | { check: 'length'; column: string; min?: number; max?: number }
  /** `flags`: of the pattern, `u` when absent. `found`: what is said of rows that do not match. */
  | { check: 'matches'; column: string; pattern: string; flags?: string; found?: string }
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
  /** Scale, missing values and categories match the champion's training rows, in the batch and in each period of it. */
  | { check: 'as_trained'; column: string; reference: Profile }
  /** No two columns are swapped: neither has the values that the champion was trained on in the other. */
  | { check: 'not_swapped'; references: Profile[] }
  /** No row is left out of the snapshot because a time is missing. */
  | { check: 'left_out'; excludedRows: ExcludedRows }
  /** No value of a category floods some periods. */
  | { check: 'no_flood'; flood: Flood }
  /** No row is older than the values that a feature view keeps. */
  | ({ check: 'values_kept' } & KeptValues)

export type Expectation = Check & {
  severity: ExpectationSeverity
  /** The share of rows that must comply, for checks of single rows. Default: 1. */
  mostly?: number
}

/** Rows of the source that are left out, by the first reason that applies. */
export interface ExcludedRows {
  /** All rows; for Postgres, those of the window. */
  rows: number
  /** The time of the event is missing. */
  noEventTime: number
  /** The label has a value, but the time at which it became known is missing. */
  noKnownTime: number
  /** Neither the label nor its time is known yet. */
  pending: number
  /** The event or the label is later than the snapshot. */
  later: number
  /** Rows of flooded values, which the policy of the model file leaves out; absent without floods. */
  floods?: Flood[]
}

/** The values of a feature view that its retention keeps. */
export interface KeptValues {
  view: string
  keepMs: number
  /** Earlier values are deleted. */
  sinceMs: number
}

/** A series of periods in which one value of a category has far more rows than in the others. */
export interface Flood {
  column: string
  value: string
  /** With its figures. */
  message: string
  /** `kept`: the share of the value's rows that stay. */
  parts: { fromMs: number; toMs: number; kept: number }[]
  /** The rows of the value in these periods, and how many of them are left out. */
  rows: number
  excluded: number
}

/** Rows by columns; times are milliseconds. */
export interface BatchTable {
  rows: number
  columns: Record<string, Cells>
}
/** The values of a column, one per row: an array, or typed arrays, which take an eighth of the memory. */
export interface Cells extends Iterable<BatchCell> {
  readonly length: number
  at(row: number): BatchCell | undefined
}
export type BatchCell = number | string | boolean | null

/** The summary of a column of a blocked batch. */
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
  /** The name of the column with the event time; absent without one. */
  eventAt?: string
  /** Row counts of earlier snapshots of the model, the latest first. */
  earlierRows: readonly number[]
}

export interface ExpectationResult {
  check: Check['check']
  /** The subject, e.g. `distance`. */
  subject: string
  severity: ExpectationSeverity
  passed: boolean
  /** One sentence with the figures. */
  message: string
  /** The observed value in words: `31 % are null`. */
  found: string
  /** The limits in words: `at most 5 %`. */
  required: string
  /** The value of the champion's rows in words; absent without a champion, and where its rows have none. */
  champion?: string
  /** The columns that do not comply, for checks of several columns. */
  byColumn?: ColumnFinding[]
  /** The observed value; null when undefined. */
  observed: number | string | null
  /** The number of rows that did not comply, for checks of single rows. */
  failing?: number
  mostly?: number
  /** A few of the values that did not comply. */
  examples?: string[]
  /** The period whose rows did not comply, when the others did. */
  period?: { fromMs: number; toMs: number }
}

export interface ColumnFinding {
  column: string
  found: string
  /** Absent when those of the expectation apply. */
  required?: string
  champion?: string
  /** The rows that did not comply, and their share of all rows. */
  failing?: number
  share?: number
}

/**
 * - `pass`: all expectations are met.
 * - `warn`: a warning expectation is not met; the training continues.
 * - `block`: a blocking expectation is not met, or the batch is empty; it is quarantined.
 */
export type ValidationVerdict = 'pass' | 'warn' | 'block'

/** The worst result; a batch without results is blocked. */
export function verdictOf(rows: number, results: readonly ExpectationResult[]): ValidationVerdict {
  const failed = results.filter((result) => !result.passed)
  if (rows === 0 || results.length === 0 || failed.some(({ severity }) => severity === 'block'))
    return 'block'
  return failed.length > 0 ? 'warn' : 'pass'
}
