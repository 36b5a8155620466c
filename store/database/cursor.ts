/** Reads a query of any size in batches through a cursor. One transaction reads all batches, so that they show one moment. */
import pg from 'pg'
import type { Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rethrow, type Store } from '../postgres.ts'

export interface RowBatch {
  /** Name, Postgres type id and type modifier of each column. */
  columns: { name: string; type: number; modifier: number }[]
  /** The values as Postgres writes them, in UTC and ISO format; those of `char(n)` without the spaces that fill them up. */
  rows: (string | null)[][]
}

/** Reads a query and calls `take` with each batch, at least once even without rows. */
export type ReadBatches = (query: string, take: (batch: RowBatch) => Promise<void>) => Promise<void>

const batchRows = 20_000

/** Reads a query of the project as the application role. Fetches fewer rows at once when a row may be large. */
export const ownReader =
  ({ pool }: Pick<Store, 'pool'>, batchSize = batchRows): ReadBatches =>
  (query, take) =>
    withPooled(pool, (client) => readBatches(client, query, take, batchSize))

/** Lends a connection for one transaction, which changes nothing. */
async function withPooled(pool: pg.Pool, read: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect().catch(rethrow)
  let broken: Error | undefined
  try {
    await read(client)
  } catch (error) {
    rethrow(error)
  } finally {
    await client.query('rollback').catch((failure: Error) => (broken = failure))
    client.release(broken)
  }
}

/** Reads the rows of a statement that may be slower than those of the store: each batch may take `batchMs`. */
export const readEach = <T extends object>(
  { pool }: Pick<Store, 'pool'>,
  { text, values }: Sql,
  take: (row: T) => void,
  batchMs: number,
): Promise<void> =>
  withPooled(pool, async (client) => {
    const within = { query_timeout: batchMs }
    // All rows are read, so the fastest plan is not that of the first ones; and compiling it costs more than it saves.
    await client.query(
      `begin isolation level repeatable read read only;
      set local statement_timeout = ${batchMs}; set local cursor_tuple_fraction = 1; set local jit = off`,
    )
    await client.query({
      text: `declare rows no scroll cursor for ${text}`,
      values,
      ...within,
    } as pg.QueryConfig)
    for (let count = batchRows; count === batchRows;) {
      const { rows } = await client.query<T>({
        text: `fetch ${batchRows} from rows`,
        ...within,
      } as pg.QueryConfig)
      rows.forEach(take)
      count = rows.length
    }
  })

/** The time limit of each batch of an external query, and of its connection. */
const batchMs = 60_000
const connectMs = 10_000

/**
 * Reads an external query: of a batch, a source or an outcome table. It runs as a role that may read only what was granted to it, in a
 * connection that is closed afterwards: in a pooled connection, a session lock or a changed setting would outlive the query.
 */
export const foreignReader =
  ({ readerUrl }: Pick<Store, 'readerUrl'>): ReadBatches =>
  async (query, take) => {
    if (readerUrl === undefined)
      throw new DomainError(
        'configuration_invalid',
        'no role is set for queries of batches and sources; set TENURE_READER_DATABASE_URL',
      )
    const client = new pg.Client({
      connectionString: readerUrl,
      connectionTimeoutMillis: connectMs,
      statement_timeout: batchMs,
      // Later than the server's own timeout, whose error names the slow query.
      query_timeout: batchMs + connectMs,
      idle_in_transaction_session_timeout: 10 * batchMs,
      application_name: 'tenure reader',
    })
    const role = client.user ?? 'the reader'
    // The error of a connection that breaks between two batches surfaces in the next batch.
    client.on('error', () => {})
    try {
      await client.connect().catch((error: unknown) => refuseLogin(role, error))
      await readBatches(client, query, take)
    } catch (error) {
      rethrow(withGrant(role, error))
    } finally {
      await client.end().catch(() => {})
    }
  }

async function readBatches(
  client: pg.ClientBase,
  query: string,
  take: (batch: RowBatch) => Promise<void>,
  batchSize = batchRows,
): Promise<void> {
  await client.query('begin isolation level repeatable read read only')
  await client.query(
    `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local bytea_output = 'hex'`,
  )
  // The extended protocol accepts one statement only, so nothing can follow the query.
  await client.query({
    text: `declare batches no scroll cursor for ${query}`,
    queryMode: 'extended',
  } as pg.QueryConfig)
  while ((await readBatch(client, take, batchSize)) === batchSize);
}

/** `char(n)`: Postgres compares without the spaces at the end, and sends them. */
const charType = 1042
const withoutPadding = (text: string): string => text.replace(/ +$/, '')
const asWritten = (text: string): string => text

async function readBatch(
  client: pg.ClientBase,
  take: (batch: RowBatch) => Promise<void>,
  batchSize: number,
): Promise<number> {
  const { fields, rows } = await client.query<(string | null)[]>({
    text: `fetch ${batchSize} from batches`,
    rowMode: 'array',
    types: { getTypeParser: (type: number) => (type === charType ? withoutPadding : asWritten) },
  })
  const columns = fields.map(({ name, dataTypeID: type, dataTypeModifier: modifier }) => ({
    name,
    type,
    modifier,
  }))
  await take({ columns, rows })
  return rows.length
}

/** SQLSTATE class 28: invalid authorization; 42501: no CONNECT. Without a password, the driver itself refuses to authenticate. */
function refuseLogin(role: string, error: unknown): never {
  const { code = '', message } = error as { code?: string; message: string }
  if (!/^(28|42501)/.test(code) && !message.startsWith('SASL')) throw error
  throw new DomainError(
    'configuration_invalid',
    `queries of batches and sources run as the role ${role}, which cannot connect: ${message}; set TENURE_READER_DATABASE_URL, or correct the address of the named source`,
  )
}

/** Adds the permissions of the role to an error of Postgres (SQLSTATE insufficient_privilege). */
function withGrant(role: string, error: unknown): unknown {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== '42501') return error
  const select = `grant select on <table> to ${role}`
  const grants = error.message.includes('for schema ')
    ? `grant usage on schema <schema> to ${role}; ${select}`
    : select
  error.message += error.message.includes('for function ')
    ? `: queries of batches and sources run as ${role}, which takes no locks, sends no notices and reads no files`
    : `: queries of batches and sources run as ${role}; if it may read this, run "${grants}"`
  return error
}
