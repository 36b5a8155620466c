/**
 * Stores what users ask for: one row for each command, written with its audit row. The row is the authority; a workflow is started with
 * the id of a row, and its first activity reads from the row what to do.
 */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import type { Role, StartBasis, StartType } from '../domain/roles.ts'
import type { StartInputs } from '../domain/starts.ts'
import { appendAudit } from './audit/audit-log.ts'
import { rowsFrom } from './database/from-row.ts'
import type { Database, Store } from './postgres.ts'
import { toCommand, type OutboxCommand } from './release/command-outbox.ts'

/** How long a start may wait for a worker after it was sent to Temporal. */
const startMinutes = 15

export interface NewStart<Kind extends StartType = StartType> {
  /** `cmd_…` */
  id: string
  kind: Kind
  /** The key that sends it. */
  by: { id: string; name: string; role: Role }
  reason?: string
  input: StartInputs[Kind]
}

/** The id of the command of a request; the same for its repetition. */
export function commandIdOf(request: string): `cmd_${string}` {
  const id = request.replaceAll('-', '')
  const isId = /^[0-9a-f]{32}$/.test(id)
  return `cmd_${isId ? id : createHash('sha256').update(request).digest('hex').slice(0, 32)}`
}

/**
 * Stores a start with its audit row. A repetition is the same row: until it has opened its run, it may do so for a while from now, on the
 * basis of now.
 */
export async function insertStart(
  database: Database,
  { id, kind, by, reason, input }: NewStart,
): Promise<void> {
  // A feature view belongs to no model.
  const { model, version, view }: { model?: string; version?: string; view?: string } = input
  const basis = JSON.stringify(await readStartBasis(database, { model, version }))
  const isNew = await rowsFrom(database).any(sql`
    insert into commands (id, kind, model, actor, key_id, role, reason, input, basis, until)
    values (${id}, ${kind}, ${model ?? null}, ${by.name}, ${by.id}, ${by.role}, ${reason ?? null}, ${JSON.stringify(input)},
      ${basis}, clock_timestamp() + ${startMinutes} * interval '1 minute')
    on conflict (id) do nothing returning id`)
  if (!isNew)
    await database.query(sql`
      update commands set until = clock_timestamp() + ${startMinutes} * interval '1 minute', basis = ${basis}
      where id = ${id} and run_id is null`)
  else
    await appendAudit(database, {
      actor: by.name,
      action: 'command.recorded',
      subject: model ?? view ?? id,
      model,
      detail: { id, command: kind, reason: reason ?? null },
    })
}

export interface Start {
  id: string
  kind: StartType
  model?: string
  /** The name and the id of the key that has sent it. */
  actor: string
  keyId: string
  input: StartInputs[StartType]
  basis: StartBasis
  /** The run that it has opened. */
  runId?: string
  /** False when its sender was told that it does not start. */
  accepted?: boolean
  isLate: boolean
}

/** Undefined for an id that is no start. */
export const findStart = (database: Database, id: string) =>
  rowsFrom(database).find<Start>(sql`
    select id, kind, model, actor, key_id, input, basis, run_id, accepted, until <= clock_timestamp() as is_late
    from commands where id = ${id} and release_id is null`)

/** The run of the start: this one, or an earlier one. */
export const claimStart = (database: Database, { id, runId }: { id: string; runId: string }) =>
  rowsFrom(database).value<string>(sql`
    update commands set run_id = coalesce(run_id, ${runId}) where id = ${id} returning run_id`)

// Starts that Temporal could not take: the same rows, which are delivered when it is back.

/** How long a start may wait for Temporal. */
const longestWaitHours = 24

/** Makes a start due for delivery. False for an id that is none, or has its answer. */
export const deferStart = (database: Database, id: string) =>
  rowsFrom(database).any(sql`
    update commands set next_at = clock_timestamp() where id = ${id} and answered_at is null returning id`)

/** A start that Temporal could not take, with its answer. */
export async function findDeferredStart(database: Database, id: string): Promise<OutboxCommand | undefined> {
  const [row] = await database.query(sql`
    select id, model, kind as command, actor, reason, at as recorded_at, sent_at, problem, accepted, message, started, answered_at
    from commands where id = ${id} and release_id is null and (next_at is not null or answered_at is not null)`)
  return row && toCommand(row)
}

export interface DueStart {
  id: string
  kind: StartType
  model: string
  actor: string
  /** Its permissions are checked when the start is delivered. */
  keyId: string
  reason?: string
  input: StartInputs[StartType]
  /** ISO 8601. */
  at: string
  /** Whether it has waited for too long. */
  isStale: boolean
}

/** Claims the next due starts for `leaseMs`; of each model only the first one. */
export const claimDueStarts = (database: Database, { limit, leaseMs }: { limit: number; leaseMs: number }) =>
  rowsFrom(database).list<DueStart>(sql`
    with due as (
      select id from commands as each
      where next_at <= clock_timestamp() and release_id is null and not exists (
        select from commands as earlier
        where earlier.model = each.model and earlier.release_id is null and earlier.position < each.position
          and earlier.next_at is not null)
      order by position limit ${limit} for update skip locked
    )
    update commands set next_at = clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond'
    from due where commands.id = due.id
    returning commands.id, kind, model, actor, key_id, reason, input, at,
      at < clock_timestamp() - ${longestWaitHours} * interval '1 hour' as is_stale`)

/** Records that Temporal has not taken a start. */
export async function rescheduleStart(
  database: Database,
  { id, problem, againMs }: { id: string; problem: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update commands set problem = ${problem.slice(0, 500)},
      next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = ${id} and next_at is not null`)
}

/** Records the answer to a deferred start, with an audit row. Does nothing when another process has done so. */
export async function answerStart(
  store: Store,
  { id, kind, model, actor }: DueStart,
  { accepted, message, started = null }: { accepted: boolean; message: string; started?: unknown },
): Promise<void> {
  await store.transaction(async (database) => {
    const isAnswered = await rowsFrom(database).any(sql`
      update commands set accepted = ${accepted}, message = ${message}, started = ${JSON.stringify(started)}::jsonb,
        answered_at = clock_timestamp(), next_at = null, problem = null,
        sent_at = case when ${accepted} then clock_timestamp() end
      where id = ${id} and answered_at is null returning id`)
    if (!isAnswered) return
    const action = accepted ? 'command.delivered' : 'command.refused'
    await appendAudit(database, {
      actor,
      action,
      subject: model,
      model,
      detail: { id, command: kind, message },
    })
  })
}

/** The champion and the artifact that the names in a request mean now. */
export async function readStartBasis(
  database: Database,
  { model, version }: { model?: string; version?: string },
): Promise<StartBasis> {
  if (model === undefined) return {}
  const [row] = await database.query<{ champion: string | null; artifact: string | null }>(sql`
    select (select version from champions where model = ${model}) as champion,
      (select artifact_digest from versions where version = ${version ?? null}) as artifact`)
  const { champion = null, artifact } = row ?? {}
  return { champion, artifact: artifact ?? undefined }
}
