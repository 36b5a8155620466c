/** Translates the result of a use case that may be deferred into a response. */
import * as schema from '../../domain/schema.ts'
import { deferredCommand, type DeferredCommand, type KeepDeferred } from '../../store/commands.ts'
import { runOrDefer, type StartCommand, type StartInput } from '../services/start-command.ts'
import type { ApiDeps } from '../deps.ts'
import type { RouteRequest, RouteResponse } from '../http/route.ts'
import { toWire } from '../http/schemas.ts'

/** Completes the sentence that describes a response with status 202. */
export const whenDeferred =
  'is recorded and will be delivered as soon as Temporal answers, once and within seconds; GET /v1/commands/{id} shows its result'

/** A retraining has started, or its start is deferred. */
export const retrainingStarted = schema.either(
  schema.record({ id: schema.text, model: schema.text }, { workflowId: schema.text, runId: schema.text }),
  deferredCommand,
)

type Request = Pick<RouteRequest<unknown, unknown>, 'actor' | 'commandId' | 'keep'>

export async function respondToStart<Input extends StartInput>(
  deps: ApiDeps,
  start: StartCommand<Input, object>,
  { actor, commandId: id, keep }: Request,
  input: Input,
): Promise<RouteResponse> {
  const outcome = await runOrDefer(deps, start, actor!, input, { id, keep: keepDeferred(keep) })
  return respondToCommand(outcome, 202)
}

export function respondToCommand(
  outcome: { result: object } | { deferred: DeferredCommand },
  status = 200,
): RouteResponse {
  return 'deferred' in outcome ? deferredResponse(outcome.deferred) : { status, json: toWire(outcome.result) }
}

/** Returns a function that stores the response of a deferred command under the idempotency key. */
export const keepDeferred = (keep: Request['keep']): KeepDeferred | undefined =>
  keep && ((database, deferred) => keep(database, deferredResponse(deferred)))

const deferredResponse = (deferred: DeferredCommand): RouteResponse => ({
  status: 202,
  headers: { location: `/v1/commands/${deferred.id}` },
  json: toWire(deferred),
})
