/**
 * Runs commands that start a workflow, and defers those that Temporal cannot accept now, so that the caller need not retry. The delivery later
 * runs a stored command through the same use case, with the same key and command id, so that Temporal starts it at most once.
 */
import { isError } from '../../domain/errors.ts'
import type { Role, StartType } from '../../domain/roles.ts'
import type { StartInputs } from '../../domain/starts.ts'
import {
  commandIdOf,
  deferredMessage,
  deferStart,
  insertStart,
  type DeferredCommand,
  type KeepDeferred,
} from '../../store/commands.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'

/** Identifies one command. Retries and the later delivery have the same id. */
export interface CommandRef {
  id: string
  /** ISO 8601; set when the command is delivered after it was stored. */
  recordedAt?: string
}

/** A use case that starts a workflow and may be deferred. */
export interface StartCommand<Input extends StartInput, Result extends object> {
  kind: StartType
  roles: readonly Role[]
  run(deps: CommandDeps, actor: Actor, input: Input, command: CommandRef): Promise<Result>
}

export interface StartInput {
  model: string
  reason?: string
}

/** Records a start with its audit row. Returns its id. `request` is the id of the request, the same for its repetition. */
export async function recordStart<Kind extends StartType>(
  { store }: Pick<CommandDeps, 'store'>,
  by: Actor,
  { request, ...start }: { kind: Kind; request: string; input: StartInputs[Kind]; reason?: string },
): Promise<string> {
  const id = commandIdOf(request)
  await store.transaction((database) => insertStart(database, { ...start, id, by }))
  return id
}

/** Runs a start command. It has recorded its start by then; when Temporal does not respond, the start is delivered later. */
export async function runOrDefer<Input extends StartInput, Result extends object>(
  deps: CommandDeps,
  start: StartCommand<Input, Result>,
  actor: Actor,
  input: Input,
  { id: request, keep }: { id: string; keep?: KeepDeferred },
): Promise<{ result: Result } | { deferred: DeferredCommand }> {
  try {
    return { result: await start.run(deps, actor, input, { id: request }) }
  } catch (error) {
    if (!isError(error, 'temporal_unavailable')) throw error
    const { model } = input
    const id = commandIdOf(request)
    const deferred = { id, model, command: start.kind, state: 'waiting', message: deferredMessage } as const
    await deps.store.transaction(async (database) => {
      if (!(await deferStart(database, id))) throw error
      await keep?.(database, deferred)
    })
    deps.log.info({ model, command: start.kind, by: actor.name }, 'command deferred')
    return { deferred }
  }
}
