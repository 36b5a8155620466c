/** Queries another Postgres server for one number, in a read-only transaction with a time limit. */
import { Sql } from 'sql-template-tag'
import { openStore } from '../postgres.ts'

/** Enough to detect several rows. Passed as a parameter, because Postgres then accepts only one statement. */
const maxRows = 2

/** The first column of the rows, at most two rows. */
export async function askPostgres(
  url: string,
  { strings, values }: { strings: readonly string[]; values: readonly unknown[] },
  timeoutMs: number,
): Promise<(number | null)[]> {
  const store = openStore(url, { max: 1, queryMs: timeoutMs, connectMs: timeoutMs, name: 'tenure metric' })
  const [first = '', ...rest] = strings
  // Otherwise a row of any size would cross the network.
  const whole = [`with answer (value) as (${first}`, ...rest, '']
  whole[whole.length - 2] += ') select value::float8 as value from answer limit '
  try {
    return await store.transaction(async (database) => {
      await database.query(new Sql(['set transaction read only'], []))
      const rows = await database.query<{ value: number | null }>(new Sql(whole, [...values, maxRows]))
      return rows.map(({ value }) => value)
    })
  } finally {
    await store.close()
  }
}
