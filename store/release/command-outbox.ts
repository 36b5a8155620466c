/**
 * Stores commands to a release that arrive while Temporal is unreachable, and claims them for delivery. Items of one release are sent in
 * order under a lease; a duplicate after a crash is dropped by its command id.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import type { StartType } from '../../domain/roles.ts'
import type { CommandName, ReleaseStage } from '../../domain/release/state.ts'
import * as schema from '../../domain/schema.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import type { SignedCommand } from '../signing/command-signatures.ts'
import { insertCommand } from './releases.ts'

/** The message that the workflow of the release reads. */
export interface OutboxMessage extends Omit<SignedCommand, 'command' | 'model' | 'release'> {
  signature: string
}

/**
 * - `waiting`: stored and not sent.
 * - `delivered`: Temporal has the command; after its answer, the release has accepted it. A start has begun.
 * - `refused`: the release does not accept the command or has ended, or the start was no longer possible.
 */
export type OutboxState = 'waiting' | 'delivered' | 'refused'

export const outboxCommand = schema.record(
  {
    /** Identifies the command in `GET /v1/commands/:id`. */
    id: schema.textOf<`cmd_${string}`>(),
    model: schema.text,
    command: schema.textOf<CommandName | StartType>(),
    actor: schema.text,
    state: schema.textOf<OutboxState>(),
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
export type OutboxCommand = schema.TypeOf<typeof outboxCommand>

export interface NewOutboxCommand {
  model: string
  releaseId: string
  command: CommandName
  message: OutboxMessage
}

/** Stores a command with its audit row; a repeated id returns the stored command. Returns the id for queries. */
export async function recordCommand(
  database: Database,
  { model, releaseId, command, message }: NewOutboxCommand,
): Promise<OutboxCommand['id']> {
  const { id: commandId, by: actor, reason = null, until = null } = message
  const [row] = await database.query<{ id: OutboxCommand['id'] }>(sql`
    insert into command_outbox (id, release_id, command_id, command, actor, message)
    values (${`cmd_${randomUUID().replaceAll('-', '')}`}, ${releaseId}, ${commandId}, ${command}, ${actor},
      ${JSON.stringify(message)})
    on conflict do nothing returning id`)
  if (row === undefined) {
    const [known] = await database.query<{ id: OutboxCommand['id'] }>(sql`
      select id from command_outbox where release_id = ${releaseId} and command_id = ${commandId}`)
    return known!.id
  }
  const detail = { id: commandId, command, outbox: row.id, reason, until }
  await appendAudit(database, { actor, action: 'command.recorded', subject: releaseId, model, detail })
  return row.id
}

const selected = sql`
  select outbox.id, outbox.release_id as release, releases.model, outbox.command, outbox.actor,
    outbox.message ->> 'reason' as reason, recorded_at, sent_at, problem, answers.stage, answers.accepted, answers.message,
    answers.at as answered_at
  from command_outbox as outbox join releases on releases.id = outbox.release_id
    left join release_commands as answers on answers.id = outbox.release_id || '/' || outbox.command_id`

/** Reads a row with the columns of a command, which say its state. */
export function toCommand(row: object): OutboxCommand {
  const command = fromRow<Omit<OutboxCommand, 'state'>>(row)
  const { accepted, sentAt } = command
  return { ...command, state: accepted === false ? 'refused' : accepted || sentAt ? 'delivered' : 'waiting' }
}

export async function findRecorded(database: Database, id: string): Promise<OutboxCommand | undefined> {
  const [row] = await database.query(sql`${selected} where outbox.id = ${id}`)
  return row && toCommand(row)
}

/** The commands that a release has not answered yet, in order, up to a limit. */
export async function listRecorded(
  database: Database,
  releaseId: string,
  limit = 1_000,
): Promise<OutboxCommand[]> {
  const rows = await database.query(sql`
    ${selected} where outbox.release_id = ${releaseId} and next_at is not null and answers.id is null
    order by position limit ${limit}`)
  return rows.map(toCommand)
}

/** The rollback that a user ordered outside the workflow of a release; the workflow then ends by it. */
export async function findRollbackOrder(
  database: Database,
  releaseId: string,
): Promise<{ by: string; reason?: string } | undefined> {
  const [row] = await database.query<{ by: string; reason: string | null }>(sql`
    select actor as by, message ->> 'reason' as reason from command_outbox
    where release_id = ${releaseId} and command = 'rollback' order by position limit 1`)
  return row && { by: row.by, reason: row.reason ?? undefined }
}

/** Whether a user has ended the release, by a command to it or by a rollback outside of its workflow. */
export const isEndedByUser = (database: Database, releaseId: string) =>
  rowsFrom(database).any(sql`
    select from release_commands
      where release_id = ${releaseId} and accepted and command in ('reject', 'abort', 'rollback')
    union all select from command_outbox where release_id = ${releaseId} and command = 'rollback'`)

/** An item to send, with its destination. */
export interface OutboxItem {
  id: OutboxCommand['id']
  releaseId: string
  model: string
  command: CommandName
  message: OutboxMessage
  workflowId: string
  /** The first run of the release's workflow. */
  runId: string
  /** The outcome of the release, when it has ended. */
  outcome: string | null
  /** How often it was sent to Temporal. */
  times: number
}

/**
 * Claims the next due items for `leaseMs`; of each release only the first unsent one. An answered item was sent, even when its sender
 * crashed before recording that.
 */
export async function claimDue(
  database: Database,
  { limit, leaseMs }: { limit: number; leaseMs: number },
): Promise<OutboxItem[]> {
  await database.query(sql`
    update command_outbox set next_at = null, problem = null, sent_at = coalesce(sent_at, answers.at)
    from release_commands as answers
    where next_at is not null and answers.id = command_outbox.release_id || '/' || command_outbox.command_id`)
  return database.query<OutboxItem>(sql`
    with due as (
      select id, release_id from command_outbox as each
      where next_at <= clock_timestamp() and not exists (
        select from command_outbox as earlier
        where earlier.release_id = each.release_id and earlier.position < each.position
          and earlier.next_at is not null and earlier.sent_at is null)
      order by position limit ${limit} for update skip locked
    )
    update command_outbox as outbox set next_at = clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond'
    from due join releases on releases.id = due.release_id where outbox.id = due.id
    returning outbox.id, outbox.release_id as "releaseId", releases.model, outbox.command, outbox.message,
      releases.workflow_id as "workflowId", releases.run_id as "runId", releases.outcome, outbox.times`)
}

/** Records that Temporal has the item. It is sent again after `againMs` without an answer of the release. */
export async function markCommandSent(
  database: Database,
  { id, againMs }: { id: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update command_outbox set sent_at = coalesce(sent_at, clock_timestamp()), times = times + 1, problem = null,
      next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = ${id} and next_at is not null`)
}

/** Records that Temporal has not taken the item. */
export async function reschedule(
  database: Database,
  { id, problem, againMs }: { id: string; problem: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update command_outbox set problem = ${problem.slice(0, 500)},
      next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = ${id} and next_at is not null`)
}

/** Answers for a release that has ended, with an audit row. Does nothing when the release has answered. */
export async function refuseItem(store: Store, item: OutboxItem, message: string): Promise<void> {
  const { id, releaseId, model, command, message: sent } = item
  const { by: actor, reason } = sent
  const commandId = `${releaseId}/${sent.id}`
  const answer = { accepted: false, stage: 'ended', message } as const
  await store.transaction(async (database) => {
    const isNew = await insertCommand(database, {
      id: commandId,
      releaseId,
      command,
      actor,
      reason,
      ...answer,
    })
    await database.query(sql`update command_outbox set next_at = null, problem = null where id = ${id}`)
    if (!isNew) return
    const detail = { id: commandId, ...answer, reason: reason ?? null, outbox: id }
    await appendAudit(database, { actor, action: `release.${command}`, subject: releaseId, model, detail })
  })
}
