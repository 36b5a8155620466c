/** Chooses the arm of a request, by its routing key or by the version that it names. Throws the reason if no arm can serve it. */
import { DomainError } from '../../../domain/errors.ts'
import type { Ids } from '../prediction-ids.ts'
import type { Protocol, Request } from './protocol.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import type { FeatureColumns } from '../codec/feature-columns.ts'
import { everyRowHas, type InputBuffer } from '../codec/input-buffer.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'
import { armOf, type LiveArm, type ActiveRoute, type RouteTable } from '../routing/route-table.ts'

/** Chooses the arm of a request and fills the input buffer for it. */
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
  // The routing key is known only after parsing, so the body is parsed for the likeliest arm first.
  const guess = table.likeliest
  protocol.read(guess.loaded, request.body, input)
  if (table.arms.length === 1 && table.targeted === undefined) return guess
  const arm =
    targetedArm(table, request, input, guess.loaded.columns) ?? armOf(table, input.routingKey ?? ids.prefix())
  if (arm.loaded !== guess.loaded) protocol.read(arm.loaded, request.body, input)
  return arm
}

/** Chooses the arm again for a request whose input `loaded` has read, because the route may have changed. */
export function rechooseArm(
  table: RouteTable,
  live: ActiveRoute,
  request: Request,
  { input, loaded, key }: { input: InputBuffer; loaded: LoadedVersion; key: string },
): LiveArm {
  if (request.version !== undefined) return pinnedArm(table, live, request.version)
  return targetedArm(table, request, input, loaded.columns) ?? armOf(table, key)
}

/** Returns the candidate for a targeted caller. */
function targetedArm(
  { targeted }: RouteTable,
  { sender }: Request,
  input: InputBuffer,
  columns: FeatureColumns,
): LiveArm | undefined {
  if (targeted === undefined) return undefined
  const { routingKey } = input
  const hasFeature = (name: string, value: string | number) => everyRowHas(input, columns, { name, value })
  const header = sender && ((name: string) => sender.headerOf(name))
  return targeted.matches({ header, routingKey, hasFeature }) ? targeted.arm : undefined
}

/** Returns the arm of a version that a request names. A candidate cannot be named, because its requests are assigned at random. */
export function pinnedArm({ pinned }: RouteTable, { route }: ActiveRoute, version: string): LiveArm {
  const arm = pinned.get(version)
  if (arm !== undefined) return arm
  const isCandidate =
    route.shadow?.version === version ||
    route.targeted?.version === version ||
    route.arms.some((each) => each.arm === 'canary' && each.version === version)
  const named = JSON.stringify(version.slice(0, 80))
  throw new DomainError(
    'version_not_found',
    isCandidate
      ? `${named} is the candidate of a release and cannot be requested: the route assigns its requests at random`
      : `${named} does not serve ${route.model} now; ${[...pinned.keys()].join(' and ') || 'no version'} can be requested`,
  )
}

/** Returns the active route of a model. Throws the reason when no route exists. */
export function liveOf(routing: ReplicaRouting, model: string): ActiveRoute {
  const live = routing.find(model)
  if (live === undefined) throw unavailableReason(routing, model)
  if (live.override?.fallbackLevel === 'refused')
    throw new DomainError('model_refused', `the kill switch of ${model} is set to "refuse"`)
  if (live.rolledBack === 'none' && live.override?.outlivesLease !== true)
    throw new DomainError(
      'not_ready',
      `the version that served ${model} was rolled back, and this replica has no other version of it`,
    )
  return live
}

/** Explains why a model has no route on this replica. */
export function unavailableReason(routing: ReplicaRouting, model: string): DomainError {
  const problem = routing.problems().get(model)
  if (problem !== undefined)
    return new DomainError('not_ready', `no version of ${model} can be served here: ${problem.text}`)
  if (!routing.isFilled()) return new DomainError('not_ready', 'this replica has not read its routes yet')
  if (routing.isKnown(model)) return new DomainError('no_champion', `the model ${model} has no champion yet`)
  return new DomainError('model_not_found', `there is no model ${JSON.stringify(model.slice(0, 80))}`)
}
