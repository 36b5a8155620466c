/** How large a Parquet file of outcomes may be, in each way in which it could fill the memory. Looked at before anything is unpacked. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { Compressors, FileMetaData } from 'hyparquet'
import { DomainError } from '../../domain/errors.ts'
import { outcomeColumns } from './outcomes.ts'

export const parquetLimits = {
  /** Of the file, and of the three columns of one row group when they are unpacked. */
  fileBytes: 268_435_456,
  groupBytes: 67_108_864,
  groupRows: 1_048_576,
  rows: 10_000_000,
  /** Files that one process reads at a time. */
  atOnce: 2,
}

export function expectWithinLimits({ schema, num_rows: rows, row_groups: groups }: FileMetaData): void {
  const top = new Set(topColumns(schema))
  const missing = outcomeColumns.filter((column) => !top.has(column))
  if (missing.length > 0)
    throw new DomainError('invalid_request', `the file has no plain column ${missing.join(', ')}`)
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

/** Columns that stand at the top and are no lists or records. */
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
  new DomainError(
    'body_too_large',
    `${what}, at most ${limit} are taken; write it in smaller row groups or files`,
    { limit },
  )

/** No page may unpack to more than a group may hold, whatever its header says. */
export function compressorsWith(snappy: (input: Uint8Array, output: Uint8Array) => unknown): Compressors {
  const bounded =
    (unpack: (input: Uint8Array, outputLength: number) => Uint8Array) =>
    (input: Uint8Array, outputLength: number): Uint8Array => {
      if (outputLength > parquetLimits.groupBytes)
        throw tooLarge(`a page has ${outputLength} bytes`, parquetLimits.groupBytes)
      return unpack(input, outputLength)
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
