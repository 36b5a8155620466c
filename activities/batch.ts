/**
 * Answers many rows by the version that is champion when the batch begins. The input is frozen first and answered part by
 * part; each part is written down once, so that a kill costs one part of work and doubles or loses no row.
 */
import { FLOAT, LIST, listValue, type DuckDBAppender } from '@duckdb/node-api'
import { mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { answerOf, issuesOfBatch, shardRows, type BatchSpec } from '../domain/batch.ts'
import { DomainError } from '../domain/errors.ts'
import type { Cell, Table } from '../domain/expectations.ts'
import type { Manifest } from '../domain/manifest.ts'
import { quoted } from '../models/define/query.ts'
import {
  closeBatch as close,
  findBatch,
  freezeInput,
  insertBatch,
  insertBatchRows,
  insertShard,
  listShards,
  type Batch,
  type BatchRow,
} from '../store/batches.ts'
import { findChampion } from '../store/champions.ts'
import { getVersion } from '../store/versions.ts'
import type { Deps } from './deps.ts'
import { literal, withDuck, type Duck } from './duckdb.ts'
import { withHeartbeat, type Beat } from './heartbeat.ts'
import { loadKnown } from './known.ts'
import { startScorer, type Piece, type Scored, type Scorer } from './scoring-child.ts'

export interface OpenBatchInput extends BatchSpec {
  id: string
  requestedBy: string
}

/** Binds the batch to the champion of this moment. Throws `no_champion`, or `invalid_request` with every issue. */
export const openBatch =
  ({ store, log, config }: Deps) =>
  async ({
    id,
    model,
    requestedBy,
    key,
    input,
    output,
  }: OpenBatchInput): Promise<{ version: string; trainQueue: string }> => {
    const issues = issuesOfBatch({ input, output, key })
    if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
    const champion = await findChampion(store, model)
    if (champion === undefined) throw new DomainError('no_champion', `${model} has no champion yet`)
    const { version } = await insertBatch(store, {
      id,
      model,
      version: champion.version,
      input,
      output: { ...output, key },
      requestedBy,
    })
    log.info({ batch: id, model, version, requestedBy }, 'batch begun')
    return { version, trainQueue: config.taskQueues.train }
  }

export interface ScoreResult {
  rows: number
  refused: number
  /** Parts that an earlier attempt had done. */
  resumed: number
  rowsPerSecond: number
}

export const scoreBatch =
  (deps: Deps) =>
  ({ id }: { id: string }): Promise<ScoreResult> =>
    withHeartbeat((beat) => withDuck((duck) => score(deps, { duck, beat, id })))

interface Run {
  duck: Duck
  beat: Beat
  id: string
}

async function score(deps: Deps, { duck, beat, id }: Run): Promise<ScoreResult> {
  const { store, artifacts, config, log } = deps
  const batch = await findBatch(store, id)
  if (batch === undefined) throw new DomainError('not_found', `there is no batch ${id}`)
  const { manifest, artifactDigest } = await getVersion(store, batch.version)
  const { path, rows } = await freeze(deps, { duck, batch, manifest })
  const done = await listShards(store, id)
  const began = performance.now()
  const missing = missingShards(
    rows,
    done.map(({ shard }) => shard),
  )
  const scorer = startScorer([config.artifactRoot, artifactDigest, batch.version], beat.signal)
  try {
    for (const shard of missing) {
      const part = { shard, from: shard * shardRows, to: Math.min(rows, (shard + 1) * shardRows) }
      const counted = await scorePart(deps, { duck, batch, manifest, path, scorer, beat }, part)
      log.info({ batch: id, ...part, ...counted }, 'part of a batch answered')
    }
  } finally {
    await scorer.close().catch(() => {})
  }
  const shards = await listShards(store, id)
  if (batch.output.kind === 'file') await merge(deps, duck, { batch, shards })
  const seconds = (performance.now() - began) / 1_000
  const fresh = rows - done.reduce((sum, shard) => sum + shard.rows, 0)
  const refused = shards.reduce((sum, shard) => sum + shard.refused, 0)
  const result = { rows, refused, resumed: done.length, rowsPerSecond: Math.round(fresh / seconds) }
  await close(store, { id, status: 'done', message: messageOf(result) })
  // What was kept to go on from is in the output now.
  for (const { digest } of shards) if (digest !== undefined) await artifacts.remove('checkpoints', digest)
  return result
}

const messageOf = ({ rows, refused, rowsPerSecond }: ScoreResult): string =>
  `${rows} rows, ${refused} of them refused, ${rowsPerSecond} rows/s`

function missingShards(rows: number, done: readonly number[]): number[] {
  const all = Array.from({ length: Math.ceil(rows / shardRows) }, (_, shard) => shard)
  return all.filter((shard) => !done.includes(shard))
}

/** Writes the input down once, so that every attempt answers the same rows. Throws `invalid_request` for one that lacks columns. */
async function freeze(
  { store, artifacts, config }: Deps,
  { duck, batch, manifest }: { duck: Duck; batch: Batch; manifest: Manifest },
): Promise<{ path: string; rows: number }> {
  if (batch.inputDigest !== undefined && batch.rows !== undefined)
    return { path: await artifacts.locate('snapshots', batch.inputDigest), rows: batch.rows }
  const { input } = batch
  if (input.kind === 'sql')
    await loadKnown(duck, { known: input.query, views: [], rows: '' }, { postgres: store })
  else {
    const file = literal(join(config.batchDir, input.path))
    const from = input.path.endsWith('.csv') ? `read_csv(${file})` : `read_parquet(${file})`
    await duck.run(`create temp view known as select * from ${from}`).catch(refuseInput(input.path))
  }
  await checkColumns(duck, { manifest, key: batch.output.key })
  const draft = await artifacts.draft('.parquet')
  await duck
    .run(`copy (select * from known) to ${literal(draft)} (format parquet, compression zstd)`)
    .catch(refuseInput(input.kind === 'file' ? input.path : 'the query'))
  const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from ${literal(draft)}`)
  const rows = counted?.n ?? 0
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
  const described = await duck.rows<{ column_name: string; column_type: string }>('describe known')
  const types = new Map(described.map(({ column_name, column_type }) => [column_name, column_type]))
  const absent = [...Object.keys(manifest.features), ...key].filter((name) => !types.has(name))
  const issues = absent.map((name) => `there is no column ${JSON.stringify(name)}`)
  for (const [name, { kind }] of Object.entries(manifest.features)) {
    const type = types.get(name)
    if (kind === 'number' && type !== undefined && !numeric.test(type))
      issues.push(`${JSON.stringify(name)} is a ${type}, a number is wanted`)
  }
  if (issues.length > 0)
    throw new DomainError('invalid_request', `the input does not fit: ${issues.join('; ')}`, { issues })
}

interface Part {
  shard: number
  from: number
  to: number
}

/** Rows handed over at once: some ten milliseconds of work, so that reading and answering overlap. */
const pieceRows = 5_000

async function scorePart(
  { store, artifacts }: Deps,
  run: { duck: Duck; batch: Batch; manifest: Manifest; path: string; scorer: Scorer; beat: Beat },
  { shard, from, to }: Part,
): Promise<{ refused: number }> {
  const { duck, batch, manifest, path, scorer, beat } = run
  const features = Object.entries(manifest.features).map(
    ([name, { kind }]) =>
      `cast(${quoted(name)} as ${kind === 'number' ? 'double' : 'varchar'}) as ${quoted(name)}`,
  )
  const rows = `(select * from read_parquet(${literal(path)}, file_row_number = true)
    where file_row_number >= ${from} and file_row_number < ${to})`
  const table = await duck.table(`select ${features.join(', ')} from ${rows} order by file_row_number`)
  const scored = await Promise.all(
    piecesOf(table.columns, to - from).map(async (piece) => {
      const answer = await scorer.score(piece)
      beat.check()
      return answer
    }),
  )
  const answers = scored.flatMap((each) => answersOf(each, manifest))
  const refused = answers.filter(({ problem }) => problem !== null).length
  const counted = { shard, rows: answers.length, refused }
  if (batch.output.kind === 'table') {
    const keys = await readKeys(duck, rows, batch.output.key)
    const rowsOut = answers.map((answer, index): BatchRow => ({
      row: from + index,
      key: keys[index] ?? {},
      ...answer,
    }))
    await store.transaction(async (database) => {
      if (!(await insertShard(database, batch.id, counted))) return
      for (let at = 0; at < rowsOut.length; at += pieceRows)
        await insertBatchRows(database, batch.id, rowsOut.slice(at, at + pieceRows))
    })
    return { refused }
  }
  await appendAnswers(duck, answers, from)
  const draft = await artifacts.draft('.parquet')
  const key = batch.output.key.map((name) => `asked.${quoted(name)}, `).join('')
  await duck.run(`
    copy (select ${key}answered.* from answered join ${rows} as asked on asked.file_row_number = answered.row order by row)
    to ${literal(draft)} (format parquet, compression zstd)`)
  const { digest } = await artifacts.take('checkpoints', draft)
  await insertShard(store, batch.id, { ...counted, digest })
  return { refused }
}

function piecesOf(columns: Table['columns'], rows: number): Piece[] {
  const pieces: Piece[] = []
  for (let at = 0; at < rows; at += pieceRows) {
    const cut = (cells: ArrayLike<Cell>) =>
      Array.from({ length: Math.min(pieceRows, rows - at) }, (_, row) => sendable(cells[at + row] ?? null))
    pieces.push({
      rows: Math.min(pieceRows, rows - at),
      columns: Object.fromEntries(Object.entries(columns).map(([name, cells]) => [name, cut(cells)])),
    })
  }
  return pieces
}

/** JSON would make null of a number that is not finite, which many a model fills in; as a text it is refused. */
function sendable(cell: Cell): number | string | null {
  if (typeof cell === 'number') return Number.isFinite(cell) ? cell : String(cell)
  return typeof cell === 'boolean' ? Number(cell) : cell
}

interface Answered {
  outputs: number[] | null
  answer: string | null
  problem: string | null
}

function answersOf({ width, outputs, problems }: Scored, { output }: Manifest): Answered[] {
  return Array.from({ length: outputs.length / width }, (_, row) => {
    const problem = problems[row]
    if (problem !== undefined) return { outputs: null, answer: null, problem }
    const given = outputs.slice(row * width, (row + 1) * width)
    return { outputs: given.map((value) => value ?? NaN), answer: answerOf(output, given), problem: null }
  })
}

async function appendAnswers(duck: Duck, answers: readonly Answered[], from: number): Promise<void> {
  await duck.run(
    'create or replace temp table answered (row bigint, outputs float[], answer varchar, problem varchar)',
  )
  const appender = await duck.connection.createAppender('answered')
  answers.forEach(({ outputs, answer, problem }, index) => {
    appender.appendBigInt(BigInt(from + index))
    if (outputs === null) appender.appendNull()
    else appender.appendList(listValue(outputs), LIST(FLOAT))
    appendText(appender, answer)
    appendText(appender, problem)
    appender.endRow()
  })
  appender.closeSync()
}

function appendText(appender: DuckDBAppender, text: string | null): void {
  if (text === null) appender.appendNull()
  else appender.appendVarchar(text)
}

async function readKeys(duck: Duck, rows: string, key: readonly string[]): Promise<Record<string, Cell>[]> {
  if (key.length === 0) return []
  return duck.rows(`select ${key.map(quoted).join(', ')} from ${rows} order by file_row_number`)
}

/** The whole output appears at once, under its name. */
async function merge(
  { artifacts, config }: Deps,
  duck: Duck,
  { batch, shards }: { batch: Batch; shards: readonly { digest?: string }[] },
): Promise<void> {
  if (batch.output.kind !== 'file') return
  const target = join(config.batchDir, batch.output.path)
  await mkdir(dirname(target), { recursive: true })
  const paths = await Promise.all(shards.map(({ digest }) => artifacts.locate('checkpoints', digest ?? '')))
  const partial = `${target}.${batch.id.replaceAll('/', '-')}`
  const from =
    paths.length === 0
      ? '(select null::bigint as row limit 0)'
      : `read_parquet([${paths.map(literal).join(', ')}])`
  await duck.run(`copy (select * from ${from}) to ${literal(partial)} (format parquet, compression zstd)`)
  await rename(partial, target)
}

/** Writes down that it came to nothing. */
export const failBatch =
  ({ store, log }: Deps) =>
  async ({ id, message }: { id: string; message: string }): Promise<void> => {
    await close(store, { id, status: 'failed', message })
    log.warn({ batch: id }, `batch failed: ${message}`)
  }
