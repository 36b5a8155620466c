/** Stores the queued release of each model. The row is the queue, so that a queue workflow that restarts finds its entry. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import {
  issueOfReplacing,
  maxQueueMs,
  queuePolicy,
  type Preemption,
} from '../../domain/release/queue-policy.ts'
import { readNow } from '../database/clock.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'
import { getModel } from '../registry/models.ts'
import { findOpenRelease } from './releases.ts'

export type QueueState = 'waiting' | 'started' | 'superseded' | 'expired' | 'refused'

export interface QueuedRelease {
  /** `que_…` */
  id: string
  model: string
  version: string
  requestedBy: string
  hotfixReason?: string
  policy?: ReleasePolicy
  preemption: Preemption
  state: QueueState
  /** Why it ended. */
  message: string
  releaseId?: string
  at: string
  /** The time at which it expires. */
  until: string
  endedAt?: string
}

export type NewQueuedRelease = Pick<
  QueuedRelease,
  'model' | 'version' | 'requestedBy' | 'hotfixReason' | 'policy' | 'preemption'
> & { id?: `que_${string}` }

/** The entry of the version that a retraining has registered: one entry, also when the activity that inserts it is repeated. */
export const queuedIdOf = (retraining: string): `que_${string}` =>
  `que_${retraining.split('/').at(-1)!.replaceAll('-', '')}`

/** Keeps other transactions from changing the queue of a model until the end of this one. */
async function lockQueue(database: Database, model: string): Promise<void> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('waiting'), hashtext(${model}))`)
}

/**
 * Queues a release and returns it with the older queued one that it has replaced. A repeated request is queued once. Throws
 * `release_in_progress` when it may not replace the older one.
 */
export async function insertQueued(
  database: Database,
  requested: NewQueuedRelease,
  waitMs = maxQueueMs,
): Promise<QueuedRelease & { replaced?: QueuedRelease }> {
  const { model, version, requestedBy, hotfixReason, policy, preemption: over } = requested
  const { id = `que_${randomUUID().replaceAll('-', '')}` } = requested
  await lockQueue(database, model)
  const now = await findQueued(database, model)
  if (now?.version === version && now.requestedBy === requestedBy && now.hotfixReason === hotfixReason)
    return now
  const issue = now && issueOfReplacing(now, requested)
  if (issue !== undefined) throw new DomainError('release_in_progress', `${version} cannot queue: ${issue}`)
  await database.query(sql`
    update release_queue set state = 'superseded', ended_at = clock_timestamp(),
      message = ${`${version}, asked for by ${requestedBy}, waits in its place`}
    where model = ${model} and state = 'waiting'`)
  const [row] = await database.query(sql`
    insert into release_queue (id, model, version, requested_by, hotfix_reason, policy, preemption, until)
    values (${id}, ${model}, ${version}, ${requestedBy}, ${hotfixReason ?? null},
      ${policy === undefined ? null : JSON.stringify(policy)}, ${over},
      clock_timestamp() + ${waitMs}::float8 * interval '1 millisecond')
    returning *`)
  return { ...fromRow<QueuedRelease>(row!), replaced: now }
}

/** Returns the queued release, after expiring one whose time has passed, of which an alert tells. */
export async function findQueued(database: Database, model: string): Promise<QueuedRelease | undefined> {
  const expired = await rowsFrom(database).list<QueuedRelease>(sql`
    update release_queue set state = 'expired', ended_at = clock_timestamp(), message = 'its turn did not come in time'
    where model = ${model} and state = 'waiting' and until <= clock_timestamp() returning *`)
  for (const { id, version, requestedBy } of expired)
    await upsertAlert(database, {
      dedupeKey: `release-queue/${id}`,
      model,
      kind: 'release_expired',
      severity: 'warning',
      message: `${version}, which ${requestedBy} had released, expired in the queue: its turn did not come in time`,
      evidence: { version, queued: id },
    })
  return rowsFrom(database).find<QueuedRelease>(
    sql`select * from release_queue where model = ${model} and state = 'waiting'`,
  )
}

/** Returns undefined if no entry has this id. */
export const findQueueEntry = (database: Database, id: string) =>
  rowsFrom(database).find<QueuedRelease>(sql`select * from release_queue where id = ${id}`)

/** Records the end of a queue entry. Returns false if it had already ended. */
export const endQueued = (
  database: Database,
  { id, state, message, releaseId }: Pick<QueuedRelease, 'id' | 'state' | 'message'> & { releaseId?: string },
) =>
  rowsFrom(database).any(sql`
    update release_queue set state = ${state}, message = ${message}, release_id = ${releaseId ?? null},
      ended_at = clock_timestamp()
    where id = ${id} and state = 'waiting' returning id`)

/**
 * Rejects the entry of a release that was not opened, with the reason. The rejection may arrive before the entry is marked as started,
 * which is then not written.
 */
export async function rejectQueued(
  database: Database,
  { releaseId, turn, message }: { releaseId: string; turn?: string | undefined; message: string },
): Promise<void> {
  await database.query(sql`
    update release_queue set state = 'refused', message = ${message}, release_id = ${releaseId},
      ended_at = coalesce(ended_at, clock_timestamp())
    where (release_id = ${releaseId} and state = 'started') or (id = ${turn ?? null} and state = 'waiting')`)
}

/** Lists the entries, newest first. */
export const listQueued = (
  database: Database,
  { open, limit = 50, ...filter }: ModelFilter & { open?: boolean; limit?: number },
) =>
  rowsFrom(database).list<QueuedRelease>(sql`
    select * from release_queue
    where ${ofModel(filter)} and (${open ?? null}::boolean is null or (state = 'waiting') = ${open ?? null})
    order by at desc limit ${limit}`)

/** A version that is released for longer no longer keeps a model from being retrained. */
const awaitedMs = 7 * 86_400_000

/**
 * The version of the open release of a model that the release of a retraining would wait for, and that may soon be champion: not one that is
 * drilled, paused, awaits approval, or has been released for a week.
 */
export async function findReleaseToAwait(database: Database, model: string): Promise<string | undefined> {
  const open = await findOpenRelease(database, model)
  if (open === undefined) return undefined
  const { drill, paused, stage, version } = open.state
  if (drill !== undefined || paused || stage === 'awaiting_approval') return undefined
  if ((await readNow(database)) - Date.parse(open.startedAt) > awaitedMs) return undefined
  const { release: policy } = (await getModel(database, model)).definition
  return queuePolicy({ policy, byPerson: false, hotfix: false }) === 'exposed' ? undefined : version
}
