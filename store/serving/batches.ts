/** Stores batch predictions: the request, the scored shards and the version. */
import sql, { empty, raw, type Sql } from 'sql-template-tag'
import type pg from 'pg'
import { type BatchInput, type BatchOutput, type NotFound, shardRows } from '../../domain/model/batch-spec.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { type Database, databaseOf, rethrow, rethrowWrite, type Store } from '../postgres.ts'
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

export const batchRow = schema.record(
  {
    id: schema.text,
    model: schema.text,
    version: schema.text,
    input: schema.dataOf<BatchInput>(),
    output: schema.dataOf<BatchOutput & { key: readonly string[]; log?: number }>(),
    requestedBy: schema.text,
    status: schema.oneOf('running', 'done', 'failed'),
    startedAt: schema.time,
    /** The rows scored so far, and those that the model cannot read. */
    scored: schema.count,
    refused: schema.count,
    /** Whether the version was rolled back, before or after. */
    withdrawn: schema.flag,
  },
  {
    inputDigest: schema.text,
    rows: schema.count,
    /** The looked-up features that lack a value in some rows; absent when the version looks nothing up. */
    notFound: schema.list<NotFound>(schema.record({ feature: schema.text, rows: schema.count })),
    /** Predictions inside the review band; absent for a model without one. */
    forReview: schema.count,
    message: schema.text,
    endedAt: schema.time,
  },
)
export type Batch = schema.TypeOf<typeof batchRow>

/** Starts a batch, or returns the started one. */
export async function insertBatch(
  database: Database,
  batch: Pick<Batch, 'id' | 'model' | 'version' | 'input' | 'output' | 'requestedBy'>,
): Promise<Batch> {
  await database.query(sql`
    insert into batches (id, model, version, input, output, requested_by)
    values (${batch.id}, ${batch.model}, ${batch.version}, ${JSON.stringify(batch.input)}, ${JSON.stringify(batch.output)},
      ${batch.requestedBy})
    on conflict do nothing`)
  return (await findBatch(database, batch.id))!
}

/** Sets the frozen input of a batch; the first one stays. */
export async function freezeInput(
  database: Database,
  { id, digest, rows, notFound }: { id: string; digest: string; rows: number; notFound?: NotFound[] },
): Promise<void> {
  await database.query(sql`
    update batches set input_digest = ${digest}, rows = ${rows},
      not_found = ${notFound === undefined ? null : JSON.stringify(notFound)}::jsonb
    where id = ${id} and input_digest is null`)
}

interface BatchShard {
  shard: number
  rows: number
  refused: number
  forReview?: number
  digest?: string
}

/** Ordered by shard. */
export const listShards = (database: Database, id: string) =>
  rowsFrom(database).list<BatchShard>(sql`
    select shard, rows, refused, digest from batch_shards
    where batch_id = ${id} order by shard`)

/** Records the end; the first end stays. */
export async function closeBatch(
  database: Database,
  { id, status, message }: { id: string; status: 'done' | 'failed'; message: string },
): Promise<void> {
  await database.query(sql`
    update batches set status = ${status}, message = ${message}, ended_at = now() where id = ${id} and ended_at is null`)
}

/** What the last failed activity of a batch said. */
export const findBatchFailure = (database: Database, id: string) =>
  rowsFrom(database).value<string>(sql`select failure ->> 'message' from batches where id = ${id}`)

const selected = sql`
  select id, batches.model, version, input, output, requested_by, status, started_at, input_digest, batches.rows, not_found,
    message, ended_at, versions.rolled_back_at is not null as withdrawn,
    coalesce(sum(batch_shards.rows), 0)::float8 as scored, coalesce(sum(batch_shards.refused), 0)::float8 as refused,
    sum(batch_shards.for_review)::float8 as for_review
  from batches join versions using (version) left join batch_shards on batch_id = id`

export const findBatch = (database: Database, id: string) =>
  rowsFrom(database).find<Batch>(
    sql`${selected} where id = ${id} group by batches.id, versions.rolled_back_at`,
  )

/** The newest first. With `withdrawn`, only batches scored by rolled-back versions. */
export const listBatches = (
  database: Database,
  { withdrawn = false, limit = 50, ...filter }: ModelFilter & { withdrawn?: boolean; limit?: number },
) =>
  rowsFrom(database).list<Batch>(sql`
    ${selected}
    where ${ofModel(filter, 'batches.model')} and (not ${withdrawn}::boolean or versions.rolled_back_at is not null)
    group by batches.id, versions.rolled_back_at order by batches.started_at desc limit ${limit}`)

// Stores a shard of a batch together with its predictions and its rows of the prediction log, or nothing of them.

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

// Blanks the rows of erased subjects in batches that were written to a table, counts them as refused, and deletes them from the prediction
// log. A batch that runs during an erasure scores rows that were frozen before, and a batch of a past day rows of that day, so their parts
// are blanked when they are stored.

/** The day that a batch scores, by its row of `batch_partitions`; null of a partition that is no day. */
export const scoredDay = `case when partition ~ '^[0-9]{4}-' then left(partition, 10)::timestamp at time zone 'UTC' end`

/**
 * Blanks the rows of a part for erasures that were requested after its batch, or the day that the batch scores, began. Runs in the
 * transaction that stores the part.
 */
async function eraseShardRows(
  client: pg.ClientBase,
  { batch, shard, key }: { batch: string; shard: number; key: string },
): Promise<void> {
  const model = sql`(select model from batches where id = ${batch})`
  const { text, values } = blanking(key, {
    model,
    erasures: sql`erasures.model = ${model}
      and erasures.requested_at + interval '1 minute' > (
        select least(started_at, ${raw(scoredDay)})
        from batches left join batch_partitions using (id) where id = ${batch})`,
    rows: sql`batch_predictions.batch_id = ${batch}
      and batch_predictions.row >= ${shard * shardRows}::bigint and batch_predictions.row < ${(shard + 1) * shardRows}::bigint`,
  })
  await client.query(text, values)
}

/**
 * The statement. Each row is hashed once, however many erasures there are, and the log is searched by ids.
 *
 * `model`: the model of the rows. `also`: further parts of the statement, which may read the ids of the requests in `gone`. `counts`: those
 * of an erasure before its rows of batches are added.
 */
export function blanking(
  key: string,
  {
    model,
    erasures,
    rows,
    also,
    counts = sql`counts`,
  }: Record<'model' | 'erasures' | 'rows', Sql> & { also?: Sql; counts?: Sql },
): Sql {
  const hasNumbers = sql`(select coalesce(bool_or(is_number), false) from erasing)`
  const isErased = (text: Sql) => sql`subject_hash_of(${key}, ${text}) in (select subject_hash from erasing)`
  return sql`
  with erasing as materialized (
    select id, subject_hash, is_number from erasures where ${erasures}
  ), hit as materialized (
    select batch_id, row, subject_hashes_of(${key}, subject, ${hasNumbers}) as hashes, problem is null as answered,
      coalesce(review, false) as for_review, prediction_id, started_at
    from (
      select batch_predictions.*, started_at, key ->> (select definition ->> 'subject' from models where name = ${model}) as subject
      from batches join batch_predictions on batch_id = batches.id
      -- The offset keeps Postgres from reading the key once for each use of the subject.
      where batches.model = ${model} and key is not null and ${rows} offset 0) as keyed
    -- Within a case, Postgres looks the hash up in a table; as a join, it would hash each row for each erasure.
    where case when subject is not null then ${isErased(sql`subject`)}
      or ${hasNumbers} and canonical_number(subject) <> subject and ${isErased(sql`canonical_number(subject)`)} end
  ), named as materialized (
    select distinct on (batch_id, row) id, hit.* from hit join erasing on subject_hash = any(hashes)
  ), blanked as (
    update batch_predictions set key = null, outputs = null, answer = null, review = null, prediction_id = null, problem = 'erased'
    from named where batch_predictions.batch_id = named.batch_id and batch_predictions.row = named.row and ${rows}
  ), gone as (
    -- The log has the time of the start in milliseconds.
    delete from predictions
    where id = any(array(select prediction_id from named where prediction_id is not null))
      and at > (select min(started_at) from named) - interval '1 millisecond' and at <= (select max(started_at) from named)
    returning predictions.id
  )${also === undefined ? empty : sql`, ${also}`}, recounted as (
    update batch_shards set refused = batch_shards.refused + part.refused, for_review = batch_shards.for_review - part.for_review
    from (
      select batch_id, row / ${shardRows}::bigint as shard, count(*) filter (where answered) as refused,
        count(*) filter (where for_review) as for_review
      from named group by 1, 2) as part
    where batch_shards.batch_id = part.batch_id and batch_shards.shard = part.shard
  )
  update erasures set counts = ${counts} || jsonb_build_object('batch_rows',
    coalesce((counts ->> 'batch_rows')::bigint, 0) + (select count(*) from named where named.id = erasures.id))
  where id in (select id from erasing)`
}
