/** Reads the clock of the database, which all processes share. */
import sql from 'sql-template-tag'
import { rowsFrom } from './from-row.ts'
import type { Database } from '../postgres.ts'

/** Returns milliseconds since 1970. */
export async function readNow(database: Database): Promise<number> {
  const now = await rowsFrom(database).value<number>(
    sql`select extract(epoch from clock_timestamp())::float8 * 1000 as now`,
  )
  return now!
}
