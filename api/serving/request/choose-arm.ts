/** Who answers: the arm that a request is drawn to, or asks for by name, and why there is none. */
import { DomainError } from '../../../domain/errors.ts'
import type { Ids } from '../prediction-ids.ts'
import type { Protocol, Request } from './protocol.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import { armOf, type LiveArm, type ActiveRoute, type RouteTable } from '../routing/route-table.ts'

/** The arm that answers, with the sheet filled for it. */
export function chooseArm(
  protocol: Protocol,
  table: RouteTable,
  live: ActiveRoute,
  request: Request,
  input: InputBuffer,
  ids: Ids,
): LiveArm {
  if (request.version !== undefined) {
    const arm = pinnedArm(table, live, request.version)
    protocol.read(arm.loaded, request.body, input)
    return arm
  }
  // Who answers is known when the routing key is: until then the likeliest is taken for granted.
  const guess = table.likeliest
  protocol.read(guess.loaded, request.body, input)
  if (table.arms.length === 1) return guess
  const arm = armOf(table, input.routingKey ?? ids.prefix())
  if (arm.loaded !== guess.loaded) protocol.read(arm.loaded, request.body, input)
  return arm
}

/** The same request again, when the route may have changed; its sheet is left as it is. */
export function rechooseArm(
  table: RouteTable,
  live: ActiveRoute,
  version: string | undefined,
  key: string,
): LiveArm {
  return version === undefined ? armOf(table, key) : pinnedArm(table, live, version)
}

/** A version that is asked for by name. A candidate cannot be: its callers are drawn, or the comparison means nothing. */
export function pinnedArm({ pinned }: RouteTable, { route }: ActiveRoute, version: string): LiveArm {
  const arm = pinned.get(version)
  if (arm !== undefined) return arm
  const isCandidate =
    route.shadow?.version === version ||
    route.arms.some((each) => each.arm === 'canary' && each.version === version)
  const named = JSON.stringify(version.slice(0, 80))
  throw new DomainError(
    'version_not_found',
    isCandidate
      ? `${named} is the candidate of a release: the route draws who is answered by it, so it cannot be asked for`
      : `${named} does not answer for ${route.model} now; ${[...pinned.keys()].join(' and ') || 'no version'} can be asked for`,
  )
}

/** The model as it is answered here. Throws why nobody answers for it. */
export function liveOf(routing: ReplicaRouting, model: string): ActiveRoute {
  const live = routing.find(model)
  if (live === undefined) throw unavailableReason(routing, model)
  if (live.override?.fallbackLevel === 'refused')
    throw new DomainError('model_refused', `the switch of ${model} is thrown: nobody is answered`)
  return live
}

/** Why nobody answers for a model that has no route here. */
export function unavailableReason(routing: ReplicaRouting, model: string): DomainError {
  const problem = routing.problems().get(model)
  if (problem !== undefined)
    return new DomainError('not_ready', `no version of ${model} can be served here: ${problem.text}`)
  if (!routing.isFilled()) return new DomainError('not_ready', 'this replica has not read its routes yet')
  if (routing.isKnown(model)) return new DomainError('no_champion', `the model ${model} has no champion yet`)
  return new DomainError('model_not_found', `there is no model ${JSON.stringify(model.slice(0, 80))}`)
}
