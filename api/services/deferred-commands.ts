/**
 * Runs commands, and stores those that Temporal cannot accept now, so that the caller need not retry. The delivery later runs a stored
 * command through the same use case, with the same key and command id, so that Temporal starts it at most once.
 */
import { isError } from '../../domain/errors.ts'
import type { Role, StartType } from '../../domain/roles.ts'
import * as schema from '../../domain/schema.ts'
import { recordCommand, type NewOutboxCommand, type StartName } from '../../store/release/command-outbox.ts'
import type { CommandName } from '../../domain/release/state.ts'
import { commandIdOf, insertStart, type NewStart } from '../../store/commands.ts'
import type { Database } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'

export const deferredMessage = 'recorded; it will be delivered when Temporal is back'

/** A stored command; `GET /v1/commands/:id` shows its result. */
export const deferredCommand = schema.record(
  {
    id: schema.textOf<`cmd_${string}`>(),
    command: schema.textOf<CommandName | StartName>(),
    state: schema.textOf<'waiting'>(),
    message: schema.text,
  },
  { release: schema.text, model: schema.text },
)
export type DeferredCommand = schema.TypeOf<typeof deferredCommand>

/** Stores the response to a request in the transaction that stores its command. */
export type KeepDeferred = (database: Database, deferred: DeferredCommand) => Promise<void>

/** Identifies one command. Retries and the later delivery have the same id. */
export interface CommandRef {
  id: string
  /** ISO 8601; set when the command is delivered after it was stored. */
  recordedAt?: string
}

/** A use case that starts a workflow and may be deferred. `input` is stored as JSON. */
export interface StartCommand<Input extends StartInput, Result extends object> {
  kind: StartName
  roles: readonly Role[]
  run(deps: CommandDeps, actor: Actor, input: Input, command: CommandRef): Promise<Result>
}

export interface StartInput {
  model: string
  reason?: string
}

/** Records a start with its audit row. Returns the input of its workflow. `request` is the id of the request, the same for its repetition. */
export async function recordStart<Input extends NewStart['input'] & { requestedBy?: string }>(
  { store }: Pick<CommandDeps, 'store'>,
  actor: Actor,
  { kind, request, input }: { kind: StartType; request: string; input: Input },
): Promise<Input & { order: string }> {
  const id = commandIdOf(request)
  const { requestedBy: _sender, ...stored } = input
  await store.transaction((database) => insertStart(database, { id, kind, by: actor, input: stored }))
  return { ...input, order: id }
}

export async function defer(
  { store, log }: Pick<CommandDeps, 'store' | 'log'>,
  recording: NewOutboxCommand,
  keep?: KeepDeferred,
): Promise<DeferredCommand> {
  const { command, model, message } = recording
  const subject = 'releaseId' in recording ? { release: recording.releaseId } : { model }
  const deferred = await store.transaction(async (database): Promise<DeferredCommand> => {
    const id = await recordCommand(database, recording)
    const stored = { id, ...subject, command, state: 'waiting', message: deferredMessage } as const
    await keep?.(database, stored)
    return stored
  })
  log.info({ ...subject, command, by: message.by }, 'command deferred')
  return deferred
}

/** Runs a start command, or stores it when Temporal does not respond. */
export async function runOrDefer<Input extends StartInput, Result extends object>(
  deps: CommandDeps,
  start: StartCommand<Input, Result>,
  actor: Actor,
  input: Input,
  { id, keep }: { id: string; keep?: KeepDeferred },
): Promise<{ result: Result } | { deferred: DeferredCommand }> {
  try {
    return { result: await start.run(deps, actor, input, { id }) }
  } catch (error) {
    if (!isError(error, 'temporal_unavailable')) throw error
    const { model, reason } = input
    const message = { keyId: actor.id, by: actor.name, reason, input }
    return { deferred: await defer(deps, { model, commandId: id, command: start.kind, message }, keep) }
  }
}
