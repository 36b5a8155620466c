/** Limits what a Parquet file of outcomes can allocate. Checked before anything is decompressed. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Compressors, FileMetaData } from 'hyparquet'
import { DomainError } from '../../domain/errors.ts'
import { outcomeColumns } from './outcomes.ts'

export const parquetLimits = {
  fileBytes: 268_435_456,
  /** Of the three columns of one row group, decompressed. */
  groupBytes: 67_108_864,
  groupRows: 1_048_576,
  rows: 10_000_000,
  /** Files that one process reads at a time. */
  maxConcurrent: 2,
}

export function requireWithinLimits({ schema, num_rows: rows, row_groups: groups }: FileMetaData): void {
  const top = new Set(topColumns(schema))
  const missing = outcomeColumns.filter((column) => !top.has(column))
  if (missing.length > 0)
    throw new DomainError('invalid_request', `the file has no top-level scalar column ${missing.join(', ')}`)
  if (rows > parquetLimits.rows) throw tooLarge(`the file has ${rows} rows`, parquetLimits.rows)
  for (const { columns, num_rows: groupRows } of groups) {
    const bytes = columns.reduce(
      (sum, { meta_data: column }) =>
        column !== undefined && outcomeColumns.includes(column.path_in_schema.join('.'))
          ? sum + Number(column.total_uncompressed_size)
          : sum,
      0,
    )
    if (groupRows > parquetLimits.groupRows)
      throw tooLarge(`a row group has ${groupRows} rows`, parquetLimits.groupRows)
    if (bytes > parquetLimits.groupBytes)
      throw tooLarge(`the columns of a row group have ${bytes} bytes`, parquetLimits.groupBytes)
  }
}

/** Names of the top-level scalar columns. */
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

/** A page may not decompress to more than `groupBytes`, regardless of its header. */
export function compressorsWith(snappy: (input: Uint8Array, output: Uint8Array) => unknown): Compressors {
  const bounded =
    (decompress: (input: Uint8Array, outputLength: number) => Uint8Array) =>
    (input: Uint8Array, outputLength: number): Uint8Array => {
      if (outputLength > parquetLimits.groupBytes)
        throw tooLarge(`a page has ${outputLength} bytes`, parquetLimits.groupBytes)
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
