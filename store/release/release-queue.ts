/**
 * The releases that wait for their turn: one a model. The row is the queue; whoever brings the waiting one to its start may die
 * and be started again, and finds it here.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { maxQueueMs, type Preemption } from '../../domain/release/queue-policy.ts'
import type { Database } from '../postgres.ts'

export type WaitingState = 'waiting' | 'started' | 'superseded' | 'expired' | 'refused'

export interface WaitingRelease {
  /** `wait_…` */
  id: string
  model: string
  version: string
  requestedBy: string
  hotfixReason?: string
  policy?: ReleasePolicy
  over: Preemption
  state: WaitingState
  /** Why it ended as it did. */
  message: string
  releaseId?: string
  at: string
  /** When it is given up. */
  until: string
  endedAt?: string
}

export type NewWaiting = Pick<
  WaitingRelease,
  'model' | 'version' | 'requestedBy' | 'hotfixReason' | 'policy' | 'over'
> & { id?: `wait_${string}` }

/** Takes the place in the queue; an older one that waits is superseded. The same request twice waits once. */
export async function insertWaiting(
  database: Database,
  wanted: NewWaiting,
  waitMs = maxQueueMs,
): Promise<WaitingRelease> {
  const { model, version, requestedBy, hotfixReason, policy, over } = wanted
  const { id = `wait_${randomUUID().replaceAll('-', '')}` } = wanted
  await database.query(sql`select pg_advisory_xact_lock(hashtext('waiting'), hashtext(${model}))`)
  const now = await findWaiting(database, model)
  if (now?.version === version && now.requestedBy === requestedBy && now.hotfixReason === hotfixReason)
    return now
  await database.query(sql`
    update waiting_releases set state = 'superseded', ended_at = clock_timestamp(),
      message = ${`${version}, asked for by ${requestedBy}, waits in its place`}
    where model = ${model} and state = 'waiting'`)
  const [row] = await database.query<RawWaiting>(sql`
    insert into waiting_releases (id, model, version, requested_by, hotfix_reason, policy, over, until)
    values (${id}, ${model}, ${version}, ${requestedBy}, ${hotfixReason ?? null},
      ${policy === undefined ? null : JSON.stringify(policy)}, ${over},
      clock_timestamp() + ${waitMs}::float8 * interval '1 millisecond')
    returning *`)
  return toWaiting(row!)
}

/** The one that waits; given up first when its time has passed. */
export async function findWaiting(database: Database, model: string): Promise<WaitingRelease | undefined> {
  await database.query(sql`
    update waiting_releases set state = 'expired', ended_at = clock_timestamp(), message = 'its turn did not come in time'
    where model = ${model} and state = 'waiting' and until <= clock_timestamp()`)
  const [row] = await database.query<RawWaiting>(
    sql`select * from waiting_releases where model = ${model} and state = 'waiting'`,
  )
  return row && toWaiting(row)
}

/** Absent when none of this id has ever waited. */
export async function findPlace(database: Database, id: string): Promise<WaitingRelease | undefined> {
  const [row] = await database.query<RawWaiting>(sql`select * from waiting_releases where id = ${id}`)
  return row && toWaiting(row)
}

/** Writes how the waiting ended. False when it had ended before. */
export async function endWaiting(
  database: Database,
  {
    id,
    state,
    message,
    releaseId,
  }: Pick<WaitingRelease, 'id' | 'state' | 'message'> & { releaseId?: string },
): Promise<boolean> {
  const rows = await database.query(sql`
    update waiting_releases set state = ${state}, message = ${message}, release_id = ${releaseId ?? null},
      ended_at = clock_timestamp()
    where id = ${id} and state = 'waiting' returning id`)
  return rows.length > 0
}

/**
 * A release that had its turn and was then not opened: what it waited for came to nothing, and says why. It may be known before
 * it is written that its turn has come, which then is not written any more.
 */
export async function rejectQueued(
  database: Database,
  { releaseId, turn, message }: { releaseId: string; turn?: string | undefined; message: string },
): Promise<void> {
  await database.query(sql`
    update waiting_releases set state = 'refused', message = ${message}, release_id = ${releaseId},
      ended_at = coalesce(ended_at, clock_timestamp())
    where (release_id = ${releaseId} and state = 'started') or (id = ${turn ?? null} and state = 'waiting')`)
}

/** The newest first. */
export async function listWaiting(
  database: Database,
  {
    models,
    model,
    open,
    limit = 50,
  }: {
    /** None but of these; of all when absent. */
    models?: readonly string[]
    model?: string
    open?: boolean
    limit?: number
  },
): Promise<WaitingRelease[]> {
  const rows = await database.query<RawWaiting>(sql`
    select * from waiting_releases
    where (${models ?? null}::text[] is null or model = any(${models ?? null}::text[]))
      and (${model ?? null}::text is null or model = ${model ?? null})
      and (${open ?? null}::boolean is null or (state = 'waiting') = ${open ?? null})
    order by at desc limit ${limit}`)
  return rows.map(toWaiting)
}

interface RawWaiting {
  id: string
  model: string
  version: string
  requested_by: string
  hotfix_reason: string | null
  policy: ReleasePolicy | null
  over: Preemption
  state: WaitingState
  message: string
  release_id: string | null
  at: Date
  until: Date
  ended_at: Date | null
}

const toWaiting = (row: RawWaiting): WaitingRelease => ({
  id: row.id,
  model: row.model,
  version: row.version,
  requestedBy: row.requested_by,
  ...(row.hotfix_reason === null ? {} : { hotfixReason: row.hotfix_reason }),
  ...(row.policy === null ? {} : { policy: row.policy }),
  over: row.over,
  state: row.state,
  message: row.message,
  ...(row.release_id === null ? {} : { releaseId: row.release_id }),
  at: row.at.toISOString(),
  until: row.until.toISOString(),
  ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
})
