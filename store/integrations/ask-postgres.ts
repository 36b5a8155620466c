/** Asks another Postgres server for one number, in a transaction that can write nothing and ends in time. */
import { Sql } from 'sql-template-tag'
import { openStore } from '../postgres.ts'

/** Enough to notice that there are several. It is a parameter, because Postgres then takes one statement only. */
const maxRows = 2

/** The first column of the rows that the query returns, at most two. */
export async function askPostgres(
  url: string,
  { strings, values }: { strings: readonly string[]; values: readonly unknown[] },
  timeoutMs: number,
): Promise<(number | null)[]> {
  const store = openStore(url, { max: 1, queryMs: timeoutMs, connectMs: timeoutMs, name: 'tenure metric' })
  const [first = '', ...rest] = strings
  // A row of any size crosses the network otherwise.
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
