/** Reads the frozen rows of a batch column by column in one pass. Building row objects would take most of a batch's time. */
import { noText } from '@tenure/predictors/features'
import type { DuckDBVector } from '@duckdb/node-api'
import { textCodes, type BatchLayout, type ShardRange } from '../../domain/model/batch-spec.ts'
import { DomainError } from '../../domain/errors.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import { doubleOf } from '../../domain/values/readings.ts'
import type { Duck } from '../data/duckdb.ts'

export interface PieceOfColumns {
  part: ShardRange
  rows: number
  /** The row after the last one. */
  to: number
  /** In the layout of a batch. */
  parts: Uint8Array[]
}

/** Rows per piece: some milliseconds of work. */
const pieceRows = 16_384
/** A chunk ends with the row whose texts reach this size, because several chunks are in flight. */
const pieceTextBytes = 4_194_304

/** Streams the rows of some parts in order; a piece never spans two parts. */
export async function* readColumns(
  duck: Duck,
  { path, layout, parts }: { path: string; layout: BatchLayout; parts: readonly ShardRange[] },
): AsyncGenerator<PieceOfColumns> {
  const [first] = parts
  if (first === undefined) return
  const result = await duck.connection.stream(await columnsQuery(duck, { path, layout, from: first.from }))
  const waiting = [...parts]
  const takenTexts = layout.texts.map(({ isTaken }) => isTaken)
  let open: (Piece & { part: ShardRange }) | undefined
  let row = first.from
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    const vectors = Array.from({ length: chunk.columnCount }, (_, index) => chunk.getColumnVector(index))
    const items = vectors.slice(0, layout.numbers.length + layout.texts.length).map(itemsOf)
    const texts = vectors.slice(items.length)
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
      open ??= { part, ...emptyPiece(layout, Math.min(pieceRows, part.to - row)) }
      let count = Math.min(open.maxRows - open.rows, chunk.rowCount - at)
      if (texts.length > 0) count = addTexts(open, { texts, takenTexts, at, count })
      for (const [index, column] of open.columns.entries())
        column.set(items[index]!.subarray(at, at + count), open.rows)
      open.rows += count
      row += count
      at += count
      if (open.rows < open.maxRows && open.textBytes < pieceTextBytes) continue
      yield { part, rows: open.rows, to: row, parts: partsOf(open) }
      open = undefined
    }
  }
  if (row < parts.at(-1)!.to)
    throw new DomainError('artifact_corrupt', 'the frozen input of the batch has lost rows')
}

type Items = Float64Array | Int32Array

interface Piece {
  rows: number
  maxRows: number
  columns: Items[]
  /** Of each text its length and its bytes, row by row. */
  texts: Buffer
  textBytes: number
}

const emptyPiece = ({ numbers, texts }: BatchLayout, maxRows: number): Piece => ({
  rows: 0,
  maxRows,
  columns: [...numbers.map(() => new Float64Array(maxRows)), ...texts.map(() => new Int32Array(maxRows))],
  texts: Buffer.alloc(0),
  textBytes: 0,
})

const partsOf = ({ rows, columns, texts, textBytes }: Piece): Uint8Array[] => [
  ...columns.map(({ buffer, BYTES_PER_ELEMENT }) => new Uint8Array(buffer, 0, rows * BYTES_PER_ELEMENT)),
  texts.subarray(0, textBytes),
]

/** Adds the texts of at most this many rows, fewer when the chunk is full. Returns the number of rows added. */
function addTexts(
  piece: Piece,
  rows: { texts: readonly DuckDBVector[]; takenTexts: readonly boolean[]; at: number; count: number },
): number {
  const { texts, takenTexts, at, count } = rows
  for (let row = 0; row < count; row++) {
    if (piece.textBytes >= pieceTextBytes) return row
    let taken = 0
    for (const isTaken of takenTexts) addText(piece, isTaken ? texts[taken++]!.getItem(at + row) : null)
  }
  return count
}

function addText(piece: Piece, text: unknown): void {
  const bytes = typeof text === 'string' ? Buffer.byteLength(text) : 0
  const needed = piece.textBytes + 4 + bytes
  if (needed > piece.texts.byteLength) {
    const more = Buffer.allocUnsafeSlow(Math.max(needed, piece.texts.byteLength * 2, 65_536))
    more.set(piece.texts.subarray(0, piece.textBytes))
    piece.texts = more
  }
  piece.texts.writeUInt32LE(typeof text === 'string' ? bytes : noText, piece.textBytes)
  if (typeof text === 'string') piece.texts.write(text, piece.textBytes + 4)
  piece.textBytes = needed
}

/** The memory of a column without nulls; copied value by value where the library stores it otherwise. */
function itemsOf(vector: DuckDBVector): Items {
  const { items } = vector as unknown as { items?: unknown }
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  return Float64Array.from({ length: vector.itemCount }, (_, index) => Number(vector.getItem(index)))
}

/**
 * Selects numbers as doubles (NaN for null, infinity for a non-number), texts as dictionary codes, and the texts of the columns that the
 * model reads as text.
 */
async function columnsQuery(
  duck: Duck,
  { path, layout, from }: { path: string; layout: BatchLayout; from: number },
): Promise<string> {
  const numbers = layout.numbers.map((name) => {
    const value = doubleOf(name)
    return `case when ${quotedIdentifier(name)} is null then 'nan'::double when isfinite(${value}) then ${value} else 'infinity'::double end`
  })
  const texts: string[] = []
  const taken: string[] = []
  for (const [place, { name, codes, isTaken, refused }] of layout.texts.entries()) {
    const text = `cast(${quotedIdentifier(name)} as varchar)`
    if (isTaken) taken.push(text)
    const isRefused = refused === undefined ? '' : ` or ${refused.replaceAll('$text', () => text)}`
    const missing = `case when ${quotedIdentifier(name)} is null then ${textCodes.missing}
      when contains(${text}, chr(0))${isRefused} then ${textCodes.refused} else ${textCodes.other} end`
    if (codes.length === 0) {
      texts.push(`cast(${missing} as integer)`)
      continue
    }
    await duck.run(`create type _codes_${place} as enum (${codes.map(textLiteral).join(', ')})`)
    const known = `enum_code(try_cast(${text} as _codes_${place}))`
    texts.push(`cast(coalesce(cast(${known} as integer), ${missing}) as integer)`)
  }
  return `select ${[...numbers, ...texts, ...taken].join(', ')} from read_parquet(${textLiteral(path)}, file_row_number = true)
    where file_row_number >= ${from}`
}
