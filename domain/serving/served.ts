/**
 * Says which share of a model's callers each version serves now. The stored route is only what replicas shall serve: a replica that has not
 * acknowledged it, or that cannot load it, does not, and no replica serves a candidate whose exposure lease is over.
 */
import type { KillSwitchMode } from './kill-switch.ts'
import {
  championAlone,
  fenced,
  hasCandidate,
  isNewer,
  routeAt,
  withoutCandidate,
  type Route,
} from './route.ts'

/** A live replica, with the place of the route that it acknowledged last. */
export interface ServingReplica {
  id: string
  epoch?: number
  generation?: number
  /** Why it cannot follow. */
  problem?: string
}

export interface ServingModel {
  route: Route
  /** The remaining exposure of the candidate, negative once it is over; absent for a route without one. */
  exposureMs?: number
  /** The kill switch; absent when it was never set. */
  serve?: KillSwitchMode
  /** The replicas with a lease. */
  replicas: readonly ServingReplica[]
}

export interface ServedShares extends Pick<ServingModel, 'route'> {
  /** Version → basis points, the mean of the live replicas. A replica that does not follow the route counts for no version. */
  shares: ReadonlyMap<string, number>
  /** How long the exposure of the candidate has been over. */
  lapsedMs?: number
  /** What a reader must know about the shares; empty when every live replica follows. */
  problems: string[]
}

/** The route that a replica applies: the stored one, without its candidate after the exposure, or the proven version without a lease. */
export const routeInForce = (route: Route, now: { leased: boolean; exposed: boolean }): Route =>
  now.leased ? (now.exposed ? route : withoutCandidate(route)) : fenced(route)

export function servedShares({ route, exposureMs, serve = 'normal', replicas }: ServingModel): ServedShares {
  // A kill switch keeps callers from the candidate by itself.
  const isLapsed = serve === 'normal' && exposureMs !== undefined && exposureMs <= 0 && hasCandidate(route)
  const lapsedMs = isLapsed ? -exposureMs : undefined
  const shares = new Map<string, number>()
  const behind = replicas.filter(({ epoch, generation, problem }) => {
    const isBehind = epoch === undefined || generation === undefined || isNewer(route, { epoch, generation })
    return isBehind || problem !== undefined
  })
  const following = replicas.filter((each) => !behind.includes(each))
  for (const { id } of following)
    for (const { version, shareBp } of armsOf(routeAt(route, id), { serve, lapsedMs }))
      shares.set(version, (shares.get(version) ?? 0) + shareBp / replicas.length)
  for (const [version, shareBp] of shares) shares.set(version, Math.round(shareBp))
  const problem = behind.find((each) => each.problem !== undefined)?.problem
  const problems =
    replicas.length === 0
      ? ['no replica serves']
      : behind.length === 0
        ? []
        : [
            problem === undefined
              ? `${behind.length} of ${replicas.length} replicas still switching`
              : `${behind.length} of ${replicas.length} replicas cannot follow: ${problem}`,
          ]
  return { route, shares, lapsedMs, problems }
}

function armsOf(
  route: Route,
  { serve, lapsedMs }: { serve: KillSwitchMode; lapsedMs: number | undefined },
): Route['arms'] {
  switch (serve) {
    case 'normal':
      return routeInForce(route, { leased: true, exposed: lapsedMs === undefined }).arms
    case 'champion':
      return championAlone(route, route.proven).arms
    case 'fallback':
    case 'refuse':
      return []
    default:
      return serve satisfies never
  }
}
