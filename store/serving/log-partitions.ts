/**
 * Creates and drops the daily partitions of the prediction log and deletes expired rows. Every step is one repeatable statement, so that a
 * crash only leaves rows longer than needed.
 */
import sql, { raw, type Sql } from 'sql-template-tag'
import type { Database } from '../postgres.ts'

/** Creates the missing partitions of today and the next days. Returns the number created. */
export async function createPartitions(database: Database, ahead: number): Promise<number> {
  let made = 0
  for (let days = 0; days <= ahead; days++) {
    const [row] = await database.query<{ made: boolean }>(
      sql`select make_prediction_day((now() at time zone 'UTC')::date + ${days}::integer) as made`,
    )
    if (row?.made === true) made++
  }
  return made
}

/** Drops the days of the log that ended more than `keepDays` ago. Returns their names. */
export async function dropPartitions(database: Database, keepDays: number): Promise<string[]> {
  const dropped: string[] = []
  for (;;) {
    const [row] = await database.query<{ day: string | null }>(
      sql`select drop_prediction_day(now() - make_interval(days => ${keepDays}::integer)) as day`,
    )
    if (typeof row?.day !== 'string') return dropped
    dropped.push(row.day)
  }
}

/** Other tables that grow with every request or judged window, with the condition for an expired row. */
const forgettable = {
  // Rows of days that had no partition when they arrived.
  predictions_default: sql`at < before`,
  // Outcomes and reviews of deleted predictions. Ids chosen by callers contain no time.
  outcomes: sql`case when prediction_time(prediction_id) is null then arrived_at < before else prediction_id < first_id_at(before) end`,
  reviews: sql`case when prediction_time(prediction_id) is null then reviewed_at < before else prediction_id < first_id_at(before) end`,
  events: sql`arrived_at < before`,
  shadow_pairs: sql`at < before`,
  failed_requests: sql`at < before`,
  // The judge of an open release reads the counters since its start. They name no request, unlike pairs and events.
  tick_counters: sql`tick < before and release_id not in (select id from releases where ended_at is null)`,
  feature_counts: sql`hour < before`,
  prediction_log_accounts: sql`settled_at < before`,
  drift_judgements: sql`at < before`,
  quality_judgements: sql`at < before`,
  serving_judgements: sql`at < before`,
  monitor_windows: sql`at < before`,
  integration_outbox: sql`at < before`,
  command_outbox: sql`recorded_at < before and next_at is null`,
  erased_requests: sql`erased_at < before`,
  // The last firing of each trigger stays, and so does one that has not started anything yet.
  trigger_firings: sql`fired_at < before
    and (refused is not null or batch is not null or exists (select from retrainings where dedupe_key = old.id))
    and exists (select from trigger_firings as later
      where later.model = old.model and later.trigger = old.trigger and later.fired_at > old.fired_at)`,
  // Deleted before their batches, because they reference them.
  batch_predictions: sql`batch_id in (select id from batch_partitions join batches using (id)
    where asked_at < before and (partition !~ '^[0-9]{4}-' or partition < (before at time zone 'UTC')::date::text) and status <> 'running')`,
} satisfies Record<string, Sql>

export type ExpiringTable = keyof typeof forgettable

/** Deletes at most `limit` rows older than `keepDays`. Returns the number deleted. Small batches do not block writers. */
export async function deleteExpiredRows(
  database: Database,
  { table, keepDays, limit = 5_000 }: { table: ExpiringTable; keepDays: number; limit?: number },
): Promise<number> {
  const rows = await database.query(sql`
    with bound as materialized (select now() - make_interval(days => ${keepDays}::integer) as before)
    delete from ${raw(table)} where ctid = any(array(
      select old.ctid from ${raw(table)} as old, bound where ${forgettable[table]} limit ${limit}))
    returning 1`)
  return rows.length
}
