/**
 * A route made ready to answer: its arms with their loaded versions, and what becomes of it when the candidate's exposure or
 * the replica's own lease lapses. All three are built together, so that a lapse needs nothing but a comparison.
 */
import {
  fenced,
  hash32,
  withoutCandidate,
  totalBp,
  type Arm,
  type Route,
  type RouteArm,
} from '../../../domain/serving/route.ts'
import type { FallbackLevel } from '../../../domain/serving/fallback-level.ts'
import { encodeOrigin } from '../../../store/serving/prediction-log.ts'
import { isSilent } from '../version/drill-fault.ts'
import type { CandidateGuard, ChampionGuard } from './circuit-breakers.ts'
import type { ShadowArm } from './shadow.ts'
import type { ArmCounters, CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export interface LiveArm {
  arm: Arm
  generation: number
  loaded: LoadedVersion
  /** The arm gets the keys whose place is below this and not below that of the arm before. */
  belowBp: number
  counters: ArmCounters
  /** Of the candidate, or of the champion: told of every answer. */
  guard?: CandidateGuard
  /** The beginning of its rows in the log. */
  origin: Uint8Array
  /** The beginning of its answers. */
  head: Uint8Array
  /** Whether it answers in the champion's stead because somebody has thrown the model's switch. */
  fallback: boolean
}

export interface RouteTable {
  arms: LiveArm[]
  /** The arm with the largest share. */
  likeliest: LiveArm
  /**
   * By version: the arms that may be asked for by name, which are all but the candidate. What they answer then is counted and
   * logged outside of any release, because those who ask were not drawn.
   */
  pinned: ReadonlyMap<string, LiveArm>
  seed: number
  shadow?: { arm: ShadowArm; seed: number; belowBp: number }
}

/** What answers a model whose switch is thrown. */
export interface KillSwitchOverride {
  table: RouteTable
  /** A fallback answers also when the lease has lapsed; a champion then gives way to what is proven. */
  outlivesLease: boolean
  /** Where on the ladder it stands; nobody is answered from the last one. */
  fallbackLevel: FallbackLevel
}

export interface ActiveRoute {
  route: Route
  /** While the lease and, with a candidate, its exposure run. */
  complete: RouteTable
  /** When the exposure has lapsed. */
  withoutCandidate: RouteTable
  /** When the replica's own lease has lapsed. */
  expiredLease: RouteTable
  /** Answers instead of all of these while the model's switch is thrown. */
  override?: KillSwitchOverride | undefined
  /** Answers instead of the route when this replica has itself seen the champion fail. */
  fallback?: KillSwitchOverride | undefined
  championGuard?: ChampionGuard | undefined
  /** On the monotonic clock. */
  exposedUntil: number
  /** The same on the database's clock, as it was read last: tells a renewal from a clock that was set back. */
  renewedTo?: number | null
  /** Open when this replica has itself seen the candidate fail. */
  guard?: CandidateGuard
}

/** Ticks while no release is under way. */
const quietTickMs = 10_000

/** Every version that the route may need at any moment. */
export function versionsOf(route: Route): string[] {
  const shadow = route.shadow === undefined ? [] : [route.shadow.version]
  return [...new Set([...route.arms.map((arm) => arm.version), route.proven, ...shadow])]
}

export interface TableOptions {
  versions: ReadonlyMap<string, LoadedVersion>
  counters: CounterRegistry
  guard?: CandidateGuard | undefined
  championGuard?: ChampionGuard | undefined
  /** Whether its arms answer only when something has lapsed: a tick without requests is then none. */
  quiet?: boolean
  /** Whether its answers say that they are a fallback. */
  fallback?: boolean
}

/** A route made ready to answer as it stands. */
export function buildTable(route: Route, options: TableOptions): RouteTable {
  const { versions, counters, guard, championGuard, quiet = false, fallback = false } = options
  const { model, generation } = route
  const countersOf = (
    arm: Arm | 'shadow',
    version: string,
    release: string | undefined,
    isQuiet: boolean,
  ): ArmCounters =>
    counters.open({
      quiet: isQuiet,
      model,
      version,
      arm,
      release: isSilent(versions.get(version)!) ? undefined : release,
      generation,
      slow95Us: route.latencyUs?.p95 ?? Infinity,
      slow99Us: route.latencyUs?.p99 ?? Infinity,
      lengthMs: route.tickMs ?? quietTickMs,
    })
  const build = ({ arm, version }: RouteArm, release: string | undefined, isQuiet: boolean) => ({
    arm,
    generation,
    loaded: versions.get(version)!,
    counters: countersOf(arm, version, release, isQuiet),
    origin: encodeOrigin({ model, version, arm, release, generation }),
    fallback,
    head: Buffer.from(
      `{"model":${JSON.stringify(model)},"version":${JSON.stringify(version)},` +
        `"arm":"${arm}","generation":${generation},${fallback ? '"fallback":true,' : ''}"predictions":[`,
    ),
  })
  let reached = 0
  const arms = route.arms.map((each): LiveArm => ({
    ...build(each, route.release, quiet),
    belowBp: (reached += each.shareBp),
    ...(each.arm === 'canary' && guard ? { guard } : {}),
    ...(each.version === championGuard?.version ? { guard: championGuard } : {}),
  }))
  const largest = Math.max(...route.arms.map(({ shareBp }) => shareBp))
  const pinned = route.arms.filter(({ arm, shareBp }) => arm !== 'canary' && shareBp > 0)
  const table: RouteTable = {
    arms,
    seed: hash32(route.salt),
    likeliest: arms[route.arms.findIndex(({ shareBp }) => shareBp === largest)]!,
    pinned: new Map(
      pinned.map((each) => [each.version, { ...build(each, undefined, true), belowBp: totalBp }]),
    ),
  }
  if (route.shadow === undefined) return table
  const { version, shareBp } = route.shadow
  // Copies that the previous champion is shown are no requests of its callers: counted for the release they would look
  // like a control that is larger than it is.
  const counted = version === route.proven ? undefined : route.release
  const arm = {
    loaded: versions.get(version)!,
    counters: countersOf('shadow', version, counted, false),
    release: route.release,
  }
  return { ...table, shadow: { arm, seed: hash32(`shadow:${route.salt}`), belowBp: shareBp } }
}

export function buildLive(
  route: Route,
  versions: ReadonlyMap<string, LoadedVersion>,
  counters: CounterRegistry,
  guard?: CandidateGuard,
  championGuard?: ChampionGuard,
): Omit<ActiveRoute, 'exposedUntil' | 'renewedTo'> {
  const options = { versions, counters, championGuard }
  return {
    route,
    ...(guard ? { guard } : {}),
    ...(championGuard ? { championGuard } : {}),
    complete: buildTable(route, { ...options, guard }),
    withoutCandidate: buildTable(withoutCandidate(route), { ...options, quiet: true }),
    expiredLease: buildTable(fenced(route), { ...options, quiet: true }),
  }
}

const placeOf = (seed: number, routingKey: string): number =>
  Math.floor((hash32(routingKey, seed) / 0x1_0000_0000) * totalBp)

/** The arm of a routing key; the same as `chooseArm` of the route, with the salt hashed beforehand. */
export function armOf({ arms, seed }: RouteTable, routingKey: string): LiveArm {
  if (arms.length === 1) return arms[0]!
  const place = placeOf(seed, routingKey)
  for (let i = 0; i < arms.length - 1; i++) if (place < arms[i]!.belowBp) return arms[i]!
  return arms.at(-1)!
}

export function isShadowedRequest(shadow: NonNullable<RouteTable['shadow']>, routingKey: string): boolean {
  return placeOf(shadow.seed, routingKey) < shadow.belowBp
}
