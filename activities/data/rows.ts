/** Reads the rows of a snapshot for training and evaluation, into typed arrays. */
import { snapshotColumns, snapshotLabels, type SnapshotPart } from '../../domain/model-definition.ts'
import {
  cellOf,
  codesUpTo,
  columnOf,
  asDoubles,
  requireColumn,
  type Codes,
  type CellColumn,
  type ColumnTable,
} from '../../domain/model/columns.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { judgedCells } from '../../domain/validation/cells.ts'
import type { BatchTable } from '../../domain/validation/expectations.ts'
import { textLiteral, quotedIdentifier, timestampLiteral } from '../../domain/sql-text.ts'
import { familyOf } from '../../domain/values/types.ts'
import { withDuck, type Duck } from './duckdb.ts'
import { decisionNames, taskOf } from '../../domain/tasks/tasks.ts'

const { part, eventAt } = snapshotColumns

export interface LabelledRows extends ColumnTable {
  /** Several columns when a row has several numbers. */
  labels: [CellColumn, ...CellColumn[]]
  /** The time of each event in milliseconds, NaN where it has none; absent without such a column. */
  timesMs?: Float64Array
}

/**
 * Reads parts of a snapshot of a model with this output, in the order of the snapshot. Throws on a missing column of `names`; a
 * missing column of `optional` is left out.
 */
export async function readPart(
  path: string,
  which: SnapshotPart | readonly SnapshotPart[],
  {
    names,
    optional = [],
    output,
    after,
  }: {
    names: readonly string[]
    optional?: readonly string[]
    output: Output
    /** Milliseconds: leaves out rows whose event was not later. */
    after?: number
  },
): Promise<LabelledRows> {
  const from = `${textLiteral(path)} where ${part} in (${[which].flat().map(textLiteral)})${after === undefined ? '' : ` and ${eventAt} > ${timestampLiteral(after)}`}`
  const [label, ...more] = snapshotLabels(output)
  const all = [...new Set([...names, ...optional, label!, ...more, eventAt])]
  const table = await withDuck((duck) => readTable(duck, from, all))
  for (const name of names) requireColumn(table, name)
  const times = table.columns[eventAt]
  return {
    ...table,
    ...(times?.kind === 'number' && { timesMs: times.values }),
    labels: [requireColumn(table, label!), ...more.map((name) => requireColumn(table, name))],
  }
}

/**
 * Whether JavaScript reads the values of a type as doubles. Decimals of more digits than an amount of money has may name something, so they
 * stay texts, which doubles would merge.
 */
function isNumeric(type: string): boolean {
  const [, width, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(type) ?? []
  return (
    ['truth', 'whole', 'float', 'double'].includes(familyOf(type)) ||
    Number(width) <= (Number(scale) > 0 ? 18 : 15)
  )
}

/** The columns of a table with their DuckDB types, in its order. */
export async function columnTypes(duck: Duck, from: string): Promise<Map<string, string>> {
  const described = await duck.rows<{ column_name: string; column_type: string }>(
    `select column_name, column_type from (describe select * from ${from})`,
  )
  return new Map(described.map((each) => [each.column_name, each.column_type]))
}

/** Reads columns of a table with a condition; missing columns are left out. */
export async function readTable(duck: Duck, from: string, names: readonly string[]): Promise<ColumnTable> {
  const types = await columnTypes(duck, from)
  const wanted = names.filter((name) => types.has(name))
  const counted = wanted.map((name, index) => `count(${quotedIdentifier(name)}) as present_${index}`)
  const [counts] = await duck.rows<Record<string, number>>(
    `select ${['count(*) as rows', ...counted].join(', ')} from ${from}`,
  )
  const rows = counts!['rows']!
  // No prototype: a column may have the name of a property of every object.
  const columns = Object.create(null) as Record<string, CellColumn>
  const expressions: string[] = []
  const targets: (Float64Array | Codes)[] = []
  const read = (expression: string, target: Float64Array | Codes) => {
    expressions.push(expression)
    targets.push(target)
  }
  for (const [index, name] of wanted.entries()) {
    const column = quotedIdentifier(name)
    const missing = rows - counts![`present_${index}`]!
    const type = types.get(name)!
    if (isNumeric(type) || type === 'TIMESTAMP') {
      const values = new Float64Array(rows)
      const nulls = missing === 0 ? undefined : new Uint8Array(rows)
      columns[name] = { kind: 'number', values, nulls }
      const value = type === 'TIMESTAMP' ? `trunc(epoch_us(${column}) / 1000)` : column
      read(`coalesce(cast(${value} as double), 'nan'::double)`, values)
      if (nulls !== undefined) read(`cast(${column} is null as utinyint)`, nulls)
    } else if (type === 'VARCHAR' && missing < rows) {
      const { texts, code } = await dictionaryOf(duck, { from, column, index })
      const codes = codesUpTo(texts.length, rows)
      columns[name] = { kind: 'text', codes, texts }
      read(`cast(coalesce(${code}, ${texts.length}) as ${codeTypes[codes.BYTES_PER_ELEMENT]})`, codes)
    } else {
      const { columns: found } = await duck.table(`select ${column} as cells from ${from}`)
      columns[name] = columnOf(found['cells'] ?? [])
    }
  }
  if (expressions.length > 0) await streamInto(duck, `select ${expressions.join(', ')} from ${from}`, targets)
  return { rows, columns }
}

/** Reads the columns of a file for expectations; missing columns are left out. */
export async function readCells(duck: Duck, from: string, names: readonly string[]): Promise<BatchTable> {
  const { rows, columns } = await readTable(duck, `${from} where true`, names)
  const types = await columnTypes(duck, from)
  // No prototype: a column may have the name of a property of every object.
  const cells = Object.create(null) as BatchTable['columns']
  for (const [name, column] of Object.entries(columns))
    cells[name] = judgedCells(column, { rows, isFlag: types.get(name) === 'BOOLEAN' })
  return { rows, columns: cells }
}

const codeTypes: Record<number, string> = { 1: 'utinyint', 2: 'usmallint', 4: 'uinteger' }

/** The distinct texts of a column, and the SQL for the code of each row; null for null. */
async function dictionaryOf(
  duck: Duck,
  { from, column, index }: { from: string; column: string; index: number },
): Promise<{ texts: string[]; code: string }> {
  const type = `texts_${index}`
  await duck.run(
    `create or replace temp type ${type} as enum (select distinct ${column} from ${from} and ${column} is not null order by 1)`,
  )
  const { columns } = await duck.table(`select unnest(enum_range(null::${type}))::varchar as text`)
  return { texts: Array.from(columns['text'] ?? [], String), code: `enum_code(cast(${column} as ${type}))` }
}

/** Reads the one column of a query, which has no nulls; a boolean becomes 0 or 1. */
export async function readDoubles(duck: Duck, query: string): Promise<Float64Array> {
  const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from (${query})`)
  const values = new Float64Array(counted!.n)
  await streamInto(duck, `select cast(columns(*) as double) from (${query})`, [values])
  return values
}

/** A DuckDB vector without nulls; the library's types hide the array. */
interface NumberVector {
  items: Float64Array | Codes
}

/** Copies the numbers of a result, chunk by chunk. */
async function streamInto(
  duck: Duck,
  query: string,
  targets: readonly (Float64Array | Codes)[],
): Promise<void> {
  const result = await duck.connection.stream(query)
  let row = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return
    for (const [index, target] of targets.entries())
      target.set((chunk.getColumnVector(index) as unknown as NumberVector).items, row)
    row += chunk.rowCount
  }
}

/** The training targets, row by row: one-hot classes, 0 or 1, the number (repeated for each quantile), or each of several numbers. */
export const targetsOf = (labels: LabelledRows['labels'], output: Output): Float32Array =>
  taskOf(output).targets(output, judgedLabels(labels, output))

/** Labels for the evaluation gate: the class index, 0 or 1, or the number; for several numbers per row all of them, row by row. */
export function judgedLabels(labels: LabelledRows['labels'], output: Output): number[] {
  if (taskOf(output).labelKind !== 'text') return Array.from(numbersOf(labels))
  const [column] = labels
  const places = new Map(decisionNames(output).map((name, place) => [name, place]))
  const rows = column.kind === 'text' ? column.codes.length : column.values.length
  return Array.from({ length: rows }, (_, row) => places.get(String(cellOf(column, row))) ?? -1)
}

/** All numbers, row by row. */
function numbersOf(labels: LabelledRows['labels']): Float64Array {
  const columns = labels.map(zeroForMissing)
  const [first] = columns
  if (columns.length === 1) return first!
  const numbers = new Float64Array(first!.length * columns.length)
  columns.forEach((column, k) => {
    for (let row = 0; row < column.length; row++) numbers[row * columns.length + k] = column[row]!
  })
  return numbers
}

/** The labels of a model with two classes or a number; 0 for a missing one. */
export const zeroForMissing = (labels: CellColumn): Float64Array =>
  labels.kind === 'number' && labels.nulls === undefined
    ? labels.values
    : asDoubles(labels).map((value, row) => (cellOf(labels, row) === null ? 0 : value))
