/** Loads the rows of a model's source that were known at a time into the DuckDB table `known`. */
import { quotedIdentifier } from '../../domain/sql-text.ts'
import type { ReadBatches } from '../../store/database/cursor.ts'
import type { Duck } from './duckdb.ts'

/** DuckDB types of these Postgres types (ids of pg_type.dat); all others stay texts. */
const duckTypes: Record<number, string> = {
  16: 'boolean',
  20: 'bigint',
  21: 'bigint',
  23: 'bigint',
  700: 'double',
  701: 'double',
  1700: 'double',
  1082: 'timestamp',
  1114: 'timestamp',
  1184: 'timestamp',
}

/** The rows of a query over the views of files. */
export const loadRows = (duck: Duck, query: string): Promise<void> =>
  duck.run(`create or replace temp table known as ${query}`)

const numericType = 1700
const dateType = 1082

/**
 * DuckDB's Postgres extension would need a download, so rows are copied as texts and cast here. `names`: the columns that name something;
 * a double would merge two long numbers, and a timestamp would give a date another text. Returns those
 * whose numbers it keeps exact.
 */
export async function loadFromPostgres(
  duck: Duck,
  query: string,
  read: ReadBatches,
  { names: naming = [] }: { names?: readonly string[] } = {},
): Promise<string[]> {
  let casts: string[] = []
  const exact: string[] = []
  await read(query, async ({ columns, rows }) => {
    if (casts.length === 0) {
      const names = columns.map(({ name }) => quotedIdentifier(name))
      await duck.run(`create temp table texts (${names.map((name) => `${name} varchar`).join(', ')})`)
      casts = columns.map(({ name, type }, index) => {
        const isExact = naming.includes(name) && type === numericType
        if (isExact) exact.push(name)
        const duckType = naming.includes(name) && type === dateType ? 'date' : duckTypes[type]
        return `cast(${names[index]} as ${isExact ? 'varchar' : (duckType ?? 'varchar')}) as ${names[index]}`
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
  await duck.run(`create temp table known as select ${casts.join(', ')} from texts`)
  await duck.run('drop table texts')
  // SQL over the rows may compute with whole numbers. Parquet has no longer integers.
  for (const name of exact.map(quotedIdentifier)) {
    const [found] = await duck.rows<{ whole: boolean }>(
      `select coalesce(bool_and(regexp_full_match(${name}, '-?[0-9]{1,38}')), true) as whole from known`,
    )
    if (found?.whole === true) await duck.run(`alter table known alter ${name} type decimal(38, 0)`)
  }
  return exact
}
