/**
 * Finds training–serving skew: replays served rows through the training path. Every difference is a defect in one of the two paths that
 * no metric would reveal.
 */
import { counted, groupedDigits, percentText } from '../figures.ts'
import type { Reason } from '../verdict.ts'

export type SkewValue = number | string | null

export interface ReplayedRow {
  predictionId: string
  /** The features, and the prediction under the name `score`, as served. */
  served: Record<string, SkewValue>
  /** The same from the training path; null when the row could not be replayed. */
  replayed: Record<string, SkewValue> | null
}

export interface SkewColumn {
  name: string
  mismatches: number
  /** The largest difference of two numbers; null without a comparison. */
  maxDifference: number | null
  /** The id of one differing prediction. */
  example: string
}

export interface SkewReport {
  /** `skew` from the first mismatch; `no_data` when no row could be replayed. */
  status: 'ok' | 'skew' | 'no_data'
  compared: number
  notReplayed: number
  /** Rows with at least one mismatch. */
  mismatchedRows: number
  /** The columns with mismatches, most first. */
  columns: SkewColumn[]
}

const dayMs = 86_400_000

/** Whether a window is checked: once a day, and at a promotion, because the check can end its probation. */
export const isSkewDue = (
  { fromMs, toMs }: { fromMs: number; toMs: number },
  championSinceMs: number,
): boolean => Math.floor(toMs / dayMs) > Math.floor(fromMs / dayMs) || championSinceMs >= fromMs

const tolerance = 1e-6

/** Numbers differ when |Δ| > tolerance·max(1, |x|); other values, including a column on one side only, when not equal. */
export function findSkew(rows: readonly ReplayedRow[]): SkewReport {
  const columns = new Map<string, SkewColumn>()
  let [compared, mismatchedRows] = [0, 0]
  for (const { predictionId, served, replayed } of rows) {
    if (replayed === null) continue
    compared++
    let differs = false
    for (const name of new Set([...Object.keys(served), ...Object.keys(replayed)])) {
      const [a, b] = [served[name], replayed[name]]
      if (isSame(a, b)) continue
      differs = true
      const column = columns.get(name) ?? { name, mismatches: 0, maxDifference: null, example: predictionId }
      column.mismatches++
      if (typeof a === 'number' && typeof b === 'number' && Number.isFinite(a - b)) {
        column.maxDifference = Math.max(column.maxDifference ?? 0, Math.abs(a - b))
      }
      columns.set(name, column)
    }
    if (differs) mismatchedRows++
  }
  return {
    status: compared === 0 ? 'no_data' : mismatchedRows > 0 ? 'skew' : 'ok',
    compared,
    notReplayed: rows.length - compared,
    mismatchedRows,
    columns: [...columns.values()].sort((a, b) => b.mismatches - a.mismatches || (a.name < b.name ? -1 : 1)),
  }
}

function isSame(a: SkewValue | undefined, b: SkewValue | undefined): boolean {
  if (typeof a === 'number' && typeof b === 'number') {
    return Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a))
  }
  return a === b
}

/** The differing rows and columns in one phrase. */
export const skewText = ({ compared, mismatchedRows, columns }: ComparedRows): string =>
  `${groupedDigits(mismatchedRows)} of ${counted(compared, 'row')} differ from training: ` +
  columns.map(({ name, mismatches, example }) => `${name} in ${mismatches}, as in ${example}`).join('; ')

export type ComparedRows = Pick<SkewReport, 'compared' | 'mismatchedRows' | 'columns'>

/** Adds the counts of a later comparison. */
export function mergeSkew(known: ComparedRows, later: ComparedRows | undefined): ComparedRows {
  if (later === undefined) return known
  return {
    compared: known.compared + later.compared,
    mismatchedRows: known.mismatchedRows + later.mismatchedRows,
    // The first comparison with a difference is the last one.
    columns: [...known.columns, ...later.columns],
  }
}

// Judges the candidate of a release by its served rows. No statistics are needed against it: one row that differs is proof.

/** The served rows of a stage that went through the training path. */
export interface ServedRows extends ComparedRows {
  /** Why no row was compared, or what was left out; absent where all was compared. */
  problem?: string
  /** Rows are still being compared, so that no stage passes yet. */
  isUnread?: true
}

/** How many of the first rows of a stage are compared, and after them one in how many. */
export const firstServedRows = 50
export const laterServedRows = 100

/** Whether the n-th copy of a shadow, from 0, is kept with its row. */
export const isComparedCopy = (n: number): boolean => n < firstServedRows || n % laterServedRows === 0

/** Rows without a difference bound the share of rows that differ, at 95 %. */
export const maxDifferingShare = (compared: number): number => Math.min(1, 3 / compared)

export function servedSkewReason(served: ServedRows): Reason | null {
  const { compared, mismatchedRows, columns } = served
  const [first] = columns
  if (first === undefined) return null
  const { name: column, example, maxDifference } = first
  return {
    code: 'serving_skew',
    message: `what is served is not what was judged: ${skewText(served)}`,
    values: { mismatchedRows, compared, column, example, maxDifference },
  }
}

/** What a stage without a difference says of its served rows. */
export function servedText({ compared, problem }: ServedRows): string {
  if (compared === 0)
    return `no served row was compared with training: ${problem ?? 'none is in the prediction log yet'}`
  const share = maxDifferingShare(compared)
  const bound = share < 1 ? `, at most ${percentText(share)} differ` : ''
  const rest = problem === undefined ? '' : `; ${problem}`
  return `${counted(compared, 'row')} served as judged${bound}${rest}`
}
