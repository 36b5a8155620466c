/** Fills the table `known` in DuckDB: the rows of a model's source that were known at a moment. */
import type { RowsPlan } from '../../models/define/data/query.ts'
import { readBatches } from '../../store/database/cursor.ts'
import type { Store } from '../../store/postgres.ts'
import type { Duck } from './duckdb.ts'

/** What DuckDB reads the texts of these Postgres types as (ids of pg_type.dat); texts stay texts. */
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

export async function loadRowsAsOf(
  duck: Duck,
  plan: RowsPlan,
  from: { postgres: Store } | 'files',
): Promise<void> {
  if (from !== 'files') return loadFromPostgres(duck, plan.known, from.postgres)
  for (const view of plan.views) await duck.run(view)
  await duck.run(`create temp table known as ${plan.known}`)
}

/** DuckDB's own Postgres extension would have to be downloaded, so rows go over as texts and are cast there. */
async function loadFromPostgres(duck: Duck, query: string, store: Store): Promise<void> {
  let casts: string[] = []
  await readBatches(store, query, async ({ columns, rows }) => {
    if (casts.length === 0) {
      const names = columns.map(({ name }) => `"${name.replaceAll('"', '""')}"`)
      await duck.run(`create temp table texts (${names.map((name) => `${name} varchar`).join(', ')})`)
      casts = columns.map(
        ({ type }, index) => `cast(${names[index]} as ${duckTypes[type] ?? 'varchar'}) as ${names[index]}`,
      )
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
}
