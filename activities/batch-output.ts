/** Where the answers of a batch go: part by part to be kept, then all at once into one file, or into a table. */
import {
  DuckDBDataChunk,
  FLOAT,
  INTEGER,
  VARCHAR,
  type DuckDBAppender,
  type DuckDBValue,
} from '@duckdb/node-api'
import { mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { answerOf, type Part } from '../domain/batch.ts'
import type { Cell } from '../domain/expectations.ts'
import type { Output } from '../domain/features.ts'
import type { Manifest } from '../domain/manifest.ts'
import { quoted } from '../models/define/query.ts'
import type { Artifacts } from '../store/artifacts.ts'
import { insertBatchRows, insertShard, type Batch, type BatchRow, type BatchShard } from '../store/batches.ts'
import type { Store } from '../store/postgres.ts'
import { literal, type Duck } from './duckdb.ts'

/** The answers of one part, by the places of their rows in it. */
export interface Answers {
  rows: number
  width: number
  /** Row by row. */
  outputs: Float32Array
  refused: Uint8Array
  /** Why a row has no answer. */
  problems: Map<number, string>
}

/** DuckDB's own size of a piece. */
const chunkRows = 2_048
const insertedAtOnce = 5_000

/** Keeps the answers of a part in a file and answers its digest. It is not packed: it is read once more and then removed. */
export async function keepAnswers(
  artifacts: Artifacts,
  duck: Duck,
  { from }: Part,
  { rows, width, outputs, problems }: Answers,
): Promise<string> {
  const names = Array.from({ length: width }, (_, output) => `o${output}`)
  await duck.run(`create or replace temp table answered (${names.map((name) => `${name} float`).join(', ')})`)
  await duck.run('create or replace temp table refused (place integer, problem varchar)')
  await append(duck, 'answered', rows, (at, count) => ({
    types: names.map(() => FLOAT),
    columns: names.map((_, output) =>
      Array.from({ length: count }, (_, row) => outputs[(at + row) * width + output]!),
    ),
  }))
  const said = [...problems]
  await append(duck, 'refused', said.length, (at, count) => ({
    types: [INTEGER, VARCHAR],
    columns: [0, 1].map((column) => said.slice(at, at + count).map((each) => each[column]!)),
  }))
  const draft = await artifacts.draft('.parquet')
  const problem =
    said.length === 0
      ? 'select answered.rowid as place, *, null::varchar as problem from answered'
      : 'select answered.rowid as place, answered.*, problem from answered left join refused on place = answered.rowid'
  await duck.run(`
    copy (select ${from} + place as row, ${names.join(', ')}, problem from (${problem}) order by row)
    to ${literal(draft)} (format parquet, compression uncompressed)`)
  return (await artifacts.take('checkpoints', draft)).digest
}

async function append(
  duck: Duck,
  table: string,
  rows: number,
  pieceOf: (
    at: number,
    count: number,
  ) => { types: (typeof FLOAT | typeof INTEGER | typeof VARCHAR)[]; columns: DuckDBValue[][] },
): Promise<void> {
  const appender: DuckDBAppender = await duck.connection.createAppender(table)
  for (let at = 0; at < rows; at += chunkRows) {
    const count = Math.min(chunkRows, rows - at)
    const { types, columns } = pieceOf(at, count)
    const chunk = DuckDBDataChunk.create(types, count)
    columns.forEach((values, column) => chunk.setColumnValues(column, values))
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
}

/** The whole output appears at once, under its name. */
export async function mergeAnswers(
  artifacts: Artifacts,
  duck: Duck,
  merge: {
    batchDir: string
    target: string
    id: string
    key: readonly string[]
    digests: readonly string[]
    /** The frozen input. */
    path: string
    output: Output
  },
): Promise<void> {
  const { key, output, digests, path } = merge
  const target = join(merge.batchDir, merge.target)
  await mkdir(dirname(target), { recursive: true })
  const partial = `${target}.${merge.id.replaceAll('/', '-')}`
  const paths = await Promise.all(digests.map((digest) => artifacts.locate('checkpoints', digest)))
  const width = output.kind === 'classes' ? output.classes.length : 1
  const names = Array.from({ length: width }, (_, place) => `o${place}`)
  const kept =
    paths.length === 0
      ? `(select null::bigint as row, ${names.map((name) => `null::float as ${name}`).join(', ')}, null::varchar as problem limit 0)`
      : `read_parquet([${paths.map(literal).join(', ')}])`
  // Side by side, in the order of both; were they not of one length and order, an answer would stand beside another's key.
  const rows =
    key.length === 0
      ? `(select * from ${kept})`
      : `(select ${key.map((name) => `asked.${quoted(name)}`).join(', ')},
          answered.* replace (case when answered.row = asked.file_row_number then answered.row else error('the parts of the batch are not in order') end as row)
        from read_parquet(${literal(path)}, file_row_number = true) as asked positional join (select * from ${kept}) as answered)`
  const carried = key.map((name) => `${quoted(name)}, `).join('')
  await duck.run(`
    copy (
      select ${carried}row, case when problem is null then [${names.join(', ')}] end as outputs,
        case when problem is null then ${answerColumn(output, names)} end as answer, problem
      from ${rows}
    ) to ${literal(partial)} (format parquet, compression zstd)`)
  await rename(partial, target)
}

/** What `answerOf` says, in SQL. */
function answerColumn(output: Output, names: readonly string[]): string {
  switch (output.kind) {
    case 'probability':
      return `cast(cast(o0 as double) >= ${output.threshold} as varchar)`
    case 'classes':
      // Of equals the first, as everywhere.
      return `[${output.classes.map(literal).join(', ')}][list_position([${names.join(', ')}], greatest(${names.join(', ')}))]`
    case 'number':
      return 'null::varchar'
  }
}

/** Stores the answers of a part in the table, once. */
export async function insertAnswers(
  store: Store,
  duck: Duck,
  into: { batch: Batch; manifest: Manifest; path: string; part: Part; counted: BatchShard },
  { rows, width, outputs, problems }: Answers,
): Promise<void> {
  const { batch, manifest, path, part, counted } = into
  const keys = await readKeys(duck, path, part, batch.output.key)
  const rowOf = (place: number): BatchRow => {
    const problem = problems.get(place)
    const given = problem === undefined ? [...outputs.subarray(place * width, (place + 1) * width)] : null
    return {
      row: part.from + place,
      key: keys[place] ?? {},
      outputs: given,
      answer: given && answerOf(manifest.output, given),
      problem: problem ?? null,
    }
  }
  await store.transaction(async (database) => {
    if (!(await insertShard(database, batch.id, counted))) return
    for (let at = 0; at < rows; at += insertedAtOnce)
      await insertBatchRows(
        database,
        batch.id,
        Array.from({ length: Math.min(insertedAtOnce, rows - at) }, (_, place) => rowOf(at + place)),
      )
  })
}

async function readKeys(
  duck: Duck,
  path: string,
  { from, to }: Part,
  key: readonly string[],
): Promise<Record<string, Cell>[]> {
  if (key.length === 0) return []
  return duck.rows(`
    select ${key.map(quoted).join(', ')} from read_parquet(${literal(path)}, file_row_number = true)
    where file_row_number >= ${from} and file_row_number < ${to} order by file_row_number`)
}
