/**
 * Claims and settles the outbox items for MLflow and OpenLineage. Triggers write the items in the transaction of the change:
 * `trainings_enqueue_*`, `evaluations_enqueue_insert`, `versions_enqueue_*`, `champions_enqueue_change` and `releases_enqueue_*`
 * (migrations/0018_integrations.sql). A lease on each item lets another worker take over after a crash.
 */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export const integrationTargets = ['mlflow', 'openlineage'] as const
export type IntegrationTarget = (typeof integrationTargets)[number]

export interface IntegrationItem {
  id: number
  kind: 'training' | 'version' | 'aliases' | 'event'
  subject: string
  payload: Record<string, unknown>
  revision: number
  attempts: number
  /** The time since the change. */
  ageMs: number
}

/** Keeps storing changes for these integrations for a month from now. */
export async function renewIntegrations(
  database: Database,
  targets: readonly IntegrationTarget[],
): Promise<void> {
  await database.query(sql`
    insert into integrations (target) select unnest(${[...targets]}::text[])
    on conflict (target) do update set renewed_at = now()`)
}

/** Stores an OpenLineage event. Stores nothing when the integration is not configured. */
export async function insertEvent(
  database: Database,
  { subject, payload }: { subject: string; payload: Record<string, unknown> },
): Promise<void> {
  await database.query(sql`
    insert into integration_outbox (target, kind, subject, payload)
    select 'openlineage', 'event', ${subject}::text, ${JSON.stringify(payload)}::jsonb || jsonb_build_object('at', clock_timestamp())
    where is_integration_active('openlineage')`)
}

/** Claims the next due items for `leaseMs`, the oldest first; of each subject only its first item. */
export async function claimIntegrationItems(
  database: Database,
  { target, limit, leaseMs }: { target: IntegrationTarget; limit: number; leaseMs: number },
): Promise<IntegrationItem[]> {
  const rows = await database.query<IntegrationItem>(sql`
    with due as (
      select id from integration_outbox as each
      where target = ${target} and next_at <= clock_timestamp() and not exists (
        select from integration_outbox as earlier
        where earlier.target = each.target and earlier.subject = each.subject and earlier.id < each.id
          and earlier.next_at is not null and earlier.kind = 'event')
      order by id limit ${limit} for update skip locked
    )
    update integration_outbox set next_at = clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond'
    from due where integration_outbox.id = due.id
    returning integration_outbox.id, kind, subject, payload, revision, attempts,
      extract(epoch from clock_timestamp() - at)::float8 * 1000 as "ageMs"`)
  return rows.sort((a, b) => a.id - b.id)
}

/** Marks an item as sent, unless its subject has changed in the meantime; it is then sent again. */
export async function markItemSent(
  database: Database,
  { id, revision }: Pick<IntegrationItem, 'id' | 'revision'>,
): Promise<void> {
  await database.query(sql`
    update integration_outbox set attempts = attempts + 1, problem = null,
      sent_at = case when revision = ${revision} then clock_timestamp() end,
      next_at = case when revision = ${revision} then null else clock_timestamp() end
    where id = ${id}`)
}

/** Schedules the next attempt of an item; without `againMs`, marks it as given up. */
export async function markItemFailed(
  database: Database,
  { id, problem, againMs }: { id: number; problem: string; againMs: number | undefined },
): Promise<void> {
  await database.query(sql`
    update integration_outbox set attempts = attempts + 1, problem = ${problem.slice(0, 500)},
      next_at = clock_timestamp() + ${againMs ?? null}::float8 * interval '1 millisecond',
      given_up_at = case when ${againMs === undefined}::boolean then clock_timestamp() end
    where id = ${id}`)
}

/** Releases claimed items at once, without counting an attempt. */
export async function releaseItems(
  database: Database,
  { ids, againMs }: { ids: readonly number[]; againMs: number },
): Promise<void> {
  await database.query(sql`
    update integration_outbox set next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = any(${[...ids]}::bigint[]) and next_at is not null`)
}

export interface Backlog {
  waiting: number
  /** The age of the oldest waiting item. */
  oldestMs: number
  givenUp: number
}

export async function countBacklog(database: Database, target: IntegrationTarget): Promise<Backlog> {
  const [row] = await database.query<Backlog>(sql`
    select count(*) filter (where next_at is not null) as waiting,
      coalesce(extract(epoch from clock_timestamp() - min(at) filter (where next_at is not null)) * 1000, 0)::float8 as "oldestMs",
      count(*) filter (where given_up_at > now() - interval '1 day') as "givenUp"
    from integration_outbox where target = ${target} and (next_at is not null or given_up_at is not null)`)
  return row!
}
