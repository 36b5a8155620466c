/**
 * Writes predictions of the log as CSV or Parquet. Pages go to a compressed file beside the output first, because only the last one shows
 * which columns there are; then DuckDB writes the output row by row. Memory has a limit, however many rows there are.
 */
import { createWriteStream } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type * as duckDb from '@duckdb/node-api'
import { disarmedCell } from '../../domain/values/csv-cell.ts'
import { textLiteral } from '../../domain/sql-text.ts'

export const fileFormats = { '.csv': 'csv, header', '.parquet': 'parquet, compression zstd' } as const
export type FileFormat = keyof typeof fileFormats

export const formatOf = (file: string): FileFormat | undefined =>
  Object.keys(fileFormats).find((format): format is FileFormat => format === extname(file).toLowerCase())

const ownerOnly = { mode: 0o600 } as const

type Cell = string | number | boolean

/** The columns that every row may have, first and in this order. */
const firstColumns: Readonly<Record<string, string>> = {
  id: 'varchar',
  at: 'timestamptz',
  model: 'varchar',
  version: 'varchar',
  arm: 'varchar',
  release: 'varchar',
  generation: 'bigint',
  routing_key: 'varchar',
  reference: 'varchar',
  key_id: 'varchar',
  instance: 'integer',
  instances: 'integer',
  latency_us: 'bigint',
}

/**
 * The columns of a prediction. A field of an object is named with it: `inputs.distance`, `answer.probability`, `outcome.value`. A list is
 * its JSON.
 */
export function columnsOfPrediction(prediction: object): Record<string, Cell> {
  const columns = Object.create(null) as Record<string, Cell>
  const add = (value: unknown, name: string) => {
    if (value === null || value === undefined) return
    if (typeof value !== 'object') columns[name] = value as Cell
    else if (Array.isArray(value)) columns[name] = JSON.stringify(value)
    else for (const [inner, each] of Object.entries(value)) add(each, `${name}.${inner}`)
  }
  for (const [name, value] of Object.entries(prediction)) add(value, name)
  return columns
}

/** Writes the file, readable by its owner alone, and returns the number of rows. Leaves no file when it fails. */
export async function writePredictions(
  pages: AsyncIterable<readonly object[]>,
  { file, format }: { file: string; format: FileFormat },
): Promise<number> {
  const [spool, partial] = [`${file}.rows.gz`, `${file}.partial`]
  try {
    const { rows, types } = await spoolRows(pages, { spool, format })
    await writeFile(partial, '', ownerOnly)
    await writeWithDuck({ spool, partial, format, types })
    await rename(partial, file)
    return rows
  } finally {
    await Promise.all([spool, partial].map((each) => rm(each, { force: true })))
  }
}

async function spoolRows(
  pages: AsyncIterable<readonly object[]>,
  { spool, format }: { spool: string; format: FileFormat },
) {
  const types: Record<string, string> = { ...firstColumns }
  let rows = 0
  async function* lines() {
    for await (const page of pages) {
      let text = ''
      for (const prediction of page) {
        const columns = columnsOfPrediction(prediction)
        for (const [name, value] of Object.entries(columns))
          if (!(name in firstColumns)) types[name] = commonType(types[name], typeOf(name, value))
        text += `${JSON.stringify(format === '.csv' ? disarmed(columns) : columns)}\n`
      }
      rows += page.length
      yield text
    }
  }
  await pipeline(lines, createGzip({ level: 1 }), createWriteStream(spool, ownerOnly))
  return { rows, types }
}

/** A caller has chosen the texts. */
const disarmed = (columns: Record<string, Cell>): Record<string, Cell> =>
  Object.fromEntries(
    Object.entries(columns).map(([name, value]) => [
      name,
      typeof value === 'string' ? disarmedCell(value) : value,
    ]),
  )

const momentColumn = /^(outcome|review)\.\w+_at$/

function typeOf(name: string, value: Cell): string {
  if (typeof value === 'boolean') return 'boolean'
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'bigint' : 'double'
  return momentColumn.test(name) ? 'timestamptz' : 'varchar'
}

/** A feature may have been a text in one version and a number in another; then it is a text. */
function commonType(known: string | undefined, type: string): string {
  if (known === undefined || known === type) return type
  return ['bigint', 'double'].includes(known) && ['bigint', 'double'].includes(type) ? 'double' : 'varchar'
}

async function writeWithDuck({
  spool,
  partial,
  format,
  types,
}: {
  spool: string
  partial: string
  format: FileFormat
  types: Readonly<Record<string, string>>
}): Promise<void> {
  const { DuckDBInstance } = createRequire(import.meta.url)('@duckdb/node-api') as typeof duckDb
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: '512MB',
    autoinstall_known_extensions: 'false',
  })
  const connection = await instance.connect()
  try {
    await connection.run(`set TimeZone = 'UTC'`)
    // As text, a time keeps the form of the API.
    const typeIn = (type: string) => (format === '.csv' && type === 'timestamptz' ? 'varchar' : type)
    const columns = Object.entries(types).map(
      ([name, type]) => `${textLiteral(name)}: ${textLiteral(typeIn(type))}`,
    )
    await connection.run(
      `copy (from read_json(${textLiteral(spool)}, format = 'newline_delimited', compression = 'gzip',
        columns = {${columns.join(', ')}})) to ${textLiteral(partial)} (format ${fileFormats[format]}, use_tmp_file false)`,
    )
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}
