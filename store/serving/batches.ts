/** Stores batch predictions: the request, the scored shards and the version. */
import sql from 'sql-template-tag'
import type { BatchInput, BatchOutput, NotFound } from '../../domain/model/batch-spec.ts'
import * as schema from '../../domain/schema.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

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

export interface BatchShard {
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

const selected = sql`
  select batches.*, versions.rolled_back_at is not null as withdrawn,
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
    where ${ofModels(filter, 'batches.model')} and (not ${withdrawn}::boolean or versions.rolled_back_at is not null)
    group by batches.id, versions.rolled_back_at order by batches.started_at desc limit ${limit}`)
