/** Loads the rows of a model's source that were known at a time into the DuckDB table `known`. */
import { reasonOf } from '../../domain/errors.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import { conversionError } from '../../domain/values/readings.ts'
import { decimalOfColumn, postgresFamily, typeOfColumn } from '../../domain/values/types.ts'
import type { ReadBatches } from '../../store/database/cursor.ts'
import type { Duck } from './duckdb.ts'
import { explainRows } from './explain-rows.ts'
import { unreadable } from './source-views.ts'

/** The rows of a query over the views of files. */
export const loadRows = (duck: Duck, query: string): Promise<void> =>
  duck.run(`create or replace temp table known as ${query}`)

/**
 * DuckDB's Postgres extension would need a download, so rows are copied as texts and cast here. `texts`: the columns whose values are read as
 * texts, because they name something or are categories. Returns those whose numbers it keeps exact.
 */
export async function loadFromPostgres(
  duck: Duck,
  query: string,
  read: ReadBatches,
  { texts = [] }: { texts?: readonly string[] } = {},
): Promise<string[]> {
  let casts: string[] = []
  const exact: { name: string; decimal: string }[] = []
  await read(query, async ({ columns, rows }) => {
    if (casts.length === 0) {
      const names = columns.map(({ name }) => quotedIdentifier(name))
      await duck.run(`create temp table texts (${names.map((name) => `${name} varchar`).join(', ')})`)
      casts = columns.map((column) => {
        const { name, type } = column
        const isText = texts.includes(name)
        if (isText && postgresFamily(type) === 'decimal')
          exact.push({ name, decimal: decimalOfColumn(column) })
        return `${typed(name, typeOfColumn(column, isText))} as ${quotedIdentifier(name)}`
      })
    }
    const appender = await duck.connection.createAppender('texts')
    for (const row of rows) {
      for (const text of row) {
        if (text === null) appender.appendNull()
        else appender.appendVarchar(text)
      }
      appender.endRow()
    }
    appender.closeSync()
  })
  const source = { kind: 'postgres', files: {}, rows: '' } as const
  await duck
    .run(`create temp table known as select ${casts.join(', ')} from texts`)
    .catch(async (error: unknown) => {
      throw await explainRows({ duck, source, files: [] }, error)
    })
  await duck.run('drop table texts')
  // SQL over the rows may compute with the numbers. A decimal that writes each as Postgres does is kept.
  for (const { name, decimal } of exact) {
    const column = quotedIdentifier(name)
    const [found] = await duck.rows<{ same: boolean }>(
      `select coalesce(bool_and(cast(try_cast(${column} as ${decimal}) as varchar) is not distinct from ${column}), true) as same from known`,
    )
    if (found?.same === true) await duck.run(`alter table known alter ${column} type ${decimal}`)
  }
  return exact.map(({ name }) => name)
}

/**
 * Loads the rows of a source in Postgres. Throws `source_unreadable` with the column for a time of another type, which Postgres refuses to
 * compare with a moment.
 */
export const loadSourceRows = (
  duck: Duck,
  {
    query,
    rows,
    times,
    texts,
  }: { query: string; rows: string; times: readonly string[]; texts: readonly string[] },
  read: ReadBatches,
): Promise<string[]> =>
  loadFromPostgres(duck, query, read, { texts }).catch(async (error: unknown) => {
    const type = /^operator does not exist: (.+) <= timestamp/.exec(reasonOf(error))?.[1]
    if (type === undefined) throw error
    await read(`select * from (${rows}) as events limit 0`, async ({ columns }) => {
      const other = columns.find(
        (each) => times.includes(each.name) && typeOfColumn(each, false) !== 'timestamp',
      )
      if (other !== undefined)
        throw unreadable(
          `the rows of the source, column "${other.name}": ${type} is no type of a time: select it as a timestamptz in \`rows\` of the source`,
        )
    })
    throw error
  })

/** Returns SQL that reads the text of Postgres as this type. A value that the type does not hold raises an error that names both. */
function typed(name: string, type: string | undefined): string {
  const column = quotedIdentifier(name)
  if (type === undefined) return column
  const cast = `try_cast(${column} as ${type})`
  if (type === 'bytea')
    return `coalesce(try(decode(unhex(substr(${column}, 3)))), ${conversionError('text', name)})`
  if (type === 'boolean') return cast
  if (!/^(date|time)/.test(type)) return `coalesce(${cast}, ${conversionError('number', name)})`
  // DuckDB would read a year before Christ as one after. Infinity is before or after every event.
  return `coalesce(case when ${column} not like '% BC' and isfinite(${cast}) then ${cast} end, ${conversionError('time', name)})`
}
