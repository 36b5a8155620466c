/**
 * Reads a Parquet file of outcomes in a child process with little memory, because a file of a few bytes can announce a billion values.
 * `parquet-reader.ts <path> <limits as JSON> <key column>` prints one row per line, `[key, value, observed_at, instance?]`. The last line is
 * `{"rows"}`, or `{"code", "message", "context"}` of the error.
 */
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import {
  parquetMetadataAsync,
  parquetScan,
  snappyUncompress,
  type AsyncBuffer,
  type FileMetaData,
  type ParquetParsers,
} from 'hyparquet'
import { isError, DomainError } from '../../domain/errors.ts'
import { instanceColumn, outcomeColumns, type KeyColumn } from '../outcomes/outcome-columns.ts'
import {
  compressorsWith,
  requireSmallFooter,
  requireWithinLimits,
  type ParquetEnd,
  type ParquetLimits,
} from '../outcomes/parquet-limits.ts'

/** The number of rows that are written together. */
const batchRows = 1_000
/** Limits the texts that are passed on. A longer text is not a valid outcome and is refused as too long. */
const maxTextLength = 2_000

const parsers: Partial<ParquetParsers> = {
  timestampFromMicroseconds: (micros) => timeAfter(micros, 6),
  timestampFromNanoseconds: (nanos) => timeAfter(nanos, 9),
}

const [path = '', limits = '{}', key = 'prediction_id'] = process.argv.slice(2)
let end: ParquetEnd
try {
  end = { rows: await printRows(path, JSON.parse(limits) as ParquetLimits) }
} catch (error) {
  const { code, message, context } = isError(error) ? error : unreadable(error)
  end = { code, message, context }
}
process.stdout.write(`${JSON.stringify(end)}\n`)

async function printRows(path: string, limits: ParquetLimits): Promise<number> {
  const handle = await open(path)
  const { size } = await handle.stat()
  const file: AsyncBuffer = {
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start))
      await handle.read(bytes, 0, bytes.byteLength, start)
      return bytes.buffer
    },
  }
  if (size < 12) throw new Error(`${size} bytes are too few for a Parquet file`)
  requireSmallFooter(new Uint8Array(await file.slice(size - 8)), limits)
  const metadata = await parquetMetadataAsync(file, { geoparquet: false })
  const columns = requireWithinLimits(metadata, limits, {
    required: outcomeColumns(key as KeyColumn),
    others: key === 'reference' ? [instanceColumn] : [],
  })
  const scan = await parquetScan({
    file,
    metadata,
    columns,
    geoparquet: false,
    useOffsetIndex: false,
    parsers,
    compressors: compressorsWith(snappyUncompress, limits),
  })
  const valueOf = valueReader(metadata)
  let rows = 0
  for (const { rowStart, rowEnd } of scan.ranges) {
    const [keys, values, times, instances] = await Promise.all(
      columns.map((column) => scan.readColumn({ column, rowStart, rowEnd })),
    )
    for (let from = 0; from < rowEnd - rowStart; from += batchRows) {
      const to = Math.min(from + batchRows, rowEnd - rowStart)
      let text = ''
      for (let row = from; row < to; row++)
        text += `${JSON.stringify([keyOf(keys![row]), valueOf(values![row]), timeOf(times![row]), plain(instances?.[row])])}\n`
      rows += to - from
      if (!process.stdout.write(text)) await once(process.stdout, 'drain')
    }
  }
  return rows
}

function unreadable(error: unknown): DomainError {
  const message = error instanceof Error ? error.message : String(error)
  return new DomainError(
    'invalid_request',
    `the Parquet file cannot be read: ${message.slice(0, 200)} (supported compression: SNAPPY, GZIP, BROTLI, none)`,
  )
}

/** Converts a value for JSON: the bigints of hyparquet to numbers, and objects to null. Cuts off long texts. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (typeof value === 'string') return value.slice(0, maxTextLength)
  return typeof value === 'object' ? null : value
}

/** Converts a number to its digits, because an order number may be one. */
function keyOf(value: unknown): unknown {
  return typeof value === 'bigint' || typeof value === 'number' ? String(value) : plain(value)
}

/** The library multiplies the digits of a decimal: 57 by 0.01 is 0.5700000000000001. */
function valueReader({ schema }: FileMetaData): (value: unknown) => unknown {
  const { converted_type: type, scale = 0 } = schema.find(({ name }) => name === 'value') ?? {}
  return type === 'DECIMAL'
    ? (value) => (typeof value === 'number' ? Number(value.toFixed(scale)) : plain(value))
    : plain
}

/** Formats a timestamp in UTC, as Parquet defines it. A text already contains its zone. */
function timeOf(value: unknown): unknown {
  if (!(value instanceof Date)) return plain(value)
  return Number.isFinite(value.getTime()) ? value.toISOString() : null
}

/** The time after so many units of a second. The library cuts off what is finer than a millisecond. */
function timeAfter(units: bigint, digits: number): string | null {
  const perSecond = 10n ** BigInt(digits)
  const fraction = ((units % perSecond) + perSecond) % perSecond
  const second = new Date(Number((units - fraction) / perSecond) * 1_000)
  return Number.isFinite(second.getTime())
    ? second.toISOString().replace('000Z', `${String(fraction).padStart(digits, '0')}Z`)
    : null
}
