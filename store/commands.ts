/**
 * Stores what users ask for: one row for each command, written with its audit row. The row is the authority. A workflow is started with the
 * id of a row, and its first activity reads from the row what to do. A signal or an update to a release names the id of a row, and the
 * release answers each row once, in the order of the rows.
 */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import type { CommandName, ReleaseDigests, ReleaseStage } from '../domain/release/state.ts'
import type { Role, StartType } from '../domain/roles.ts'
import * as schema from '../domain/schema.ts'
import type { StartBasis, StartInputs } from '../domain/starts.ts'
import { appendAudit, type Transaction } from './audit/audit-log.ts'
import { fromRow, rowsFrom } from './database/from-row.ts'
import type { Database, Store } from './postgres.ts'

export type CommandId = `cmd_${string}`

/** The id of the command of a request; the same for its repetition. */
export function commandIdOf(request: string): CommandId {
  const id = request.replaceAll('-', '')
  const isId = /^[0-9a-f]{32}$/.test(id)
  return `cmd_${isId ? id : createHash('sha256').update(request).digest('hex').slice(0, 32)}`
}

/** The id of a command to a release by its idempotency key, so that a repetition is the same row. Two keys may choose the same. */
export const releaseCommandIdOf = (
  keyId: string,
  { kind, once }: { kind: CommandName; once: string },
): CommandId => commandIdOf(`${keyId}\n${kind}\n${once}`)

// Starts: the id of the row is the input of the workflow.

/** How long a start may wait for a worker after it was sent to Temporal. */
const startMinutes = 15

export interface NewStart<Kind extends StartType = StartType> {
  id: CommandId
  kind: Kind
  /** The key that sends it. */
  by: { id: string; name: string; role: Role }
  reason?: string
  input: StartInputs[Kind]
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

// Commands to releases.

export interface ReleaseCommand {
  id: CommandId
  kind: CommandName
  releaseId: string
  model: string
  /** The name and the id of the key that sends it, and its role at that moment. */
  actor: string
  keyId: string
  role: Role
  reason?: string
  /** The digests that the sender saw. */
  digests?: Partial<ReleaseDigests>
  /** A command that ends a wait has no effect after the end of that wait, in milliseconds. */
  untilMs?: number
}

/** Stores a command with its audit row. False when the row exists, because the command is a repetition. */
export async function insertCommand(
  database: Transaction,
  { id, kind, releaseId, model, actor, keyId, role, reason, digests, untilMs }: ReleaseCommand,
  { deliverInMs }: { deliverInMs?: number } = {},
): Promise<boolean> {
  const isNew = await rowsFrom(database).any(sql`
    insert into commands (id, kind, model, release_id, actor, key_id, role, reason, digests, until, next_at)
    values (${id}, ${kind}, ${model}, ${releaseId}, ${actor}, ${keyId}, ${role}, ${reason ?? null}, ${JSON.stringify(digests ?? {})},
      to_timestamp(${untilMs ?? null}::float8 / 1000),
      clock_timestamp() + ${deliverInMs ?? null}::float8 * interval '1 millisecond')
    on conflict (id) do nothing returning id`)
  if (isNew)
    await appendAudit(database, {
      actor,
      action: 'command.recorded',
      subject: releaseId,
      model,
      detail: { id, command: kind, reason: reason ?? null },
    })
  return isNew
}

/** How many commands are applied in one transaction, which holds the chain of the audit log. */
const commandsAtOnce = 100

/** The first commands that a release has not answered, in the order of their rows. */
export const listUnanswered = (database: Database, releaseId: string) =>
  rowsFrom(database).list<ReleaseCommand>(sql`
    select id, kind, release_id, model, actor, key_id, role, reason, digests,
      (extract(epoch from until) * 1000)::float8 as until_ms
    from commands where release_id = ${releaseId} and answered_at is null order by position limit ${commandsAtOnce}`)

export interface CommandAnswer {
  accepted: boolean
  stage: ReleaseStage
  message: string
}

/** Records the one answer of a release; its delivery is over. */
export async function answerCommand(
  database: Database,
  id: string,
  { accepted, stage, message }: CommandAnswer,
): Promise<void> {
  await database.query(sql`
    update commands set accepted = ${accepted}, stage = ${stage}, message = ${message}, answered_at = clock_timestamp(),
      next_at = null, problem = null
    where id = ${id} and answered_at is null`)
}

/** Whether a release has commands without an answer. */
export const hasUnanswered = (database: Database, releaseId: string) =>
  rowsFrom(database).any(
    sql`select from commands where release_id = ${releaseId} and answered_at is null limit 1`,
  )

/** The answer to a command of this release; undefined before it is answered, and for any other id. */
export const findAnswer = (database: Database, { id, release }: { id: string; release: string }) =>
  rowsFrom(database).find<CommandAnswer>(sql`
    select accepted, stage, message from commands
    where id = ${id} and release_id = ${release} and answered_at is not null`)

/** A command to a release and its answer. */
export const answeredCommand = schema.record(
  {
    id: schema.text,
    releaseId: schema.text,
    command: schema.textOf<CommandName>(),
    actor: schema.text,
    accepted: schema.flag,
    message: schema.text,
    stage: schema.textOf<ReleaseStage>(),
    at: schema.time,
  },
  { reason: schema.text },
)
export type AnsweredCommand = schema.TypeOf<typeof answeredCommand>

/** The newest answered commands of a release, or those before the id `before`, in the order of their answers. */
export const listCommands = (
  database: Database,
  releaseId: string,
  { limit = 1_000, before }: { limit?: number; before?: string } = {},
): Promise<AnsweredCommand[]> =>
  rowsFrom(database).list<AnsweredCommand>(sql`
    select * from (
      select id, release_id, kind as command, actor, reason, accepted, message, stage, answered_at as at
      from commands
      where release_id = ${releaseId} and answered_at is not null
        and (${before ?? null}::text is null
          or (answered_at, position) < (select answered_at, position from commands where id = ${before ?? null}))
      order by answered_at desc, position desc limit ${limit}
    ) as page order by at, id`)

/** Whether a user has ended the release. */
export const isEndedByUser = (database: Database, releaseId: string) =>
  rowsFrom(database).any(sql`
    select from commands
    where release_id = ${releaseId} and accepted and kind in ('reject', 'abort', 'rollback')`)

/** A command to deliver to its release. */
export interface DueCommand {
  id: string
  kind: CommandName
  releaseId: string
  model: string
  workflowId: string
  /** The first run of the release's workflow. */
  runId: string
  /** The outcome of the release, when it has ended. */
  outcome?: string
  /** Whether the workflow was told of it and has not had it answered for so long that it is applied without it. */
  isIgnored: boolean
}

/** How long a release may leave a command without an answer after the command was recorded. */
const longestSilenceSeconds = 30

/** Claims the next due commands for `leaseMs`; of each release only the first unsent one. */
export const claimDueCommands = (
  database: Database,
  { limit, leaseMs }: { limit: number; leaseMs: number },
): Promise<DueCommand[]> =>
  rowsFrom(database).list<DueCommand>(sql`
    with due as (
      select id from commands as each
      where next_at <= clock_timestamp() and release_id is not null and not exists (
        select from commands as earlier
        where earlier.release_id = each.release_id and earlier.position < each.position
          and earlier.next_at is not null and earlier.sent_at is null)
      order by position limit ${limit} for update skip locked
    )
    update commands set next_at = clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond'
    from due, releases where commands.id = due.id and releases.id = commands.release_id
    returning commands.id, commands.kind, commands.release_id, commands.model, releases.workflow_id, releases.run_id,
      releases.outcome, commands.sent_at is not null and commands.answered_at is null
        and commands.at <= clock_timestamp() - ${longestSilenceSeconds} * interval '1 second' as is_ignored`)

/** Tells the workflow of a release of a command that is answered already, because it was carried out in the database. */
export async function deliverAnswered(database: Database, id: string): Promise<void> {
  await database.query(sql`update commands set next_at = clock_timestamp() where id = ${id}`)
}

/** Records that Temporal has the message. It is sent again after `againMs` without an answer of the release. */
export async function markCommandSent(
  database: Database,
  { id, againMs }: { id: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update commands set sent_at = coalesce(sent_at, clock_timestamp()), times = times + 1, problem = null,
      next_at = case when answered_at is null
        then clock_timestamp() + ${againMs}::float8 * interval '1 millisecond' end
    where id = ${id} and next_at is not null`)
}

/** Delivers a command or a start after `againMs`, with the problem of the last attempt, if it had one. */
export async function reschedule(
  database: Database,
  { id, problem, againMs }: { id: string; problem?: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update commands set problem = ${problem?.slice(0, 500) ?? null},
      next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = ${id} and answered_at is null`)
}

// Commands and starts with the state of their delivery.

/**
 * - `waiting`: stored and not sent.
 * - `delivered`: Temporal has the command; after its answer, the release has accepted it. A start has begun.
 * - `refused`: the release does not accept the command or has ended, or the start was no longer possible.
 */
type CommandState = 'waiting' | 'delivered' | 'refused'

export const recordedCommand = schema.record(
  {
    /** Identifies the command in `GET /v1/commands/:id`. */
    id: schema.textOf<CommandId>(),
    model: schema.text,
    command: schema.textOf<CommandName | StartType>(),
    actor: schema.text,
    state: schema.textOf<CommandState>(),
    recordedAt: schema.time,
  },
  {
    /** Absent for a start. */
    release: schema.text,
    reason: schema.text,
    sentAt: schema.time,
    /** Why the last attempt to send it failed. */
    problem: schema.text,
    /** The answer of the release and its time; absent before the answer. */
    accepted: schema.flag,
    stage: schema.textOf<ReleaseStage>(),
    message: schema.text,
    /** The response of the route for a start. */
    started: schema.dataOf<unknown>(),
    answeredAt: schema.time,
  },
)
export type RecordedCommand = schema.TypeOf<typeof recordedCommand>

/** What a sender is told whose command waits for Temporal. */
export const deferredMessage = 'recorded; it will be delivered as soon as Temporal answers'

/** A stored command; `GET /v1/commands/:id` shows its result. */
export const deferredCommand = schema.record(
  {
    id: schema.textOf<CommandId>(),
    command: schema.textOf<CommandName | StartType>(),
    state: schema.textOf<'waiting'>(),
    message: schema.text,
  },
  { release: schema.text, model: schema.text },
)
export type DeferredCommand = schema.TypeOf<typeof deferredCommand>

/** Stores the response to a request in the transaction that stores its command. */
export type KeepDeferred = (database: Database, deferred: DeferredCommand) => Promise<void>

/** Reads a row with the columns of a command, which say its state. */
function toCommand(row: object): RecordedCommand {
  const command = fromRow<Omit<RecordedCommand, 'state'>>(row)
  const { accepted, sentAt } = command
  return { ...command, state: accepted === false ? 'refused' : accepted || sentAt ? 'delivered' : 'waiting' }
}

const selected = sql`
  select id, model, kind as command, actor, reason, at as recorded_at, sent_at, problem, stage, release_id as release, accepted,
    message, started, answered_at
  from commands`

/** A command to a release, or a start that Temporal could not take at once. */
export async function findRecorded(database: Database, id: string): Promise<RecordedCommand | undefined> {
  const [row] = await database.query(sql`
    ${selected} where id = ${id} and (release_id is not null or next_at is not null or answered_at is not null)`)
  return row && toCommand(row)
}

/** The commands that a release has not answered yet, in order, up to a limit. */
export async function listRecorded(
  database: Database,
  releaseId: string,
  limit = 1_000,
): Promise<RecordedCommand[]> {
  const rows = await database.query(sql`
    ${selected} where release_id = ${releaseId} and answered_at is null order by position limit ${limit}`)
  return rows.map(toCommand)
}
