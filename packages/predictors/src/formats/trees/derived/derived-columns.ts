/** Defines columns that are computed from those of a row before the trees read them, such as statistics of categories. */
export interface DerivedColumns {
  /** The number of derived columns, which follow those of the file. */
  count: number
  steps: readonly DerivingStep[]
  memoryBytes: number
}

/** Computes some derived columns. */
export interface DerivingStep {
  /** The columns of the file that it reads. */
  sources: readonly number[]
  /** The columns that it writes. */
  columns: readonly number[]
  /** Computes the columns of a row that begins with those of the file. Allocates nothing. */
  derive(row: Float64Array): void
}

/** Returns a function that copies the row beginning at `at` and adds the derived columns; undefined for a forest without them. */
export function widenerOf({
  columns,
  derived,
}: {
  columns: readonly unknown[]
  derived?: DerivedColumns
}): ((rows: Float64Array, at: number) => Float64Array) | undefined {
  if (derived === undefined) return undefined
  const { count, steps } = derived
  const given = columns.length
  const row = new Float64Array(given + count)
  return (rows, at) => {
    for (let column = 0; column < given; column++) row[column] = rows[at + column]!
    for (let step = 0; step < steps.length; step++) steps[step]!.derive(row)
    return row
  }
}
