/**
 * Claims and settles the outbox items for MLflow and OpenLineage. Triggers write the items in the transaction of the change:
 * `trainings_enqueue_*`, `evaluations_enqueue_insert`, `versions_enqueue_*`, `champions_enqueue_change` and `releases_enqueue_*`
 * (migrations/0018_integrations.sql). A lease on each item lets another worker take over after a crash.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import sql from 'sql-template-tag'
import type { Database, Store } from '../postgres.ts'
import type { VersionStatus } from '../../domain/registry/version-query.ts'
import { findStatus, findVersion, type Version } from '../registry/versions.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { LoggedArm } from '../../domain/serving/route.ts'

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

// Reads a version, or the aliases of a model, as the integrations send them, at the time of sending.

export type VersionPayload = Pick<Version, 'version' | 'model' | 'artifactDigest' | 'trainingId'> & {
  status: VersionStatus
  snapshot?: string
}

export async function findVersionPayload(
  database: Database,
  name: string,
): Promise<VersionPayload | undefined> {
  const found = await findVersion(database, name)
  const { status } = (found && (await findStatus(database, name))) ?? {}
  if (found === undefined || status === undefined) return undefined
  const { version, model, artifactDigest, trainingId, lineage } = found
  return { version, model, status, artifactDigest, trainingId, snapshot: lineage.snapshot }
}

/** The champion and the candidate of an open release, except those of drills. */
export async function findAliases(
  database: Database,
  model: string,
): Promise<{ champion?: string; challenger?: string }> {
  const found = await rowsFrom(database).find<{ champion?: string; challenger?: string }>(sql`
    select (select version from champions where model = ${model}) as champion, (
      select releases.version from releases join versions on versions.version = releases.version
      where releases.model = ${model} and releases.ended_at is null and not drill
        and releases.version not in (select version from champions)
      limit 1) as challenger`)
  return found ?? {}
}

// Stores which alert events have been sent to a topic: an alert is raised, possibly acknowledged, and resolved.

/** An event of an alert. */
export interface AlertEvent extends Alert {
  about: 'raised' | 'acknowledged' | 'resolved'
  happenedAt: string
}

/** The unsent events of alerts after `after`, the earliest first. */
export const listUnsentAlerts = (
  database: Database,
  { topic, after, limit }: { topic: string; after: number; limit: number },
) =>
  rowsFrom(database).list<AlertEvent>(sql`
    select alerts.*, events.about, events.happened_at
    from alerts cross join lateral (values (1, 'raised', raised_at), (2, 'acknowledged', acknowledged_at),
      (3, 'resolved', resolved_at)) as events (place, about, happened_at)
    where alerts.id > ${after} and events.happened_at is not null and not exists (
      select from sent_alerts where topic = ${topic} and alert_id = alerts.id and about = events.about)
    order by events.happened_at, alerts.id, events.place limit ${limit}`)

export async function markAlertsSent(
  database: Database,
  topic: string,
  events: readonly Pick<AlertEvent, 'id' | 'about'>[],
): Promise<void> {
  const ids = events.map(({ id }) => id)
  const abouts = events.map(({ about }) => about)
  await database.query(sql`
    insert into sent_alerts (topic, alert_id, about)
    select ${topic}, id, about from unnest(${ids}::bigint[], ${abouts}::text[]) as sent (id, about)`)
}

/**
 * Deletes the progress of alerts whose events are all sent, and returns the last of these alerts. Alerts of the last hour stay, because a
 * smaller id may be committed after a greater one.
 */
export async function settleSentAlerts(
  database: Database,
  { topic, after }: { topic: string; after: number },
): Promise<number> {
  const last = await rowsFrom(database).value<number>(sql`
    select coalesce(min(id) filter (where raised_at > now() - interval '1 hour' or not exists (
      select from sent_alerts where topic = ${topic} and alert_id = alerts.id and about = 'resolved')) - 1, max(id), ${after})
    from alerts where id > ${after}`)
  await database.query(sql`delete from sent_alerts where topic = ${topic} and alert_id <= ${last ?? after}`)
  return last ?? after
}

// Stores how far the prediction log has been sent to a topic: in the order of the transactions that stored the rows, each row at least
// once.

/** A row of the prediction log: a request with its response. */
export interface LoggedRequest {
  id: string
  /** ISO 8601 */
  at: string
  model: string
  version: string
  arm: LoggedArm
  releaseId?: string
  generation: number
  routingKey?: string
  instances: number
  features: Buffer
  outputs: number[]
  latencyUs: number
  keyId?: string
  reference?: string
}

/** With the exact time of Postgres: rounded to milliseconds it would lie before the row, which would be sent again. */
type SentRow = LoggedRequest & { storedIn: number; exactAt: string }

/** Every transaction with a smaller id has ended. */
const horizon = sql`txid_snapshot_xmin(txid_current_snapshot()) + (select ahead from prediction_numbering)`

/** The maximum number of rows of a batch, and the number of feature bytes after which a batch ends. */
const maxRows = 500
const maxBytes = 2_097_152

/**
 * Sends the next rows of the log and advances the position. Returns the number of rows; undefined while another process sends. A failure
 * keeps the position, so rows are sent again rather than lost. A new topic begins with the rows numbered from now on.
 */
export function sendPredictions(
  store: Store,
  topic: string,
  send: (rows: readonly LoggedRequest[], database: Database) => Promise<void>,
): Promise<number | undefined> {
  return store.transaction(async (database) => {
    if (!(await rowsFrom(database).any(sql`select from prediction_topics where topic = ${topic}`))) {
      await numberPredictions(database)
      await database.query(sql`
        insert into prediction_topics (topic, begins_after, stored_in)
        select ${topic}, ${horizon} - 1, ${horizon} - 1 on conflict do nothing`)
      return 0
    }
    const place = await rowsFrom(database).find<Place>(sql`
      select stored_in, at::text, id, begins_at from prediction_topics where topic = ${topic} for update skip locked`)
    if (place === undefined) return undefined
    const rows = await listUnsent(database, place)
    const last = rows.at(-1)
    if (last === undefined) return 0
    await send(rows, database)
    await database.query(sql`
      update prediction_topics set stored_in = ${last.storedIn}, at = ${last.exactAt}, id = ${last.id}, sent = sent + ${rows.length}
      where topic = ${topic}`)
    return rows.length
  })
}

interface Place {
  storedIn: number
  at: string
  id: string
  beginsAt: string
}

/** Rows after a position whose transactions have all ended, so that no earlier row can still appear. */
const listUnsent = (database: Database, { storedIn, at, id, beginsAt }: Place) =>
  rowsFrom(database).list<SentRow>(sql`
    select stored_in, at::text as exact_at, id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us, key_id, reference
    from (
      select *, sum(octet_length(features)) over run as bytes, row_number() over run as place from predictions
      where stored_in >= ${storedIn} and at >= ${beginsAt}
        and (stored_in, at, id) > (${storedIn}::bigint, ${at}::timestamptz, ${id}::uuid)
        and stored_in < ${horizon}
      window run as (order by stored_in, at, id rows unbounded preceding)
      limit ${maxRows}
    ) as next where place = 1 or bytes <= ${maxBytes}
    order by stored_in, at, id`)

/** Starts to number rows; also called in a restored database, before a row is stored in it. */
export async function numberPredictions(database: Database): Promise<void> {
  await database.query(sql`select number_predictions()`)
}

/** Renumbers a restored database whose log was sent to a topic before. */
export async function renumberPredictions(database: Database): Promise<void> {
  if (await rowsFrom(database).any(sql`select from prediction_topics limit 1`))
    await numberPredictions(database)
}

/** Version → the order of the features of its rows. */
export async function listFits(
  database: Database,
  versions: readonly string[],
): Promise<Map<string, FeatureFit[]>> {
  const found = await database.query<{ version: string; fits: FeatureFit[] }>(sql`
    select version, manifest -> 'preprocessing' as fits from versions where version = any (${versions})`)
  return new Map(found.map(({ version, fits }) => [version, fits]))
}

/** The number of rows that wait to be sent, counted up to `most`. */
export const countUnsent = async (database: Database, topic: string, most: number): Promise<number> =>
  (await rowsFrom(database).value<number>(sql`
    select count(*) from (
      select from predictions cross join (select * from prediction_topics where topic = ${topic}) as sent
      where predictions.stored_in >= sent.stored_in and predictions.at >= sent.begins_at
        and (predictions.stored_in, predictions.at, predictions.id) > (sent.stored_in, sent.at, sent.id)
      limit ${most}) as waiting`)) ?? 0
