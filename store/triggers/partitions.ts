/** Stores which batch scores each partition: one numbered row per attempt, so that no partition is scored twice for one reason. */
import sql from 'sql-template-tag'
import type { PartitionReason } from '../../domain/triggers/partitions.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface BatchPartition {
  model: string
  batch: string
  partition: string
  attempt: number
  id: string
  request: Record<string, unknown>
  reason: PartitionReason
  /** The firing that requested the partition. */
  firing?: string
}

/** Stores an attempt. Returns false if it is already stored. */
export const insertPartition = (database: Database, each: BatchPartition) =>
  rowsFrom(database).any(sql`
    insert into batch_partitions (model, batch, partition, attempt, id, request, reason, firing)
    values (${each.model}, ${each.batch}, ${each.partition}, ${each.attempt}, ${each.id}, ${JSON.stringify(each.request)},
      ${each.reason}, ${each.firing ?? null})
    on conflict do nothing returning id`)

export interface PartitionState {
  partition: string
  attempt: number
  /** Absent until the batch has started. */
  status?: 'running' | 'done' | 'failed'
  message?: string
  version?: string
  /** Whether the version of the batch was rolled back. */
  withdrawn: boolean
  request: Record<string, unknown>
}

/** Returns the last attempt of each partition. */
export const listPartitions = (database: Database, { model, batch }: { model: string; batch: string }) =>
  rowsFrom(database).list<PartitionState>(sql`
    select distinct on (partition) partition, attempt, status, message, version, request,
      coalesce(rolled_back_at is not null, false) as withdrawn
    from batch_partitions left join batches using (id) left join versions using (version)
    where batch_partitions.model = ${model} and batch = ${batch}
    order by partition, attempt desc`)

/** Lists the attempts without a batch, oldest first. */
export const listWaitingPartitions = (
  database: Database,
  { model, limit }: { model: string; limit: number },
) =>
  rowsFrom(database).list<BatchPartition>(sql`
    select model, batch, partition, attempt, id, request, reason from batch_partitions
    where model = ${model} and not exists (select from batches where batches.id = batch_partitions.id)
    order by asked_at, partition limit ${limit}`)

export const findPartition = (database: Database, id: string) =>
  rowsFrom(database).find<BatchPartition>(sql`
    select model, batch, partition, attempt, id, request, reason from batch_partitions where id = ${id}`)

/** Deletes old days with their batches, whose predictions are already deleted. Returns the number of deleted attempts. */
export async function deleteExpiredPartitions(database: Database, keepDays: number): Promise<number> {
  const gone = await database.query(sql`
    with old as (
      delete from batch_partitions where asked_at < now() - make_interval(days => ${keepDays}::integer)
        and (partition !~ '^[0-9]{4}-' or partition < ((now() - make_interval(days => ${keepDays}::integer)) at time zone 'UTC')::date::text)
        and not exists (select from batches where batches.id = batch_partitions.id and status = 'running')
      returning id
    ), batch as (delete from batches using old where batches.id = old.id)
    select from old`)
  return gone.length
}

export interface PartitionActivity {
  model: string
  batch: string
  /** The partition of the newest attempt. */
  partition: string
  askedAt: string
  status?: string
  message?: string
  failed: number
}

export const listPartitionActivity = (database: Database, filter: ModelFilter) =>
  rowsFrom(database).list<PartitionActivity>(sql`
    with last as (
      select distinct on (model, batch, partition) * from batch_partitions where ${ofModels(filter)}
      order by model, batch, partition, attempt desc
    )
    select distinct on (last.model, batch) last.model, batch, partition, asked_at, status, message,
      (count(*) filter (where status = 'failed') over (partition by last.model, batch))::float8 as failed
    from last left join batches using (id) order by last.model, batch, asked_at desc, partition desc`)
