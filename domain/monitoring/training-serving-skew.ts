/**
 * Train/serve skew: the rows that were served, sent again through the path that training uses. Every difference is a
 * bug in one of the two, and no metric would name it: the model is simply asked something else than it was taught.
 */

export type SkewValue = number | string | null

export interface ReplayedRow {
  predictionId: string
  /** Features, or the score under the name `score`, as serving saw and answered them. */
  served: Record<string, SkewValue>
  /** The same by the training path; null when the row could not be replayed. */
  replayed: Record<string, SkewValue> | null
}

export interface SkewColumn {
  name: string
  mismatches: number
  /** The largest difference of two numbers; null when none was compared. */
  maxDifference: number | null
  /** One prediction to look at. */
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

/** Numbers differ when |Δ| > 1e-6·max(1, |x|); anything else, a column on one side only included, when not the same. */
export function findSkew(rows: readonly ReplayedRow[], tolerance = 1e-6): SkewReport {
  const columns = new Map<string, SkewColumn>()
  let [compared, mismatchedRows] = [0, 0]
  for (const { predictionId, served, replayed } of rows) {
    if (replayed === null) continue
    compared++
    let differs = false
    for (const name of new Set([...Object.keys(served), ...Object.keys(replayed)])) {
      const [a, b] = [served[name], replayed[name]]
      if (isSame(a, b, tolerance)) continue
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

function isSame(a: SkewValue | undefined, b: SkewValue | undefined, tolerance: number): boolean {
  if (typeof a === 'number' && typeof b === 'number') {
    return Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a))
  }
  return a === b
}
