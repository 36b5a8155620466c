/**
 * Reads outcomes from a Parquet file. Its index is at the end, so the file is written to disk first and read by row group; a row group
 * that is too large is refused before it is read.
 */
import { createWriteStream } from 'node:fs'
import { open, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { AsyncBuffer } from 'hyparquet'
import { DomainError } from '../../domain/errors.ts'
import { limited } from '../http/read-body.ts'
import type { Intake } from './intake.ts'
import { outcomeColumns } from './outcomes.ts'
import { compressorsWith, requireWithinLimits, parquetLimits } from './parquet-limits.ts'

let reading = 0

/** Throws `invalid_request` for a file that cannot be read, `body_too_large` beyond a limit, `overloaded` while others are read. */
export async function ingestParquet(body: AsyncIterable<Uint8Array>, intake: Intake): Promise<void> {
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

async function takeFile(path: string, intake: Intake): Promise<void> {
  const { parquetMetadataAsync, parquetScan, snappyUncompress } = await import('hyparquet')
  const handle = await open(path)
  try {
    const { size } = await handle.stat()
    const file: AsyncBuffer = {
      byteLength: size,
      async slice(start, end = size) {
        const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start))
        await handle.read(bytes, 0, bytes.byteLength, start)
        return bytes.buffer
      },
    }
    const metadata = await parquetMetadataAsync(file).catch(unreadable)
    requireWithinLimits(metadata)
    const scan = await parquetScan({
      file,
      metadata,
      columns: [...outcomeColumns],
      geoparquet: false,
      useOffsetIndex: false,
      compressors: compressorsWith(snappyUncompress),
    }).catch(unreadable)
    for (const { rowStart, rowEnd } of scan.ranges) {
      const [ids, values, times] = await Promise.all(
        outcomeColumns.map((column) => scan.readColumn({ column, rowStart, rowEnd })),
      ).catch(unreadable)
      for (let row = 0; row < rowEnd - rowStart; row++) {
        const place = `row ${rowStart + row + 1}`
        const outcome = intake.check(
          { prediction_id: ids![row], value: plain(values![row]), observed_at: timeOf(times![row]) },
          place,
        )
        if (typeof outcome === 'string') intake.refuse(place, outcome)
        else await intake.take(outcome)
      }
    }
  } finally {
    await handle.close()
  }
}

function unreadable(error: unknown): never {
  if (error instanceof DomainError) throw error
  const message = error instanceof Error ? error.message : String(error)
  throw new DomainError(
    'invalid_request',
    `the Parquet file cannot be read: ${message.slice(0, 200)} (supported compression: SNAPPY, GZIP, BROTLI, none)`,
  )
}

/** hyparquet returns integers as bigints. */
const plain = (value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value)

/** Timestamps are in UTC by the format; texts are times with their zone. */
function timeOf(value: unknown): unknown {
  if (!(value instanceof Date)) return plain(value)
  return Number.isFinite(value.getTime()) ? value.toISOString() : null
}
