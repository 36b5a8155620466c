/** Reads a query of any size in batches through a cursor. One transaction holds all batches, so that they show one moment. */
import type pg from 'pg'
import { rethrow, type Store } from '../postgres.ts'

export interface RowBatch {
  /** Name and Postgres type id of each column. */
  columns: { name: string; type: number }[]
  /** The values as Postgres writes them, in UTC and ISO form. */
  rows: (string | null)[][]
}

const batchRows = 20_000

/** Hands over batch after batch, the first also when there are no rows. The query text is the project's own, never a caller's. */
export async function readBatches(
  store: Store,
  query: string,
  take: (batch: RowBatch) => Promise<void>,
): Promise<void> {
  const client = await store.pool.connect().catch(rethrow)
  let broken: Error | undefined
  try {
    await client.query('begin isolation level repeatable read read only')
    await client.query(`set local timezone = 'UTC'; set local datestyle = 'ISO'`)
    await client.query(`declare batches no scroll cursor for ${query}`)
    while ((await readBatch(client, take)) === batchRows);
  } catch (error) {
    rethrow(error)
  } finally {
    await client.query('rollback').catch((failure: Error) => (broken = failure))
    client.release(broken)
  }
}

async function readBatch(client: pg.PoolClient, take: (batch: RowBatch) => Promise<void>): Promise<number> {
  const { fields, rows } = await client.query<(string | null)[]>({
    text: `fetch ${batchRows} from batches`,
    rowMode: 'array',
    types: { getTypeParser: () => (text: string) => text },
  })
  await take({ columns: fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID })), rows })
  return rows.length
}
