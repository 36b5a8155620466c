/**
 * Reads outcomes from a Parquet file. The index is at the end of the file, so the file is written to disk first. A child process reads it with
 * the reader of snapshots, because a hostile file would exhaust the memory of this process, and DuckDB would add 100 MB to it.
 */
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { DomainError, type ErrorCode } from '../../domain/errors.ts'
import { limited } from '../http/read-body.ts'
import { startLimited } from '../serving/runtime/limited-process.ts'
import type { Intake } from './intake.ts'
import { linesOf } from './line-reader.ts'
import { instanceColumn, outcomeColumns } from './outcome-columns.ts'

export const parquetLimits = {
  fileBytes: 268_435_456,
  /** Ten million rows in groups of 100,000 need 40 kB. */
  footerBytes: 262_144,
  rows: 10_000_000,
  /** The number of files that are read at the same time. */
  maxConcurrent: 2,
  /** The memory of the child process, and the time limit for its next rows. */
  processMb: 768,
  silentMs: 30_000,
}

/** The last line that the child process writes for a file. */
type ParquetEnd = { rows: number } | { code: ErrorCode; message: string; context: Record<string, unknown> }

type RowIntake = Pick<Intake, 'key' | 'takeRow'>

let reading = 0

/**
 * Ingests the file. Throws `invalid_request` for a file that cannot be read, `body_too_large` above a limit, and `overloaded` while too
 * many other files are read.
 */
export async function ingestParquet(body: AsyncIterable<Uint8Array>, intake: RowIntake): Promise<void> {
  if (reading >= parquetLimits.maxConcurrent)
    throw new DomainError('overloaded', `this replica is reading ${reading} Parquet files already`)
  reading++
  const directory = await mkdtemp(join(tmpdir(), 'tenure-outcomes-'))
  try {
    const path = join(directory, 'outcomes.parquet')
    await pipeline(
      limited(body, parquetLimits.fileBytes, 'the file'),
      createWriteStream(path, { flags: 'wx', mode: 0o600 }),
    )
    await takeFile(path, intake)
  } finally {
    reading--
    await rm(directory, { recursive: true, force: true })
  }
}

const maxLineBytes = 65_536

async function takeFile(path: string, intake: RowIntake): Promise<void> {
  const { processMb, silentMs } = parquetLimits
  const job = {
    columns: outcomeColumns(intake.key),
    instance: intake.key === 'reference' ? instanceColumn : undefined,
    limits: parquetLimits,
  }
  const argv = ['activities/data/outcome-rows-child.ts', path, JSON.stringify(job)]
  const reader = startLimited(argv, processMb)
  reader.input.end()
  const late = setTimeout(reader.kill, silentMs)
  let end: ParquetEnd | undefined
  try {
    for await (const { number, text } of linesOf(reader.output, maxLineBytes)) {
      late.refresh()
      const line = JSON.parse(text) as unknown[] | ParquetEnd
      if (Array.isArray(line)) await intake.takeRow(`row ${number}`, line)
      else end = line
    }
  } finally {
    clearTimeout(late)
    await reader.end()
  }
  if (end === undefined)
    throw new DomainError(
      'body_too_large',
      `the Parquet file needs more than ${processMb} MiB or ${silentMs / 1_000} s to read; write smaller row groups`,
    )
  if ('code' in end) throw new DomainError(end.code, end.message, end.context)
}
