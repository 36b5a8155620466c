/**
 * Who answers which request. A route is the whole truth about a model's traffic at one generation; every
 * replica holds it in memory and answers from it alone. Were the arm chosen anywhere else, two replicas could
 * give the same caller two different models.
 */
import { DomainError } from '../errors.ts'

/**
 * - `canary`: the candidate of a release, exposed only while its watcher renews the exposure lease.
 * - `champion`: the version that answers by default; fail-static.
 * - `control`: the concurrent cohort on the previous champion: the hold-back in probation, the B side of an A/B test.
 */
export type Arm = 'canary' | 'champion' | 'control'

export interface RouteArm {
  arm: Arm
  version: string
  /** Share of the keys in basis points (1/10,000). */
  shareBp: number
}

/** Which arms a model's traffic goes to. Generation and epoch only ever rise. */
export interface Route {
  model: string
  /** Raised when a database is restored from a backup, so that old generations cannot come back. */
  epoch: number
  /** Raised by every write. */
  generation: number
  /** The release that owns this route, absent between releases. */
  release?: string
  /** Mixed into the hash, so that two releases do not try the same callers first. */
  salt: string
  /** In hash order, lowest keys first: raising the first share never moves a key back. Shares sum to 10,000. */
  arms: RouteArm[]
  /** Gets a copy of this share of the requests; its answers never leave the server. */
  shadow?: { version: string; shareBp: number }
  /**
   * The replicas that answer with the candidate alone, while the others do not answer with it at all; the shares then tell
   * how many they are. Absent: every replica answers with every arm, each caller with one.
   */
  replicas?: string[]
  /** What a replica serves that has lost its lease: the last version that has earned its place. */
  proven: string
  /** Kept loaded beside them, so that the way back is warm between releases too. */
  standby?: string
  /** The length of a counter tick while a release is under way. */
  tickMs?: number
  /** The champion's latency quantiles before the release, in microseconds: what is slower counts as slow. */
  latencyUs?: { p95: number; p99: number }
  /** The rate of bad answers at which a replica drops the candidate by itself, and the α of that guard. */
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

/** The place of a routing key on the circle, in [0, 10,000) basis points. */
export function placeOf(salt: string, routingKey: string): number {
  return Math.floor((hash32(routingKey, hash32(salt)) / 0x1_0000_0000) * totalBp)
}

/** The arm of a routing key. The same key gets the same arm on every replica of one generation. */
export function armOfKey(route: Route, routingKey: string): RouteArm {
  const first = route.arms[0]
  if (first !== undefined && route.arms.length === 1) return first
  let reached = 0
  const place = placeOf(route.salt, routingKey)
  for (const arm of route.arms) {
    reached += arm.shareBp
    if (place < reached) return arm
  }
  throw new DomainError('invalid_route', `the shares of ${route.model} sum to ${reached}, not to ${totalBp}`)
}

/** Whether the shadow is to be shown this request too. Independent of the arm. */
export function isShadowed(route: Route, routingKey: string): boolean {
  return route.shadow !== undefined && placeOf(`shadow:${route.salt}`, routingKey) < route.shadow.shareBp
}

/** A route as one replica follows it: where whole replicas are given to the candidate, it has all of the callers or none. */
export function routeAt(route: Route, replica: string): Route {
  if (route.replicas === undefined) return route
  const chosen = route.replicas.includes(replica) ? 'canary' : 'champion'
  const arms = route.arms.map((each) => ({ ...each, shareBp: each.arm === chosen ? totalBp : 0 }))
  return { ...route, arms }
}

/** The route a replica follows once the candidate's exposure lease has lapsed: no canary, no shadow. */
export function withoutCandidate(route: Route): Route {
  const { shadow: _shadow, ...rest } = route
  const kept = route.arms.filter((arm) => arm.arm !== 'canary')
  const freed = totalBp - kept.reduce((sum, arm) => sum + arm.shareBp, 0)
  const arms = kept.map((arm) => (arm.arm === 'champion' ? { ...arm, shareBp: arm.shareBp + freed } : arm))
  return { ...rest, arms }
}

/** The route of a replica that has lost its own lease: only what is proven. */
export function fenced(route: Route): Route {
  const { shadow: _shadow, ...rest } = route
  return { ...rest, arms: [{ arm: 'champion', version: route.proven, shareBp: totalBp }] }
}

/** The route of a model whose switch is thrown: one version for everybody, and no release to count it for. */
export function championAlone(route: Route, version: string): Route {
  const { shadow: _shadow, release: _release, guard: _guard, ...rest } = route
  return { ...rest, arms: [{ arm: 'champion', version, shareBp: totalBp }] }
}

/** Whether somebody on the route has not earned its place: it is exposed only while it is watched. */
export function hasCandidate({ arms, shadow, proven }: Route): boolean {
  // In probation it may be the previous champion that is shown what the new one answers: it needs no watcher.
  return (shadow !== undefined && shadow.version !== proven) || arms.some(({ arm }) => arm === 'canary')
}

/** Whether `a` is newer than `b` by (epoch, generation). */
export function isNewer(
  a: Pick<Route, 'epoch' | 'generation'>,
  b: Pick<Route, 'epoch' | 'generation'>,
): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.generation > b.generation
}

/** What is wrong with a route, in words; empty when it may be used. */
export function issuesOfRoute(route: Route): string[] {
  const issues: string[] = []
  const shares = route.arms.map((arm) => arm.shareBp)
  if (shares.some((share) => !Number.isInteger(share) || share < 0 || share > totalBp))
    issues.push('every share is a whole number of basis points from 0 to 10,000')
  const sum = shares.reduce((total, share) => total + share, 0)
  if (sum !== totalBp) issues.push(`the shares sum to ${sum}, not to ${totalBp}`)
  if (route.arms.filter((arm) => arm.arm === 'champion').length !== 1)
    issues.push('exactly one arm is the champion')
  if (new Set(route.arms.map((arm) => arm.arm)).size !== route.arms.length) issues.push('an arm stands twice')
  if (!Number.isInteger(route.generation) || route.generation < 1)
    issues.push('the generation is a whole number from 1')
  if (!Number.isInteger(route.epoch) || route.epoch < 1) issues.push('the epoch is a whole number from 1')
  const shadow = route.shadow
  if (shadow && (!Number.isInteger(shadow.shareBp) || shadow.shareBp < 1 || shadow.shareBp > totalBp))
    issues.push('the shadow share is a whole number of basis points from 1 to 10,000')
  if (route.replicas !== undefined && !route.arms.some(({ arm }) => arm === 'canary'))
    issues.push('replicas are named, but no arm is the canary that they are to answer with')
  if (route.proven === '') issues.push('a proven version is named')
  return issues
}
