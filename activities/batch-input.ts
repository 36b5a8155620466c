/**
 * The rows of a batch: frozen once, so that every attempt answers the same ones, and read column by column. Read row by row, most
 * of the time of a batch went into making objects of them.
 */
import type { DuckDBVector } from '@duckdb/node-api'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesOfRow, textCodes, type Layout, type Part } from '../domain/batch.ts'
import { DomainError } from '../domain/errors.ts'
import type { Manifest } from '../domain/manifest.ts'
import { quoted } from '../models/define/query.ts'
import { freezeInput, type Batch } from '../store/batches.ts'
import type { Deps } from './deps.ts'
import { literal, type Duck } from './duckdb.ts'
import { loadKnown } from './known.ts'

/** Writes the input down once. Throws `invalid_request` for one that lacks columns. */
export async function freezeBatch(
  { store, artifacts, config }: Deps,
  duck: Duck,
  { batch, manifest }: { batch: Batch; manifest: Manifest },
): Promise<{ path: string; rows: number }> {
  if (batch.inputDigest !== undefined && batch.rows !== undefined)
    return { path: await artifacts.locate('snapshots', batch.inputDigest), rows: batch.rows }
  const { input } = batch
  const draft = await artifacts.draft('.parquet')
  const what = input.kind === 'file' ? input.path : 'the query'
  const write = async (known: string): Promise<void> => {
    await duck.run(`create temp view given as ${known}`).catch(refuseInput(what))
    await checkColumns(duck, { manifest, key: batch.output.key })
    await duck
      .run(`copy (select * from given) to ${literal(draft)} (format parquet, compression zstd)`)
      .catch(refuseInput(what))
  }
  if (input.kind === 'sql') {
    await loadKnown(duck, { known: input.query, views: [], rows: '' }, { postgres: store })
    await write('select * from known')
  } else if (input.path.endsWith('.csv'))
    await write(`select * from read_csv(${literal(join(config.batchDir, input.path))})`)
  else {
    // As it is: to read it and write it again would take as long as to answer it.
    await copyFile(join(config.batchDir, input.path), draft).catch(refuseInput(what))
    await duck
      .run(`create temp view given as select * from read_parquet(${literal(draft)})`)
      .catch(refuseInput(what))
    await checkColumns(duck, { manifest, key: batch.output.key })
  }
  const [counted] = await duck
    .rows<{ n: number }>(`select count(*) as n from read_parquet(${literal(draft)})`)
    .catch(refuseInput(what))
  const rows = counted?.n ?? 0
  await duck.run('drop view given')
  const { digest } = await artifacts.take('snapshots', draft)
  await freezeInput(store, { id: batch.id, digest, rows })
  return { path: await artifacts.locate('snapshots', digest), rows }
}

const refuseInput = (what: string) => (error: unknown) => {
  const said = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  throw new DomainError('invalid_request', `${what} cannot be read: ${said.slice(0, 300)}`)
}

const numeric = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN)$/

async function checkColumns(
  duck: Duck,
  { manifest, key }: { manifest: Manifest; key: readonly string[] },
): Promise<void> {
  const described = await duck.rows<{ column_name: string; column_type: string }>('describe given')
  const types = new Map(described.map(({ column_name, column_type }) => [column_name, column_type]))
  const absent = [...Object.keys(manifest.features), ...key].filter((name) => !types.has(name))
  const issues = absent.map((name) =>
    manifest.features[name]?.from === undefined
      ? `there is no column ${JSON.stringify(name)}`
      : `there is no column ${JSON.stringify(name)}: a batch brings the values that requests have looked up`,
  )
  for (const [name, { kind }] of Object.entries(manifest.features)) {
    const type = types.get(name)
    if (kind === 'number' && type !== undefined && !numeric.test(type))
      issues.push(`${JSON.stringify(name)} is a ${type}, a number is wanted`)
  }
  if (issues.length > 0)
    throw new DomainError('invalid_request', `the input does not fit: ${issues.join('; ')}`, { issues })
}

export interface PieceOfColumns {
  part: Part
  rows: number
  /** The row of the input behind its last one. */
  to: number
  bytes: Uint8Array
}

/** Rows handed over at once: some milliseconds of work. */
const pieceRows = 16_384

/** The rows of some parts, in their order and in one pass over the file; a piece never reaches over the end of a part. */
export async function* readColumns(
  duck: Duck,
  { path, layout, parts }: { path: string; layout: Layout; parts: readonly Part[] },
): AsyncGenerator<PieceOfColumns> {
  const [first] = parts
  if (first === undefined) return
  const result = await duck.connection.stream(await columnsQuery(duck, { path, layout, from: first.from }))
  const waiting = [...parts]
  let open: { part: Part; rows: number; view: PieceView } | undefined
  for (let row = first.from; ;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    const vectors = Array.from({ length: chunk.columnCount }, (_, index) =>
      itemsOf(chunk.getColumnVector(index)),
    )
    for (let at = 0; at < chunk.rowCount;) {
      while (waiting[0] !== undefined && row >= waiting[0].to) waiting.shift()
      const [part] = waiting
      if (part === undefined) return
      // Of a part that an earlier attempt has done nothing is handed over.
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
  if (open !== undefined || waiting.some(({ to, from }) => to > from && to > parts.at(-1)!.to))
    throw new DomainError('artifact_corrupt', 'the frozen input of the batch has fewer rows than it had')
}

type Items = Float64Array | Int32Array

interface PieceView {
  rows: number
  bytes: Uint8Array
  columns: Items[]
}

function pieceView(layout: Layout, rows: number): PieceView {
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

/** The memory behind a column without nulls; value by value where the library keeps it otherwise. */
function itemsOf(vector: DuckDBVector): Items {
  const { items } = vector as unknown as { items?: unknown }
  if (items instanceof Float64Array || items instanceof Int32Array) return items
  return Float64Array.from({ length: vector.itemCount }, (_, index) => Number(vector.getItem(index)))
}

/** Numbers as doubles, NaN where nothing is and infinity where no number is; texts as their codes. */
async function columnsQuery(
  duck: Duck,
  { path, layout, from }: { path: string; layout: Layout; from: number },
): Promise<string> {
  const numbers = layout.numbers.map((name) => {
    const value = `cast(${quoted(name)} as double)`
    return `case when ${quoted(name)} is null then 'nan'::double when isfinite(${value}) then ${value} else 'infinity'::double end`
  })
  const texts: string[] = []
  for (const [place, { name, codes }] of layout.texts.entries()) {
    const text = `cast(${quoted(name)} as varchar)`
    const missing = `case when ${quoted(name)} is null then ${textCodes.missing}
      when contains(${text}, chr(0)) then ${textCodes.unstorable} else ${textCodes.other} end`
    if (codes.length === 0) {
      texts.push(`cast(${missing} as integer)`)
      continue
    }
    await duck.run(`create type _codes_${place} as enum (${codes.map(literal).join(', ')})`)
    const known = `enum_code(try_cast(${text} as _codes_${place}))`
    texts.push(`cast(coalesce(cast(${known} as integer), ${missing}) as integer)`)
  }
  return `select ${[...numbers, ...texts].join(', ')} from read_parquet(${literal(path)}, file_row_number = true)
    where file_row_number >= ${from}`
}
