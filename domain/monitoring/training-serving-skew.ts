/**
 * Finds training–serving skew: replays served rows through the training path. Every difference is a defect in one of the two paths that
 * no metric would reveal.
 */
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
