/**
 * Stores each firing of a trigger. A firing waits until a retraining or a partition of a batch references it, so no second row records its
 * start.
 */
import sql from 'sql-template-tag'
import type { FiredBatch } from '../../domain/triggers/partitions.ts'
import type { TriggerFiring } from '../../domain/triggers/trigger.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** Stores a firing. Returns false if it is already stored. */
export async function insertFiring(database: Database, firing: TriggerFiring): Promise<boolean> {
  const { id, model, trigger, batch, message, evidence, requestedBy, overrides } = firing
  return rowsFrom(database).any(sql`
    insert into trigger_firings (id, model, trigger, batch, message, evidence, requested_by, overrides)
    values (${id}, ${model}, ${trigger}, ${batch ?? null}, ${message}, ${JSON.stringify(evidence)}, ${requestedBy ?? null},
      ${overrides === undefined ? null : JSON.stringify(overrides)})
    on conflict do nothing returning id`)
}

const firing = sql`id, model, trigger, batch, message, evidence, requested_by, overrides`
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
export const listTriggerActivity = (database: Database, filter: ModelFilter) =>
  rowsFrom(database).list<TriggerActivity>(sql`
    with last as (
      select distinct on (model, trigger) * from trigger_firings where ${ofModels(filter)}
      order by model, trigger, fired_at desc, id
    ), position as (select * from trigger_positions where ${ofModels(filter)}
    ), unreadable as (
      select model, evidence ->> 'trigger' as trigger, evidence ->> 'problem' as unread from alerts
      where kind = 'trigger_unreadable' and resolved_at is null and ${ofModels(filter)}
    )
    select coalesce(position.model, last.model, unreadable.model) as model, trigger, since, looked_at,
      coalesce(problem, unread) as problem, fired_at, last.message, refused, retrainings.id as retraining,
      batch_partitions.id as scoring, coalesce(outcome, batches.status) as outcome
    from position full join last using (model, trigger) full join unreadable using (model, trigger)
      left join retrainings on retrainings.dedupe_key = last.id and outcome is distinct from 'throttled'
      left join batch_partitions on batch_partitions.firing = last.id
      left join batches on batches.id = batch_partitions.id`)
