/** Stores a shard of a batch together with its predictions and its rows of the prediction log, or nothing of them. */
import type pg from 'pg'
import sql from 'sql-template-tag'
import type { Batch, BatchShard } from './batches.ts'
import { eraseShardRows } from './erased-batch-rows.ts'
import { writeFeatureCounts, type FeatureCounts } from './feature-counts.ts'
import {
  encodeOrigin,
  encodePrediction,
  insertPredictions,
  sizeOf,
  type ErasureFilter,
} from './prediction-log.ts'
import { copyIn } from '../database/binary-copy.ts'
import { isReadOnly } from '../outage.ts'
import { databaseOf, rethrow, rethrowWrite, type Store } from '../postgres.ts'

export interface BatchRow {
  /** The index of the row in the input. */
  row: number
  key: Record<string, unknown>
  outputs: number[] | null
  /** The text of the decision; null for a number, which needs none. */
  answer: string | null
  /** Whether a person must review it; null without a prediction or a band. */
  review: boolean | null
  problem: string | null
  /** Its sixteen bytes; absent for a row that is not in the prediction log. */
  predictionId?: Uint8Array | undefined
}

const float4Oid = 700
/** The version byte of a binary jsonb value. */
const jsonVersion = 1

/** A row of the prediction log: a request of one instance at the start of the batch. */
export interface LoggedBatchRow {
  /** Sixteen bytes. */
  id: Uint8Array
  routingKey: string | undefined
  features: Uint8Array
  outputs: Float32Array
}

export interface LoggedBatchRows {
  rows: readonly LoggedBatchRow[]
  counts: readonly FeatureCounts[]
}

export interface StoredShard {
  batch: Pick<Batch, 'id' | 'model' | 'version' | 'startedAt'>
  /** The secret that hashes erased subjects. */
  subjectKey: string
  shard: BatchShard
  /** For the table; absent for a batch that writes a file. */
  rows?: readonly BatchRow[]
  /** For the prediction log, with their counts for drift. */
  logged?: LoggedBatchRows | undefined
  /** Undefined for nothing to filter. Called in the transaction, so that no erasure is missed. */
  findErasureFilter: () => Promise<ErasureFilter | undefined>
}

/** Stores a shard with its rows, without what belongs to erased subjects. False when the shard is already stored. */
export async function storeShard(store: Store, stored: StoredShard): Promise<boolean> {
  const client = await store.pool.connect().catch(rethrow)
  const { batch, shard: each, rows = [], logged, subjectKey } = stored
  let broken: Error | undefined
  try {
    await client.query('begin')
    const { text, values } = sql`
      insert into batch_shards (batch_id, shard, rows, refused, for_review, digest)
      values (${batch.id}, ${each.shard}, ${each.rows}, ${each.refused}, ${each.forReview ?? null}, ${each.digest ?? null})
      on conflict do nothing returning shard`
    const { rowCount } = await client.query(text, values)
    if (rowCount === 0) return false
    const statement =
      'copy batch_predictions (batch_id, row, key, outputs, answer, review, problem, prediction_id) from stdin (format binary)'
    for (let at = 0; at < rows.length; at += rowBatchSize)
      await copyIn(client, statement, [encoded(batch.id, rows.slice(at, at + rowBatchSize))])
    if (logged !== undefined) await storeLogged(client, stored, logged)
    if (rows.length > 0) await eraseShardRows(client, { batch: batch.id, shard: each.shard, key: subjectKey })
    await client.query('commit')
    return true
  } catch (error) {
    if (isReadOnly(error)) broken = error
    return rethrowWrite(error)
  } finally {
    // After a commit, Postgres reports that there is nothing to roll back.
    await client.query('rollback').catch((failure: Error) => (broken = failure))
    client.release(broken)
  }
}

const rowBatchSize = 20_000

/** The counts stay when a row is erased: they name no person. */
async function storeLogged(
  client: pg.ClientBase,
  { batch, shard: { shard }, findErasureFilter }: StoredShard,
  { rows, counts }: LoggedBatchRows,
): Promise<void> {
  const { id, model, version, startedAt } = batch
  const origin = encodeOrigin({ model, version, arm: 'batch', release: undefined, generation: 0 })
  const atMs = Date.parse(startedAt)
  const erasureFilter = await findErasureFilter()
  for (let at = 0; at < rows.length; at += rowBatchSize) {
    const tuples = rows.slice(at, at + rowBatchSize).map((row) => loggedTuple(origin, atMs, row))
    if (at > 0) await client.query('drop table arrived')
    await insertPredictions(client, tuples, erasureFilter)
  }
  await writeFeatureCounts(databaseOf(client), { replica: `batch:${id}:${shard}`, rows: counts })
}

const noBytes = new Uint8Array()

function loggedTuple(origin: Uint8Array, atMs: number, row: LoggedBatchRow): Uint8Array {
  const { id, routingKey, features, outputs } = row
  const record = {
    id,
    atMs,
    routingKey,
    instances: 1,
    numbers: features,
    numberBytes: features.byteLength,
    texts: noBytes,
    textBytes: 0,
    outputs,
    outputCount: outputs.length,
    latencyUs: 0,
    keyId: undefined,
    reference: undefined,
  }
  const tuple = Buffer.allocUnsafe(sizeOf(origin, record))
  return tuple.subarray(0, encodePrediction(tuple, 0, origin, record))
}

function encoded(id: string, rows: readonly BatchRow[]): Buffer {
  const name = Buffer.from(id)
  const parts: Uint8Array[] = []
  for (const { row, key, outputs, answer, review, problem, predictionId } of rows) {
    const head = Buffer.alloc(2)
    head.writeInt16BE(8)
    const place = Buffer.alloc(8)
    place.writeBigInt64BE(BigInt(row))
    parts.push(head, ...field(name), ...field(place), ...field(json(key)))
    parts.push(...field(outputs === null ? null : floats(outputs)))
    parts.push(
      ...field(answer === null ? null : json(answer)),
      ...field(review === null ? null : Buffer.from([Number(review)])),
      ...field(problem === null ? null : Buffer.from(problem)),
      ...field(predictionId ?? null),
    )
  }
  return Buffer.concat(parts)
}

function field(bytes: Uint8Array | null): Uint8Array[] {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes?.byteLength ?? -1)
  return bytes === null ? [length] : [length, bytes]
}

const json = (value: unknown): Buffer =>
  Buffer.concat([Buffer.from([jsonVersion]), Buffer.from(JSON.stringify(value))])

/** real[] of one dimension: dimensions, has-null flag, element type, size, lower bound, then each with its length. */
function floats(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(20 + values.length * 8)
  for (const [place, value] of [1, 0, float4Oid, values.length, 1].entries())
    bytes.writeInt32BE(value, place * 4)
  values.forEach((value, index) => {
    bytes.writeInt32BE(4, 20 + index * 8)
    bytes.writeFloatBE(value, 24 + index * 8)
  })
  return bytes
}
