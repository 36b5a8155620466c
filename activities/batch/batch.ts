/**
 * Scores the rows of a batch with the version that is champion at its start. The input is frozen and each part is recorded once, so a
 * crash repeats at most one part.
 */
import { outputWidth } from '@tenure/predictors/features'
import { join, dirname } from 'node:path'
import { mkdir, rename } from 'node:fs/promises'
import {
  batchKey,
  issuesOfBatch,
  batchLayoutOf,
  shardRows,
  notFoundText,
  type NotFound,
  type ShardRange,
  predictedText,
} from '../../domain/model/batch-spec.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { compileReview } from '../../domain/review/band.ts'
import { DomainError } from '../../domain/errors.ts'
import { getManifest, type Artifacts } from '../../store/artifacts.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import {
  closeBatch as close,
  findBatch,
  findBatchFailure,
  insertBatch,
  listShards,
  type Batch,
  storeShard,
  type BatchRow,
} from '../../store/serving/batches.ts'
import { findPartition } from '../../store/triggers/firings.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { noChampion } from '../../store/release/first-release.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { requireKeyOfErasures } from '../../store/privacy/erased-subjects.ts'
import { findErasureFilter } from '../../store/privacy/erasures.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import { logRows, type LoggedPart } from './log-rows.ts'
import { readColumns } from './read-columns.ts'
import { freezeBatch } from './freeze-input.ts'
import { keepAnswers, type Answers } from './write-answers.ts'
import { explainRefused } from './explain-refusals.ts'
import type { BatchStart } from '../../domain/starts.ts'
import type { BatchRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { takeStart } from '../runtime/take-start.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { recordingFailure } from '../runtime/of-run.ts'
import { startScorer, type ScoredColumns } from '../runtime/scoring-child.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { readKeys } from './read-keys.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

/** Binds the batch to the present champion. Throws `no_champion`, or `invalid_request` with every issue. */
export const openBatch =
  (deps: Deps) =>
  async (request: BatchRequest): Promise<{ id: string; version: string; trainQueue: string }> => {
    const { store, log, config } = deps
    const { id, model, requestedBy, key, log: logged, input, output } = await readBatchOrder(store, request)
    const issues = issuesOfBatch({ input, output, key, log: logged })
    if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
    const champion = await findChampion(store, model)
    if (champion === undefined) throw await noChampion(store, model)
    const wanted = {
      id,
      model,
      version: champion.version,
      input,
      output: { ...output, key, log: logged },
      requestedBy,
    }
    const { version } = await store.transaction(async (database) => {
      const started = await findBatch(database, id)
      if (started !== undefined) return started
      await appendAudit(database, {
        actor: requestedBy,
        action: 'batch.started',
        subject: id,
        model,
        detail: { version: wanted.version, input: input.kind, output: output.kind },
      })
      return insertBatch(database, wanted)
    })
    log.info({ batch: id, model, version, requestedBy }, 'batch begun')
    return { id, version, trainQueue: config.taskQueues.train }
  }

/** Reads what asks for the batch: a partition of a batch of the model file, or the command of a user. Throws `forbidden`. */
async function readBatchOrder(
  store: Deps['store'],
  { model, order }: BatchRequest,
): Promise<BatchStart & { requestedBy: string }> {
  const partition = typeof order === 'string' ? await findPartition(store, order) : undefined
  if (partition?.model === model) return partition.request as unknown as BatchStart & { requestedBy: string }
  return takeStart(store, { kind: 'batchPredict', order, subject: model })
}

export interface ScoreResult {
  rows: number
  refused: number
  /** The number of parts that an earlier attempt recorded. */
  resumed: number
  rowsPerSecond: number
  /** The looked-up features for which nothing was found in some rows. */
  notFound?: NotFound[]
}

export const scoreBatch =
  (deps: Deps) =>
  ({ id }: { id: string }): Promise<ScoreResult> =>
    withHeartbeat((beat) =>
      recordingFailure(deps, { id, failed: false }, () =>
        // Two connections, because a streamed result occupies the connection that reads it.
        withDuck((reader) => withDuck((writer) => score(deps, { reader, writer, beat, id }))),
      ),
    )

interface Run {
  reader: Duck
  writer: Duck
  beat: Beat
  id: string
}

/** Requests in flight to the scoring process: enough to keep it busy, few enough to fit in memory. */
const maxPieces = 8

async function score(deps: Deps, { reader, writer, beat, id }: Run): Promise<ScoreResult> {
  const { store, artifacts, config, log } = deps
  const batch = await findBatch(store, id)
  if (batch === undefined) throw new DomainError('not_found', `no batch has the id ${id}`)
  // The parts of a finished batch are deleted, and another batch may have written to the same output since.
  if (batch.status === 'done') return resultOfDone(store, batch)
  if (batch.status === 'failed') throw new DomainError('forbidden', `the batch ${id} has ended`)
  const { artifactDigest } = await getVersion(store, batch.version)
  const manifest = await getManifest(artifacts, artifactDigest)
  const { subject } = (await getModel(store, batch.model)).definition
  const subjectKey = await openSubjectKey(config.signing.subjectKey)
  await requireKeyOfErasures(store, { model: batch.model, subjectKey })
  const began = performance.now()
  await bringCopies(artifacts, { artifacts: [artifactDigest] })
  const scorer = startScorer([config.artifactRoot, artifactDigest, batch.version], beat.signal)
  try {
    const { path, rows, notFound } = await freezeBatch(deps, reader, { batch, manifest, subjectKey })
    const done = await listShards(store, id)
    const layout = batchLayoutOf(manifest.features, manifest.preprocessing)
    const end = async (part: ShardRange, pieces: Promise<ScoredColumns>[]): Promise<void> => {
      const answers = joined(await Promise.all(pieces), part.to - part.from)
      await explainRefused(writer, { path, manifest, scorer, part }, answers)
      const refused = answers.problems.size
      const forReview = countForReview(manifest.output, answers)
      const shard = { shard: part.shard, rows: part.to - part.from, refused, forReview }
      const logged = await logRows(writer, { batch, manifest, subject, path, part, rows }, answers)
      const stored = {
        batch,
        subjectKey: subjectKey.key,
        shard,
        logged,
        findErasureFilter: () => findErasureFilter(store, subjectKey, id),
      }
      if (batch.output.kind === 'table')
        await storeShard(store, {
          ...stored,
          rows: await tableRows(writer, { batch, manifest, path, part, logged }, answers),
        })
      else {
        const kept = { batch: id, from: part.from, logged: logged !== undefined }
        const digest = await keepAnswers(artifacts, writer, kept, answers)
        await storeShard(store, { ...stored, shard: { ...shard, digest } })
      }
      log.info({ batch: id, ...part, refused }, 'part of a batch scored')
    }
    // One part is recorded while the next one is scored.
    let ending = Promise.resolve()
    let part: ShardRange | undefined
    let pieces: Promise<ScoredColumns>[] = []
    const columns = readColumns(reader, { path, layout, parts: missingParts(rows, done) })
    for await (const piece of columns) {
      if (part?.shard !== piece.part.shard) [part, pieces] = [piece.part, []]
      const answer = scorer.scoreColumns(piece.rows, piece.parts)
      // The failure surfaces where the promise is awaited; until then it must not count as unhandled.
      answer.catch(() => {})
      pieces.push(answer)
      await pieces.at(-maxPieces)
      beat.check()
      if (piece.to < part.to) continue
      await ending
      ending = end(part, pieces)
      ending.catch(() => {})
    }
    await ending
    return await finish(deps, writer, {
      batch,
      path,
      rows,
      notFound,
      resumed: done,
      began,
      output: manifest.output,
    })
  } finally {
    await scorer.close().catch(() => {})
  }
}

/** The result that an earlier attempt recorded. */
async function resultOfDone(
  store: Deps['store'],
  { id, rows = 0, refused, notFound, startedAt, endedAt = startedAt }: Batch,
): Promise<ScoreResult> {
  const seconds = Math.max(1, Date.parse(endedAt) - Date.parse(startedAt)) / 1_000
  const resumed = (await listShards(store, id)).length
  return { rows, refused, resumed, rowsPerSecond: Math.round(rows / seconds), notFound }
}

/** The parts that no earlier attempt has recorded. */
function missingParts(rows: number, done: readonly { shard: number }[]): ShardRange[] {
  const all = Array.from({ length: Math.ceil(rows / shardRows) }, (_, shard) => ({
    shard,
    from: shard * shardRows,
    to: Math.min(rows, (shard + 1) * shardRows),
  }))
  return all.filter(({ shard }) => !done.some((each) => each.shard === shard))
}

function joined(pieces: readonly ScoredColumns[], rows: number): Answers {
  const width = pieces[0]?.width ?? 1
  const answers: Answers = {
    rows,
    width,
    outputs: new Float32Array(rows * width),
    refused: new Uint8Array(rows),
    problems: new Map(),
  }
  let at = 0
  for (const { outputs, refused, problems } of pieces) {
    answers.outputs.set(outputs, at * width)
    answers.refused.set(refused, at)
    for (const [row, problem] of Object.entries(problems)) answers.problems.set(at + Number(row), problem)
    at += refused.length
  }
  return answers
}

/** Undefined for a model without a band. */
function countForReview(output: Output, { rows, outputs, problems }: Answers): number | undefined {
  const isForReview = compileReview(output)
  if (isForReview === undefined) return undefined
  let count = 0
  for (let row = 0; row < rows; row++) if (!problems.has(row) && isForReview(outputs, row)) count++
  return count
}

async function finish(
  { store, artifacts, config }: Deps,
  writer: Duck,
  run: {
    batch: Batch
    path: string
    rows: number
    notFound?: NotFound[]
    resumed: readonly { rows: number }[]
    began: number
    output: Output
  },
): Promise<ScoreResult> {
  const { batch, path, rows, notFound, resumed, began, output } = run
  const shards = await listShards(store, batch.id)
  if (batch.output.kind === 'file') {
    const target = join(config.batchDir, batch.output.path)
    await mergeAnswers(artifacts, writer, {
      target,
      id: batch.id,
      key: batch.output.key,
      logged: (batch.output.log ?? 0) > 0,
      digests: shards.map(({ digest }) => digest ?? ''),
      path,
      output,
    })
    await artifacts.objects?.put(batchKey(batch.output.path), { path: target })
  }
  const seconds = (performance.now() - began) / 1_000
  const fresh = rows - resumed.reduce((sum, shard) => sum + shard.rows, 0)
  const refused = shards.reduce((sum, shard) => sum + shard.refused, 0)
  const rowsPerSecond = Math.round(fresh / seconds)
  const message = `${rows} rows, ${refused} of them refused, ${rowsPerSecond} rows/s${notFoundText(notFound)}`
  await close(store, { id: batch.id, status: 'done', message })
  // The output is complete, so the recorded parts are removed.
  for (const { digest } of shards) if (digest !== undefined) await artifacts.remove('checkpoints', digest)
  return { rows, refused, resumed: resumed.length, rowsPerSecond, notFound }
}

/** Records the end with what the last failed activity of the batch said. */
export const failBatch =
  ({ store, log }: Deps) =>
  async ({
    id,
    isCancelled = false,
  }: {
    id: string
    isCancelled?: boolean
  }): Promise<{ message: string }> => {
    const message = isCancelled
      ? 'the batch was cancelled'
      : ((await findBatchFailure(store, id)) ??
        "its worker was lost or took too long; Temporal's history of the run has the details")
    await close(store, { id, status: 'failed', message })
    log.warn({ batch: id }, `batch failed: ${message}`)
    return { message }
  }

// Merges the parts of a batch into one file, with each prediction beside the key of its row.

/** Writes the output to a draft and renames it once, so that readers never see a partial file. */
async function mergeAnswers(
  artifacts: Artifacts,
  duck: Duck,
  merge: {
    target: string
    id: string
    key: readonly string[]
    /** Whether rows are in the prediction log. */
    logged: boolean
    digests: readonly string[]
    /** The frozen input. */
    path: string
    output: Output
  },
): Promise<void> {
  const { key, logged, output, digests, path, target } = merge
  await mkdir(dirname(target), { recursive: true })
  const partial = `${target}.${merge.id.replaceAll('/', '-')}`
  const paths = await Promise.all(digests.map((digest) => artifacts.locate('checkpoints', digest)))
  const width = outputWidth(output)
  const names = Array.from({ length: width }, (_, place) => `o${place}`)
  const id = logged ? ', null::varchar as prediction_id' : ''
  const answersSql =
    paths.length === 0
      ? `(select null::bigint as row, ${names.map((name) => `null::float as ${name}`).join(', ')}, null::varchar as problem${id} limit 0)`
      : `read_parquet([${paths.map(textLiteral).join(', ')}])`
  // Joins by position; the query fails when the parts differ in length or order, because predictions would stand beside wrong keys.
  const rows =
    key.length === 0
      ? `(select * from ${answersSql})`
      : `(select ${key.map((name) => `asked.${quotedIdentifier(name)}`).join(', ')},
          answered.* replace (case when answered.row = asked.file_row_number then answered.row else error('the parts of the batch are not in order') end as row)
        from read_parquet(${textLiteral(path)}, file_row_number = true) as asked positional join (select * from ${answersSql}) as answered)`
  const carried = key.map((name) => `${quotedIdentifier(name)}, `).join('')
  await duck.run(`
    copy (
      select ${carried}row, case when problem is null then [${names.join(', ')}] end as outputs,
        case when problem is null then ${answerColumn(output, names)} end as answer, ${reviewColumn(output, names)}problem${logged ? ', prediction_id' : ''}
      from ${rows}
    ) to ${textLiteral(partial)} (format parquet, compression zstd)`)
  await rename(partial, target)
}

/** `predictedText` as SQL. */
const answerColumn = (output: Output, names: readonly string[]): string =>
  taskOf(output).decides?.sql(output, names) ?? 'null::varchar'

/** `compileReview` as SQL, followed by a comma; empty for a model without a band. */
function reviewColumn(output: Output, names: readonly string[]): string {
  const isForReview = taskOf(output).decides?.reviewSql(output, names)
  return isForReview === undefined ? '' : `case when problem is null then ${isForReview} end as review, `
}

// Lists the predictions of a part with their keys, for the table `batch_predictions`.

async function tableRows(
  duck: Duck,
  of: { batch: Batch; manifest: Manifest; path: string; part: ShardRange; logged: LoggedPart | undefined },
  { rows, width, outputs, problems }: Answers,
): Promise<BatchRow[]> {
  const { batch, manifest, path, part, logged } = of
  const keys = await readKeys(duck, path, batch.output.key, part)
  const isForReview = compileReview(manifest.output)
  return Array.from({ length: rows }, (_, place): BatchRow => {
    const problem = problems.get(place)
    const given = problem === undefined ? [...outputs.subarray(place * width, (place + 1) * width)] : null
    return {
      row: part.from + place,
      key: keys[place] ?? {},
      outputs: given,
      answer: given && predictedText(manifest.output, given),
      review: given && (isForReview?.(given, 0) ?? null),
      problem: problem ?? null,
      predictionId: logged?.ids.get(place),
    }
  })
}
