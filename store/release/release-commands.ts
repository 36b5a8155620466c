/**
 * Stores the commands of users to releases. The row is the command: a signal or an update names its id and nothing else, and the release
 * answers each row once, in the order of the rows.
 */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import type { CommandName, ReleaseDigests, ReleaseStage } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import * as schema from '../../domain/schema.ts'
import { appendAudit, type Transaction } from '../audit/audit-log.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface ReleaseCommand {
  id: `cmd_${string}`
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

/** The id of a command by its idempotency key, so that a repetition is the same row. Two keys may choose the same. */
export const commandIdOf = (
  keyId: string,
  { kind, once }: { kind: CommandName; once: string },
): `cmd_${string}` =>
  `cmd_${createHash('sha256').update(`${keyId}\n${kind}\n${once}`).digest('hex').slice(0, 32)}`

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
  /** How often it was sent to Temporal. */
  times: number
}

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
      releases.outcome, commands.times`)

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

/** Delivers a command after `againMs`, with the problem of the last attempt. */
export async function rescheduleCommand(
  database: Database,
  { id, problem, againMs }: { id: string; problem: string; againMs: number },
): Promise<void> {
  await database.query(sql`
    update commands set problem = ${problem.slice(0, 500)},
      next_at = clock_timestamp() + ${againMs}::float8 * interval '1 millisecond'
    where id = ${id} and answered_at is null`)
}
