/** Shows a column of typed arrays as the values that expectations judge. */
import type { CellColumn } from '../model/columns.ts'
import type { BatchCell, Cells } from './expectations.ts'

/** `isFlag`: for booleans, which typed arrays hold as 0 and 1. */
export function judgedCells(column: CellColumn, { rows, isFlag }: { rows: number; isFlag: boolean }): Cells {
  const at = readerOf(column, isFlag)
  return {
    length: rows,
    at,
    *[Symbol.iterator]() {
      for (let row = 0; row < rows; row++) yield at(row)
    },
  }
}

/** One function per kind of column, because it runs some ten times per cell. */
function readerOf(column: CellColumn, isFlag: boolean): (row: number) => BatchCell {
  if (column.kind === 'text') {
    const { codes } = column
    const texts: readonly (string | null)[] = [...column.texts, null]
    return (row) => texts[codes[row]!] as string | null
  }
  const { values, nulls } = column
  if (isFlag) return (row) => (nulls?.[row] === 1 ? null : values[row] === 1)
  if (nulls === undefined) return (row) => values[row]!
  return (row) => (nulls[row] === 1 ? null : values[row]!)
}
