/** Reads recorded commands and starts with the state of their delivery. */
import sql from 'sql-template-tag'
import type { StartType } from '../../domain/roles.ts'
import type { CommandName, ReleaseStage } from '../../domain/release/state.ts'
import * as schema from '../../domain/schema.ts'
import { fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

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

/** Reads a row with the columns of a command, which say its state. */
export function toCommand(row: object): OutboxCommand {
  const command = fromRow<Omit<OutboxCommand, 'state'>>(row)
  const { accepted, sentAt } = command
  return { ...command, state: accepted === false ? 'refused' : accepted || sentAt ? 'delivered' : 'waiting' }
}

const selected = sql`
  select id, model, kind as command, actor, reason, at as recorded_at, sent_at, problem, stage, release_id as release, accepted,
    message, started, answered_at
  from commands`

/** A recorded command to a release. */
export async function findRecorded(database: Database, id: string): Promise<OutboxCommand | undefined> {
  const [row] = await database.query(sql`${selected} where id = ${id} and release_id is not null`)
  return row && toCommand(row)
}

/** The commands that a release has not answered yet, in order, up to a limit. */
export async function listRecorded(
  database: Database,
  releaseId: string,
  limit = 1_000,
): Promise<OutboxCommand[]> {
  const rows = await database.query(sql`
    ${selected} where release_id = ${releaseId} and answered_at is null order by position limit ${limit}`)
  return rows.map(toCommand)
}
