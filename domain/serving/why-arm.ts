/**
 * Says why an arm served a request: from what the log has, and from the route of its generation while that is the current one. Earlier
 * routes are not stored, so nothing is said of them.
 */
import { fallbackName } from './kill-switch.ts'
import { placeOf, totalBp, type LoggedArm, type Route } from './route.ts'
import { targetText, type CallerTarget } from './target.ts'

export interface ServedRequest {
  /** The id of its first prediction. */
  id: string
  atMs: number
  model: string
  version: string
  arm: LoggedArm
  release?: string
  generation: number
  routingKey?: string
}

/** What is known of the routes and releases of the model. */
export interface KnownRoutes {
  /** The current route, and when it was written. */
  current?: { route: Route; writtenMs: number } | undefined
  /** The target of the release of the request. */
  target?: CallerTarget | undefined
}

export interface ArmReason {
  text: string
  /** The place of the key, and the places of the arm, `fromBp` to below `toBp`, in basis points; absent where they did not decide or are unknown. */
  placeBp?: number
  fromBp?: number
  toBp?: number
}

/** The clocks of replicas differ from that of the database. */
const skewMs = 1_000

export function whyArm(request: ServedRequest, { current, target }: KnownRoutes): ArmReason {
  const { model, version, arm, release, generation, atMs } = request
  if (arm === 'batch') return { text: 'a batch scored the row; no route chose' }
  if (version === fallbackName(model))
    return { text: 'the constant fallback of the model file served in place of the champion' }
  if (arm === 'targeted') {
    const callers = target === undefined ? '' : `: ${targetText(target)}`
    return { text: `the caller was targeted by release ${release}${callers}` }
  }
  const isCurrent =
    current?.route.generation === generation && atMs >= current.writtenMs - skewMs ? current.route : undefined
  if (isCurrent === undefined)
    return {
      text: `${release === undefined ? 'the row counts for no release' : `release ${release} had the route`}; the shares of generation ${generation} are no longer stored`,
    }
  return whyInRoute(request, isCurrent)
}

function whyInRoute({ id, version, arm, release, routingKey }: ServedRequest, route: Route): ArmReason {
  const { generation, arms, replicas } = route
  if (replicas !== undefined)
    return { text: `in the rolling release ${route.release}, each replica serves one version` }
  // Without a routing key, the id decides.
  const placeBp = placeOf(route.salt, routingKey ?? id.slice(0, -4))
  let toBp = 0
  const chosen = arms.find((each) => placeBp < (toBp += each.shareBp))!
  if (chosen.arm !== arm || chosen.version !== version || release !== route.release)
    return {
      text: `the route of generation ${generation} gives this key to ${chosen.version} (${chosen.arm}); the request named a version, or the replica had no lease, an open circuit breaker or a kill switch, which the log does not tell apart`,
    }
  const fromBp = toBp - chosen.shareBp
  const key = routingKey === undefined ? 'the id, as there is no routing key,' : 'the routing key'
  if (chosen.shareBp === totalBp) return { text: `all requests of generation ${generation} are of this arm` }
  return {
    text: `${key} has place ${placeBp} of ${totalBp}; ${arm} has ${fromBp} to ${toBp - 1} in generation ${generation}`,
    placeBp,
    fromBp,
    toBp,
  }
}
