/** Holds rows column by column in typed arrays, because ten million rows as objects would take gigabytes. */
import { pickInto } from '../statistics/pick-into.ts'
import type { FeatureRow } from './features.ts'

export interface NumberCells {
  kind: 'number'
  values: Float64Array
  /** 1 for a null value; absent without null values. */
  nulls?: Uint8Array
}

export interface TextCells {
  kind: 'text'
  /** One index in `texts` per row; `texts.length` for null. */
  codes: Codes
  texts: readonly string[]
}

export type Codes = Uint8Array | Uint16Array | Uint32Array
export type CellColumn = NumberCells | TextCells

export interface ColumnTable {
  rows: number
  columns: Readonly<Record<string, CellColumn>>
}

/** An array that holds every index up to and including `largest`. */
export function codesUpTo(largest: number, rows: number): Codes {
  if (largest <= 0xff) return new Uint8Array(rows)
  return largest <= 0xffff ? new Uint16Array(rows) : new Uint32Array(rows)
}

/** A column of numbers, or of texts when a cell is a text; a boolean is 0 or 1. */
export function columnOf(cells: ArrayLike<number | string | boolean | null>): CellColumn {
  const list = Array.from(cells)
  if (list.some((cell) => typeof cell === 'string')) {
    const places = new Map<string, number>()
    for (const cell of list) if (typeof cell === 'string' && !places.has(cell)) places.set(cell, places.size)
    const codes = codesUpTo(places.size, list.length)
    list.forEach((cell, row) => {
      codes[row] = (typeof cell === 'string' ? places.get(cell) : undefined) ?? places.size
    })
    return { kind: 'text', codes, texts: [...places.keys()] }
  }
  const values = Float64Array.from(list, (cell) => (cell === null ? NaN : Number(cell)))
  if (!list.includes(null)) return { kind: 'number', values }
  return { kind: 'number', values, nulls: Uint8Array.from(list, (cell) => (cell === null ? 1 : 0)) }
}

export function cellOf(column: CellColumn, row: number): number | string | null {
  if (column.kind === 'text') return column.texts[column.codes[row]!] ?? null
  return column.nulls?.[row] === 1 ? null : column.values[row]!
}

export const listCells = (column: CellColumn): (number | string | null)[] =>
  Array.from({ length: lengthOf(column) }, (_, row) => cellOf(column, row))

/** The cells at some positions of a column, in any order and number. */
export function pickCells(column: CellColumn, places: ArrayLike<number>): CellColumn {
  const { length } = places
  if (column.kind === 'text') {
    const codes = pickInto(codesUpTo(column.texts.length, length), column.codes, places)
    return { kind: 'text', codes, texts: column.texts }
  }
  const values = pickInto(new Float64Array(length), column.values, places)
  const { nulls } = column
  return { kind: 'number', values, nulls: nulls && pickInto(new Uint8Array(length), nulls, places) }
}

/** The rows of both tables, one after the other, with these columns. */
export const joinRows = (one: ColumnTable, other: ColumnTable, names: readonly string[]): ColumnTable => ({
  rows: one.rows + other.rows,
  columns: Object.fromEntries(
    names.map((name) => [
      name,
      columnOf([one, other].flatMap((table) => listCells(requireColumn(table, name)))),
    ]),
  ),
})

/** The rows at some positions, with these columns. */
export const pickRows = (
  table: ColumnTable,
  names: readonly string[],
  places: ArrayLike<number>,
): ColumnTable => ({
  rows: places.length,
  columns: Object.fromEntries(names.map((name) => [name, pickCells(requireColumn(table, name), places)])),
})

const lengthOf = (column: CellColumn): number =>
  column.kind === 'text' ? column.codes.length : column.values.length

/** A column as numbers, NaN for null. A text is converted as JavaScript does. */
export function asDoubles(column: CellColumn): Float64Array {
  if (column.kind === 'number')
    return column.nulls === undefined
      ? column.values
      : column.values.map((value, row) => (column.nulls?.[row] === 1 ? NaN : value))
  const numbers = Float64Array.from([...column.texts.map(Number), NaN])
  return Float64Array.from(column.codes, (code) => numbers[code]!)
}

/** The count of each value as text, and the count of missing values. */
export function countsOf(column: CellColumn): { counts: Map<string, number>; missing: number } {
  if (column.kind === 'text') {
    const { codes, texts } = column
    const counted = new Float64Array(texts.length + 1)
    for (const code of codes) counted[code]!++
    const seen = texts.flatMap((text, code): [string, number][] =>
      counted[code]! > 0 ? [[text, counted[code]!]] : [],
    )
    return { counts: new Map(seen), missing: counted[texts.length]! }
  }
  const { values, nulls } = column
  const counted = new Map<number, number>()
  let missing = 0
  for (let row = 0; row < values.length; row++)
    if (nulls?.[row] === 1) missing++
    else counted.set(values[row]!, (counted.get(values[row]!) ?? 0) + 1)
  return { counts: new Map([...counted].map(([value, count]) => [String(value), count])), missing }
}

/** Throws a `RangeError` that names the first missing column. */
export function requireColumn({ columns }: Pick<ColumnTable, 'columns'>, name: string): CellColumn {
  const found = Object.hasOwn(columns, name) ? columns[name] : undefined
  if (found === undefined) throw new RangeError(`the snapshot has no column ${name}`)
  return found
}

/** Reads rows as objects, in the form of a request. */
export function rowReader(table: ColumnTable, names: readonly string[]): (row: number) => FeatureRow {
  const columns = names.map((name) => requireColumn(table, name))
  return (row) => {
    const values: FeatureRow = {}
    names.forEach((name, index) => (values[name] = cellOf(columns[index]!, row)))
    return values
  }
}

/** All rows as objects, which take far more memory than columns. */
export function listRows(table: ColumnTable, names: readonly string[]): FeatureRow[] {
  const rowAt = rowReader(table, names)
  return Array.from({ length: table.rows }, (_, row) => rowAt(row))
}

/** Converts rows to columns. */
export const columnTableOf = (rows: readonly FeatureRow[], names: readonly string[]): ColumnTable => ({
  rows: rows.length,
  columns: Object.fromEntries(names.map((name) => [name, columnOf(rows.map((row) => row[name] ?? null))])),
})
