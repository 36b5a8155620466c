/**
 * Opens DuckDB for one task, with one thread and UTC: sums of doubles depend on the order of threads, and equal rows must give equal
 * bytes. Downloads no extensions.
 */
import type * as duckDb from '@duckdb/node-api'
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import { createRequire } from 'node:module'
import { DomainError } from '../../domain/errors.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'

/** The rows of a small result, column by column. */
export interface ListedRows {
  rows: number
  columns: Record<string, BatchCell[]>
}

export interface Duck {
  run(statement: string): Promise<void>
  rows<T extends object>(statement: string): Promise<T[]>
  /** Column-wise; times as milliseconds, integers as doubles. */
  table(statement: string): Promise<ListedRows>
  connection: DuckDBConnection
}

let library: typeof duckDb | undefined

/** Loads the library on first use. The control worker rarely needs it, and its 180 modules take a tenth of the worker's start. */
export const loadDuckDb = (): typeof duckDb =>
  (library ??= createRequire(import.meta.url)('@duckdb/node-api') as typeof duckDb)

const settings = {
  threads: '1',
  memory_limit: '4GB',
  preserve_insertion_order: 'true',
  autoinstall_known_extensions: 'false',
  autoload_known_extensions: 'false',
}

export interface DuckOptions {
  /** A closed database reads and writes no files, whatever its SQL says. */
  isClosed?: boolean
  /** After so many milliseconds in all its statements end. */
  limitMs?: number
  memory?: string
}

/** Opens an empty in-memory database for `work` and always closes it. Throws `source_unreadable` beyond `limitMs`. */
export async function withDuck<T>(work: (duck: Duck) => Promise<T>, options?: DuckOptions): Promise<T> {
  const { duck, close, requireTime } = await openDuck(options)
  try {
    const result = await work(duck)
    // The work may have taken the end of a statement for an error of its SQL.
    requireTime()
    return result
  } finally {
    close()
  }
}

/** Opens an empty in-memory database, which the caller closes. */
export async function openDuck({
  isClosed = false,
  limitMs = Infinity,
  memory = settings.memory_limit,
}: DuckOptions = {}): Promise<{ duck: Duck; close: () => void; requireTime: () => void }> {
  const instance = await loadDuckDb().DuckDBInstance.create(':memory:', {
    ...settings,
    memory_limit: memory,
    ...(isClosed && { enable_external_access: 'false' }),
  })
  const connection = await instance.connect()
  let leftMs = limitMs
  const requireTime = () => {
    if (leftMs <= 0)
      throw new DomainError(
        'source_unreadable',
        `SQL of the model file takes more than ${limitMs / 1_000} s before it has any row: simplify its slices, metrics and computed columns`,
      )
  }
  const inTime = async <R>(statement: () => Promise<R>): Promise<R> => {
    if (leftMs === Infinity) return statement()
    requireTime()
    const startedMs = performance.now()
    const timer = setTimeout(() => connection.interrupt(), leftMs)
    try {
      return await statement()
    } finally {
      clearTimeout(timer)
      leftMs -= performance.now() - startedMs
      requireTime()
    }
  }
  const duck: Duck = {
    connection,
    run: async (statement) => void (await inTime(() => connection.run(statement))),
    rows: async <R extends object>(statement: string) => {
      const { rows, columns } = await duck.table(statement)
      const names = Object.keys(columns)
      return Array.from(
        { length: rows },
        (_, row) => Object.fromEntries(names.map((name) => [name, columns[name]?.[row]])) as R,
      )
    },
    table: async (statement) => {
      const reader = await inTime(() => connection.runAndReadAll(statement))
      // No prototype: a column may be named like a property of every object.
      const columns = Object.create(null) as Record<string, BatchCell[]>
      const values = reader.getColumns()
      reader.columnNames().forEach((name, index) => {
        columns[name] = values[index]?.map(toCell) ?? []
      })
      return { rows: reader.currentRowCount, columns }
    },
  }
  const close = () => {
    connection.closeSync()
    instance.closeSync()
  }
  try {
    await connection.run(`set TimeZone = 'UTC'`)
    if (isClosed) await connection.run('set lock_configuration = true')
    return { duck, close, requireTime }
  } catch (error) {
    close()
    throw error
  }
}

function toCell(value: DuckDBValue): BatchCell {
  if (value === null || typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean')
    return value
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof loadDuckDb().DuckDBTimestampValue) return Number(value.micros / 1_000n)
  return value.toString()
}
