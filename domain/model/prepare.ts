/**
 * Builds the SQL of the computed columns of a model. Snapshots, batches, requests and checks run the same expressions in DuckDB, so that
 * a column is never computed in two ways.
 */
import { quotedIdentifier } from '../sql-text.ts'
import { refusedRow } from '../values/readings.ts'
import type { Feature, Features } from './features.ts'

export interface ComputedColumn {
  name: string
  kind: Feature['kind']
  sql: string
}

/** The columns that `prepare` computes, in the order of the features. */
export const computedColumns = (features: Features): ComputedColumn[] =>
  Object.entries(features).flatMap(([name, { kind, sql }]) =>
    sql === undefined ? [] : [{ name, kind, sql }],
  )

export const duckType = (kind: Feature['kind']): string => (kind === 'number' ? 'double' : 'varchar')

/** The expression as a value of its kind. The line break ends a comment. */
export const valueOfColumn = ({ kind, sql }: Pick<ComputedColumn, 'kind' | 'sql'>): string =>
  `cast((${sql}\n) as ${duckType(kind)})`

/** What stands for the value of a row for which an expression fails. Neither is a value of a feature. */
export const failedCell = { number: `cast('infinity' as double)`, text: 'chr(0)' } as const

/** Whether a cell of a computed column stands for a failure. */
export const isFailedCell = (cell: unknown): boolean =>
  typeof cell === 'number' ? !Number.isFinite(cell) : typeof cell === 'string' && cell.includes('\0')

export const failureOf = (name: string): string =>
  `the expression of "${name}" in prepare fails for the row, or gives no finite number`

/**
 * Returns SQL that adds the computed columns to rows whose fields are doubles and texts. Where an expression fails for a row, or gives a
 * number that is not finite, the column has `failedCell`; with `isStrict`, the query fails with a message that names the column.
 */
export function withComputed(features: Features, rows: string, { isStrict = false } = {}): string {
  const columns = computedColumns(features)
  if (columns.length === 0) return rows
  const placed = columns.map((column, at) => ({ ...column, place: quotedIdentifier(`_prepared ${at}`) }))
  // The struct is null only for a failure, also where the value is null.
  const tried = placed.map((column) => `try(struct_pack(v := ${valueOfColumn(column)})) as ${column.place}`)
  const values = placed.map(({ name, kind, place }) => {
    const value = `struct_extract(${place}, 'v')`
    const isFailed = kind === 'number' ? `${place} is null or not isfinite(${value})` : `${place} is null`
    const failed = isStrict
      ? refusedRow(place, failureOf(name), duckType(kind))
      : failedCell[kind === 'number' ? kind : 'text']
    return `case when ${isFailed} then ${failed} else ${value} end as ${quotedIdentifier(name)}`
  })
  const hidden = placed.map(({ place }) => place).join(', ')
  return `select * exclude (${hidden}), ${values.join(', ')} from (select *, ${tried.join(', ')} from (${rows}) as given) as tried`
}

/** The fields that an expression may name, as a query without rows. */
export const emptyRows = (sent: Features): string =>
  `select ${Object.entries(sent)
    .map(([name, { kind }]) => `cast(null as ${duckType(kind)}) as ${quotedIdentifier(name)}`)
    .join(', ')} where false`
