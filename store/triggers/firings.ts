/**
 * Stores each firing of a trigger. A firing waits until a retraining or a partition of a batch references it, so no second row records its
 * start.
 */
import sql from 'sql-template-tag'
import type { FiredBatch, PartitionReason } from '../../domain/triggers/partitions.ts'
import type { TriggerFiring, TriggerDefinition } from '../../domain/triggers/trigger.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** Stores a firing. Returns false if it is already stored. */
export async function insertFiring(database: Database, firing: TriggerFiring): Promise<boolean> {
  const { id, model, trigger, batch, message, evidence, requestedBy, overrides, compression } = firing
  return rowsFrom(database).any(sql`
    insert into trigger_firings (id, model, trigger, batch, message, evidence, requested_by, overrides, compression)
    values (${id}, ${model}, ${trigger}, ${batch ?? null}, ${message}, ${JSON.stringify(evidence)}, ${requestedBy ?? null},
      ${overrides === undefined ? null : JSON.stringify(overrides)},
      ${compression === undefined ? null : JSON.stringify(compression)})
    on conflict do nothing returning id`)
}

const firing = sql`id, model, trigger, batch, message, evidence, requested_by, overrides, compression`
const waits = sql`refused is null and not exists (select from retrainings where dedupe_key = trigger_firings.id)`

/** Lists the firings that have not started a retraining yet, oldest first. */
export const listWaitingFirings = (database: Database, model: string) =>
  rowsFrom(database).list<TriggerFiring>(sql`
    select ${firing} from trigger_firings where model = ${model} and batch is null and ${waits}
    order by fired_at, id limit 100`)

/** Lists the firings of these batches that have not requested a partition yet, oldest first. */
export const listWaitingBatchFirings = (
  database: Database,
  { model, batches }: { model: string; batches: readonly string[] },
) =>
  rowsFrom(database).list<FiredBatch>(sql`
    select ${firing}, fired_at from trigger_firings
    where model = ${model} and batch = any (${batches}) and refused is null
      and not exists (select from batch_partitions where firing = trigger_firings.id)
    order by fired_at, id limit 1000`)

/** Lists the last firing of each batch. */
export const listLastBatchFirings = (database: Database, model: string) =>
  rowsFrom(database).list<{ batch: string; firedAt: string }>(sql`
    select batch, max(fired_at) as fired_at from trigger_firings where model = ${model} and batch is not null group by batch`)

export const findFiring = (database: Database, id: string) =>
  rowsFrom(database).find<TriggerFiring>(sql`select ${firing} from trigger_firings where id = ${id}`)

/** Marks a firing as refused, so that it never starts anything. */
export async function refuseFiring(
  database: Database,
  { id, refused }: { id: string; refused: string },
): Promise<void> {
  await database.query(
    sql`update trigger_firings set refused = ${refused} where id = ${id} and refused is null`,
  )
}

/** The last activity of a trigger. */
export interface TriggerActivity {
  model: string
  trigger: string
  since?: string
  lookedAt?: string
  problem?: string
  firedAt?: string
  message?: string
  refused?: string
  /** The retraining that the last firing started. */
  retraining?: string
  /** The batch that the last firing started. */
  scoring?: string
  outcome?: string
}

/**
 * Lists the activity of every trigger that has polled, fired, or could never look, including triggers that no model file declares any more.
 */
export const listTriggerActivity = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<TriggerActivity>(sql`
    with last as (
      select distinct on (model, trigger) * from trigger_firings where model = any(${models}::text[])
      order by model, trigger, fired_at desc, id
    ), position as (select * from trigger_positions where model = any(${models}::text[])
    ), unreadable as (
      select model, evidence ->> 'trigger' as trigger, evidence ->> 'problem' as unread from alerts
      where kind = 'trigger_unreadable' and resolved_at is null and model = any(${models}::text[])
    )
    select coalesce(position.model, last.model, unreadable.model) as model, trigger, since, looked_at,
      coalesce(problem, unread) as problem, fired_at, last.message, refused, retrainings.id as retraining,
      batch_partitions.id as scoring, coalesce(outcome, batches.status) as outcome
    from position full join last using (model, trigger) full join unreadable using (model, trigger)
      left join retrainings on retrainings.dedupe_key = last.id and outcome is distinct from 'throttled'
      left join batch_partitions on batch_partitions.firing = last.id
      left join batches on batches.id = batch_partitions.id`)

// Stores the position of each trigger. A trigger fires in the transaction that moves its position, so that it fires exactly once.

export interface TriggerPosition {
  model: string
  trigger: string
  definition: TriggerDefinition
  seen: unknown
  /** ISO 8601. Data from before this time does not count. */
  since: string
  lookedAt: string
  problem?: string
}

export const listPositions = (database: Database, model: string) =>
  rowsFrom(database).list<TriggerPosition>(sql`select * from trigger_positions where model = ${model}`)

/** Starts a trigger at the current position. Of two concurrent polls, the first one counts. */
export async function startPosition(
  database: Database,
  { model, definition, seen }: { model: string; definition: TriggerDefinition; seen: unknown },
): Promise<void> {
  await database.query(sql`
    insert into trigger_positions (model, trigger, definition, seen)
    values (${model}, ${definition.name}, ${JSON.stringify(definition)}, ${JSON.stringify(seen)})
    on conflict (model, trigger) do update
    set definition = excluded.definition, seen = excluded.seen, since = now(), looked_at = now(), problem = null
    where trigger_positions.definition <> excluded.definition`)
}

/** Moves a position from its previous value. Returns false if another poll has moved it meanwhile. */
export const movePosition = (
  database: Database,
  { model, trigger, from, to }: { model: string; trigger: string; from: unknown; to: unknown },
) =>
  rowsFrom(database).any(sql`
    update trigger_positions set seen = ${JSON.stringify(to)}, looked_at = now(), problem = null
    where model = ${model} and trigger = ${trigger} and seen = ${JSON.stringify(from)}::jsonb returning model`)

/** Records that a poll failed; the position stays. */
export async function recordProblem(
  database: Database,
  { model, trigger, problem }: { model: string; trigger: string; problem: string },
): Promise<void> {
  await database.query(sql`
    update trigger_positions set problem = ${problem}, looked_at = now()
    where model = ${model} and trigger = ${trigger}`)
}

// Stores which batch scores each partition: one numbered row per attempt, so that no partition is scored twice for one reason.

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

export const listPartitionActivity = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<PartitionActivity>(sql`
    with last as (
      select distinct on (model, batch, partition) * from batch_partitions where model = any(${models}::text[])
      order by model, batch, partition, attempt desc
    )
    select distinct on (last.model, batch) last.model, batch, partition, asked_at, status, message,
      (count(*) filter (where status = 'failed') over (partition by last.model, batch))::float8 as failed
    from last left join batches using (id) order by last.model, batch, asked_at desc, partition desc`)
