/**
 * What is asked for while Temporal is away is written down, to be carried out when it is back: whoever asked would have to sit and
 * ask again otherwise. What starts something is carried out by its own route, for the same key and under the same id, as if it had
 * been sent again: so it is judged by what is then, and Temporal, which knows the id, starts it once.
 */
import { DomainError, isError } from '../../domain/errors.ts'
import {
  recordCommand,
  completeStart,
  type Recording,
  type Start,
} from '../../store/release/command-outbox.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import type { Store } from '../../store/postgres.ts'
import { requireRole, type Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest, RouteDefinition } from '../http/route.ts'
import type { Log } from '../deps.ts'

interface Deps {
  store: Store
  log: Log
}

/** What a person is told whose command waits for Temporal. */
export const deferredMessage = 'recorded; it will be delivered when Temporal is back'
/** The same in the description of a route. */
export const isDeferred =
  'is recorded and will be delivered when Temporal is back, once and within seconds; `id` is then what it is asked for by'

/** Answers 202 with what `GET /v1/commands/:id` asks for it by. */
export async function defer(
  { store, log }: Deps,
  recording: Recording,
  keep: RouteRequest<unknown, unknown>['keep'],
): Promise<RouteResponse> {
  const { command, model, message } = recording
  const subject = 'releaseId' in recording ? { release: recording.releaseId } : { model }
  const answer = await store.transaction(async (database) => {
    const id = await recordCommand(database, recording)
    const kept: RouteResponse = {
      status: 202,
      headers: { location: `/v1/commands/${id}` },
      json: { id, ...subject, command, state: 'waiting', message: deferredMessage },
    }
    await keep?.(database, kept)
    return kept
  })
  log.info({ ...subject, command, by: message.by }, 'command recorded')
  return answer
}

/** Carries a request out; one that starts something is written down when Temporal does not answer. */
export async function runOrDefer(
  deps: Deps,
  route: RouteDefinition,
  ask: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  try {
    return await route.handle(ask)
  } catch (error) {
    const { actor, params, command: commandId, keep } = ask
    if (route.startsWorkflow === undefined || actor === undefined || !isError(error, 'temporal_unavailable'))
      throw error
    const body = ask.body as { model?: string; reason?: string }
    const message = {
      keyId: actor.id,
      by: actor.name,
      reason: body.reason,
      params,
      body,
    }
    const model = body.model ?? params['name']!
    return defer(deps, { model, commandId, command: route.startsWorkflow, message }, keep)
  }
}

/** These say nothing of what was asked for. */
const unanswered = ['temporal_unavailable', 'postgres_unavailable', 'deadline_exceeded'] as const

/** Starts what was written down, or learns that it cannot be, and keeps which. Throws when it is to be tried again. */
export async function runDeferred(
  { store, routes }: Pick<Deps, 'store'> & { routes: readonly RouteDefinition[] },
  start: Start,
): Promise<'started' | 'refused'> {
  const { command, commandId, message, recordedAt } = start
  const route = routes.find(({ startsWorkflow }) => startsWorkflow === command)!
  try {
    const { json } = await route.handle({
      actor: await actorOf(store, route, start),
      params: message.params,
      body: route.body!.parse(message.body),
      query: undefined,
      bytes: Buffer.alloc(0),
      stream: async function* () {},
      requestId: commandId,
      command: commandId,
      recordedAt,
      header: () => undefined,
      session: undefined,
      target: '',
      address: undefined,
    })
    const said = (json as { message?: string }).message
    await completeStart(store, start, { accepted: true, message: said || 'started', started: json })
    return 'started'
  } catch (error) {
    if (!isError(error) || unanswered.some((code) => isError(error, code))) throw error
    await completeStart(store, start, { accepted: false, message: error.message })
    return 'refused'
  }
}

/** Throws `forbidden` when the key does not open any more, or may no longer do it, or has waited too long. */
async function actorOf(
  store: Store,
  { allow }: RouteDefinition,
  { model, message, isStale }: Start,
): Promise<Actor> {
  if (isStale) throw new DomainError('forbidden', 'it has waited for more than a day')
  const key = (await findActiveKeys(store)).find(({ id }) => id === message.keyId)
  if (key === undefined) throw new DomainError('forbidden', `the key of ${message.by} opens no more`)
  const { id, name, role, models } = key
  const actor: Actor = { id, name, role, models: models === undefined ? undefined : new Set(models) }
  if (typeof allow !== 'string') requireRole(actor, allow, model)
  return actor
}
