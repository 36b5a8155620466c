/** Reads the frozen rows of a batch column by column in one pass, because building row objects dominated the time of a batch. */
import type { DuckDBVector } from '@duckdb/node-api'
import { bytesOfRow, textCodes, type BatchLayout, type ShardRange } from '../../domain/model/batch-spec.ts'
import { DomainError } from '../../domain/errors.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Duck } from '../data/duckdb.ts'

export interface PieceOfColumns {
  part: ShardRange
  rows: number
  /** The row after the last one. */
  to: number
  bytes: Uint8Array
}

/** Rows per piece: some milliseconds of work. */
const pieceRows = 16_384

/** Streams the rows of some parts in order; a piece never spans two parts. */
export async function* readColumns(
  duck: Duck,
  { path, layout, parts }: { path: string; layout: BatchLayout; parts: readonly ShardRange[] },
): AsyncGenerator<PieceOfColumns> {
  const [first] = parts
  if (first === undefined) return
  const result = await duck.connection.stream(await columnsQuery(duck, { path, layout, from: first.from }))
  const waiting = [...parts]
  let open: { part: ShardRange; rows: number; view: PieceView } | undefined
  let row = first.from
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    const vectors = Array.from({ length: chunk.columnCount }, (_, index) =>
      itemsOf(chunk.getColumnVector(index)),
    )
    for (let at = 0; at < chunk.rowCount;) {
      while (waiting[0] !== undefined && row >= waiting[0].to) waiting.shift()
      const [part] = waiting
      if (part === undefined) return
      // Rows of a part that is recorded already are skipped.
      if (row < part.from) {
        const skipped = Math.min(part.from - row, chunk.rowCount - at)
        row += skipped
        at += skipped
        continue
      }
      open ??= { part, rows: 0, view: pieceView(layout, Math.min(pieceRows, part.to - row)) }
      const count = Math.min(open.view.rows - open.rows, chunk.rowCount - at)
      open.view.columns.forEach((column, index) =>
        column.set(vectors[index]!.subarray(at, at + count), open!.rows),
      )
      open.rows += count
      row += count
      at += count
      if (open.rows < open.view.rows) continue
      yield { part, rows: open.rows, to: row, bytes: open.view.bytes }
      open = undefined
    }
  }
  if (row < parts.at(-1)!.to)
    throw new DomainError('artifact_corrupt', 'the frozen input of the batch has lost rows')
}

type Items = Float64Array | Int32Array

interface PieceView {
  rows: number
  bytes: Uint8Array
  columns: Items[]
}

function pieceView(layout: BatchLayout, rows: number): PieceView {
  const bytes = new Uint8Array(rows * bytesOfRow(layout))
  const textsAt = layout.numbers.length * rows * 8
  return {
    rows,
    bytes,
    columns: [
      ...layout.numbers.map((_, slot) => new Float64Array(bytes.buffer, slot * rows * 8, rows)),
      ...layout.texts.map((_, slot) => new Int32Array(bytes.buffer, textsAt + slot * rows * 4, rows)),
    ],
  }
}

/** The memory of a column without nulls; copied value by value where the library stores it otherwise. */
function itemsOf(vector: DuckDBVector): Items {
  const { items } = vector as unknown as { items?: unknown }
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  return Float64Array.from({ length: vector.itemCount }, (_, index) => Number(vector.getItem(index)))
}

/** Numbers as doubles, NaN for null and infinity for a non-number; texts as dictionary codes. */
async function columnsQuery(
  duck: Duck,
  { path, layout, from }: { path: string; layout: BatchLayout; from: number },
): Promise<string> {
  const numbers = layout.numbers.map((name) => {
    const value = `cast(${quotedIdentifier(name)} as double)`
    return `case when ${quotedIdentifier(name)} is null then 'nan'::double when isfinite(${value}) then ${value} else 'infinity'::double end`
  })
  const texts: string[] = []
  for (const [place, { name, codes }] of layout.texts.entries()) {
    const text = `cast(${quotedIdentifier(name)} as varchar)`
    const missing = `case when ${quotedIdentifier(name)} is null then ${textCodes.missing}
      when contains(${text}, chr(0)) then ${textCodes.unstorable} else ${textCodes.other} end`
    if (codes.length === 0) {
      texts.push(`cast(${missing} as integer)`)
      continue
    }
    await duck.run(`create type _codes_${place} as enum (${codes.map(textLiteral).join(', ')})`)
    const known = `enum_code(try_cast(${text} as _codes_${place}))`
    texts.push(`cast(coalesce(cast(${known} as integer), ${missing}) as integer)`)
  }
  return `select ${[...numbers, ...texts].join(', ')} from read_parquet(${textLiteral(path)}, file_row_number = true)
    where file_row_number >= ${from}`
}
