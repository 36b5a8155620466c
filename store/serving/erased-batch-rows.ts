/**
 * Blanks the rows of erased subjects in batches that were written to a table, counts them as refused, and deletes them from the prediction log.
 * A batch that runs during an erasure scores rows that were frozen before, and a batch of a past day rows of that day, so their parts are blanked
 * when they are stored.
 */
import type pg from 'pg'
import sql, { empty, raw, type Sql } from 'sql-template-tag'
import { shardRows } from '../../domain/model/batch-spec.ts'

/** The day that a batch scores, by its row of `batch_partitions`; null of a partition that is no day. */
export const scoredDay = `case when partition ~ '^[0-9]{4}-' then left(partition, 10)::timestamp at time zone 'UTC' end`

/**
 * Blanks the rows of a part for erasures that were requested after its batch, or the day that the batch scores, began. Runs in the
 * transaction that stores the part.
 */
export async function eraseShardRows(
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
