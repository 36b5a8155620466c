/** Limits how much memory a Parquet file of outcomes can allocate. The limits are checked before anything is decompressed. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Compressors, FileMetaData } from 'hyparquet'
import { DomainError, type ErrorCode } from '../../domain/errors.ts'

export type ParquetLimits = typeof parquetLimits

/** The last line that the child process writes for a file. */
export type ParquetEnd =
  | { rows: number }
  | { code: ErrorCode; message: string; context: Record<string, unknown> }

export const parquetLimits = {
  fileBytes: 268_435_456,
  /** The limit of the footer, whose parsed form is some 200 times as large. Ten million rows in groups of 100,000 need 40 kB. */
  footerBytes: 262_144,
  /** The limit of the read columns of one row group, decompressed. */
  groupBytes: 67_108_864,
  groupRows: 1_048_576,
  rows: 10_000_000,
  /** The number of files that are read at the same time. */
  maxConcurrent: 2,
  /** The memory of the child process, and the time limit for its next rows. */
  processMb: 768,
  silentMs: 30_000,
}

/** The bytes `PAR1`. */
const magic = 0x31524150

/**
 * Throws `body_too_large` for a footer above the limit, and an error for a file in another format. `tail` is the last eight bytes of the
 * file.
 */
export function requireSmallFooter(tail: Uint8Array, limits: ParquetLimits): void {
  const view = new DataView(tail.buffer, tail.byteOffset)
  if (view.getUint32(4, true) !== magic) throw new Error('it does not end with PAR1')
  const bytes = view.getUint32(0, true)
  if (bytes > limits.footerBytes) throw tooLarge(`the footer has ${bytes} bytes`, limits.footerBytes)
}

/** Returns the columns to read: the required ones, and those of the others that the file has. */
export function requireWithinLimits(
  { schema, num_rows: rows, row_groups: groups }: FileMetaData,
  limits: ParquetLimits,
  { required, others }: { required: readonly string[]; others: readonly string[] },
): string[] {
  const top = topColumns(schema)
  const columns = [...required, ...others.filter((column) => top.includes(column))]
  const missing = required.filter((column) => !top.includes(column))
  if (missing.length > 0)
    throw new DomainError('invalid_request', `the file has no top-level scalar column ${missing.join(', ')}`)
  const twice = columns.find((column) => top.indexOf(column) < top.lastIndexOf(column))
  if (twice !== undefined)
    throw new DomainError('invalid_request', `two columns of the file are named ${twice}: rename one of them`)
  if (rows > limits.rows) throw tooLarge(`the file has ${rows} rows`, limits.rows)
  for (const { columns: chunks, num_rows: groupRows } of groups) {
    const bytes = chunks.reduce(
      (sum, { meta_data: column }) =>
        column !== undefined && columns.includes(column.path_in_schema.join('.'))
          ? sum + Number(column.total_uncompressed_size)
          : sum,
      0,
    )
    if (groupRows > limits.groupRows) throw tooLarge(`a row group has ${groupRows} rows`, limits.groupRows)
    if (bytes > limits.groupBytes)
      throw tooLarge(`the columns of a row group have ${bytes} bytes`, limits.groupBytes)
  }
  return columns
}

/** Returns the names of the top-level scalar columns. */
function topColumns(schema: FileMetaData['schema']): string[] {
  const names: string[] = []
  for (let at = 1; at < schema.length;) {
    const { name, num_children: children = 0, repetition_type: repetition } = schema[at]!
    if (children === 0 && repetition !== 'REPEATED') names.push(name)
    let below = children
    for (at++; below > 0 && at < schema.length; at++) below += (schema[at]!.num_children ?? 0) - 1
  }
  return names
}

const tooLarge = (what: string, limit: number): DomainError =>
  new DomainError('body_too_large', `${what}, the limit is ${limit}; write smaller row groups or files`, {
    limit,
  })

/** Wraps the decompressors. A page may not decompress to more than `groupBytes`, whatever its header states. */
export function compressorsWith(
  snappy: (input: Uint8Array, output: Uint8Array) => unknown,
  limits: ParquetLimits,
): Compressors {
  const bounded =
    (decompress: (input: Uint8Array, outputLength: number) => Uint8Array) =>
    (input: Uint8Array, outputLength: number): Uint8Array => {
      if (outputLength > limits.groupBytes)
        throw tooLarge(`a page has ${outputLength} bytes`, limits.groupBytes)
      return decompress(input, outputLength)
    }
  return {
    SNAPPY: bounded((input, outputLength) => {
      const output = new Uint8Array(outputLength)
      snappy(input, output)
      return output
    }),
    GZIP: bounded((input, outputLength) => gunzipSync(input, { maxOutputLength: outputLength })),
    BROTLI: bounded((input, outputLength) => brotliDecompressSync(input, { maxOutputLength: outputLength })),
  }
}
