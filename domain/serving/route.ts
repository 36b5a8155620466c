/**
 * Defines routes and the assignment of requests to arms. A route is the complete traffic of a model in one generation; every replica
 * holds it in memory, so that all replicas choose the same version for a routing key.
 */
import { DomainError } from '../errors.ts'
import { policyIssues } from '../policy-issues.ts'
import { issuesOfTarget, type CallerTarget } from './target.ts'

/**
 * - `canary`: the candidate of a release, exposed only while its exposure lease is renewed.
 * - `champion`: the default version. In probation it is not yet `proven`, and is exposed under the same lease.
 * - `control`: the concurrent cohort on the previous champion: the holdback in probation, the B side of an A/B test.
 * - `targeted`: callers who were chosen to meet the candidate first. They have no share, and are compared with no arm.
 */
export type Arm = 'canary' | 'champion' | 'control' | 'targeted'

/** The arms of the prediction log: `batch` has the rows of batches, which no route serves. */
export const loggedArms = ['canary', 'champion', 'control', 'targeted', 'batch'] as const satisfies (
  | Arm
  | 'batch'
)[]
export type LoggedArm = (typeof loggedArms)[number]

export interface RouteArm {
  arm: Exclude<Arm, 'targeted'>
  version: string
  /** Share of the keys in basis points (1/10,000). */
  shareBp: number
}

/** The traffic of a model. Generation and epoch never decrease. */
export interface Route {
  model: string
  /** Incremented when a database is restored from a backup, so that old generations cannot return. */
  epoch: number
  /** Incremented by every write. */
  generation: number
  /** The release that owns this route, absent between releases. */
  release?: string
  /** The salt of the hash, so that two releases do not begin with the same routing keys. */
  salt: string
  /** In hash order, lowest keys first: raising the first share never moves a key back. Shares sum to 10,000. */
  arms: RouteArm[]
  /** The version that gets copies of this share of the requests; callers never see its predictions. */
  shadow?: { version: string; shareBp: number }
  /** The candidate for targeted callers, whatever the shares. */
  targeted?: { version: string; target: CallerTarget }
  /**
   * The replicas that serve only the candidate, while the others do not serve it; the shares then give the number of replicas. Absent:
   * every replica serves every arm.
   */
  replicas?: string[]
  /** The version that a replica without a lease serves: the last one that passed its probation. */
  proven: string
  /** A version that stays loaded without traffic, so that a rollback is immediate. */
  standby?: string
  /** The length of a counter tick during a release. */
  tickMs?: number
  /** The champion's latency quantiles before the release, in microseconds. Slower requests count as slow. */
  latencyUs?: { p95: number; p99: number }
  /** The failure rate that the absolute guard tolerates, and its α. A replica drops the candidate by itself at a quarter of that α. */
  guard?: { rate: number; alpha: number }
}

export const totalBp = 10_000

/** MurmurHash3 (x86, 32 bit; Appleby, public domain) of the UTF-16 code units of a text. */
export function hash32(text: string, seed = 0): number {
  let h = seed | 0
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  h ^= text.length
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** 53 bits of a hash, which a number holds exactly. */
export const hash53 = (text: string, seed = 0): number =>
  hash32(text, seed) * 0x20_0000 + (hash32(text, ~seed) >>> 11)

/** The position of a routing key, in [0, 10,000) basis points. */
export function placeOf(salt: string, routingKey: string): number {
  return Math.floor((hash32(routingKey, hash32(salt)) / 0x1_0000_0000) * totalBp)
}

/** The arm of a routing key, the same on every replica of one generation. Throws `invalid_route` when the shares do not add up. */
export function armOfKey(route: Route, routingKey: string): RouteArm {
  const first = route.arms[0]
  if (first !== undefined && route.arms.length === 1) return first
  let reached = 0
  const place = placeOf(route.salt, routingKey)
  for (const arm of route.arms) {
    reached += arm.shareBp
    if (place < reached) return arm
  }
  throw new DomainError(
    'invalid_route',
    `the shares of ${route.model} sum to ${reached} instead of ${totalBp}`,
  )
}

/** Whether the request is copied to the shadow, independently of its arm. */
export function isShadowed(route: Route, routingKey: string): boolean {
  return route.shadow !== undefined && placeOf(`shadow:${route.salt}`, routingKey) < route.shadow.shareBp
}

/** The route of one replica: in a rolling release it serves the candidate only, or not at all. */
export function routeAt(route: Route, replica: string): Route {
  if (route.replicas === undefined) return route
  const chosen = route.replicas.includes(replica) ? 'canary' : 'champion'
  const arms = route.arms.map((each) => ({ ...each, shareBp: each.arm === chosen ? totalBp : 0 }))
  return { ...route, arms }
}

/** The version that serves by default. */
export const championOf = ({ arms }: Pick<Route, 'arms'>): string =>
  arms.find(({ arm }) => arm === 'champion')!.version

/** Whether the champion has not passed its probation; `proven` is then the version to return to. */
export const isOnProbation = (route: Pick<Route, 'arms' | 'proven'>): boolean =>
  championOf(route) !== route.proven

/**
 * The route after the exposure lease has expired: no canary, no shadow, no champion on probation. Its requests count for no release,
 * because without a candidate they are no control either.
 */
export function withoutCandidate(route: Route): Route {
  if (isOnProbation(route)) return fenced(route)
  const { shadow: _shadow, targeted: _targeted, release: _release, ...rest } = route
  const remaining = route.arms.filter((arm) => arm.arm !== 'canary')
  const freed = totalBp - remaining.reduce((sum, arm) => sum + arm.shareBp, 0)
  const arms = remaining.map((arm) =>
    arm.arm === 'champion' ? { ...arm, shareBp: arm.shareBp + freed } : arm,
  )
  return { ...rest, arms }
}

/** The version that an order to roll back the model means: the candidate when it serves callers, otherwise the champion. */
export const servingVersion = ({ arms, targeted }: Route): string =>
  arms.find(({ arm, shareBp }) => arm === 'canary' && shareBp > 0)?.version ??
  targeted?.version ??
  championOf({ arms })

/** Whether the route uses the version: for responses to callers, or for copies of requests. */
export const isNamedBy = ({ arms, shadow, targeted }: Route, version: string): boolean =>
  shadow?.version === version || targeted?.version === version || arms.some((arm) => arm.version === version)

/** Whether the version may serve because of this route: a version that the route names, or the proven one, which serves without a lease. */
export const mayServe = (route: Route, version: string): boolean =>
  route.proven === version || isNamedBy(route, version)

/**
 * The version that takes over when the given versions, of which the route names at least one, are rolled back; undefined when the route
 * has no other.
 */
export const successorOf = (
  { proven, standby }: Route,
  rolledBack: ReadonlySet<string>,
): string | undefined =>
  [proven, standby].find((version) => version !== undefined && !rolledBack.has(version))

/** The route of a replica without a lease: the last version that passed its probation, counted for no release. */
export const fenced = (route: Route): Route => championAlone(route, route.proven)

/** The route of one version, counted for no release, such as that of a model with a kill switch. */
export function championAlone(route: Route, version: string): Route {
  const { shadow: _shadow, targeted: _targeted, release: _release, guard: _guard, ...rest } = route
  return { ...rest, arms: [{ arm: 'champion', version, shareBp: totalBp }] }
}

/** Whether the route has a candidate, which needs an exposure lease. */
export function hasCandidate(route: Pick<Route, 'arms' | 'shadow' | 'targeted' | 'proven'>): boolean {
  const { arms, shadow, targeted, proven } = route
  // In probation the shadow may be the previous champion, which needs no lease.
  const isShadowed = shadow !== undefined && shadow.version !== proven
  return (
    isShadowed || targeted !== undefined || arms.some(({ arm }) => arm === 'canary') || isOnProbation(route)
  )
}

type Written = Pick<Route, 'epoch' | 'generation'>

/** Whether `a` is newer than `b` by (epoch, generation). */
export function isNewer(a: Written, b: Written): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.generation > b.generation
}

/** The issues of a route; empty when it is valid. */
export function issuesOfRoute(route: Route): string[] {
  const { issues, need } = policyIssues()
  const { arms, shadow, targeted, generation, epoch } = route
  const isShare = (share: number, min: number) => Number.isInteger(share) && share >= min && share <= totalBp
  need(
    arms.every(({ shareBp }) => isShare(shareBp, 0)),
    'every share must be a whole number of basis points from 0 to 10,000',
  )
  const sum = arms.reduce((total, { shareBp }) => total + shareBp, 0)
  need(sum === totalBp, `the shares sum to ${sum} instead of ${totalBp}`)
  need(arms.filter(({ arm }) => arm === 'champion').length === 1, 'exactly one arm must be the champion')
  need(new Set(arms.map(({ arm }) => arm)).size === arms.length, 'an arm is listed twice')
  need(Number.isInteger(generation) && generation >= 1, 'the generation must be a whole number from 1')
  need(Number.isInteger(epoch) && epoch >= 1, 'the epoch must be a whole number from 1')
  need(
    !shadow || isShare(shadow.shareBp, 1),
    'the shadow share must be a whole number of basis points from 1 to 10,000',
  )
  if (targeted !== undefined) {
    need(targeted.version !== '', 'targeted.version is empty')
    issues.push(...issuesOfTarget(targeted.target).map((issue) => `targeted.target ${issue}`))
  }
  need(
    route.replicas === undefined || arms.some(({ arm }) => arm === 'canary'),
    'replicas are listed, but no arm is the canary',
  )
  need(route.proven !== '', 'the known good version is missing')
  return issues
}
