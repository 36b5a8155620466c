/**
 * Builds the tables of a route: its arms with their loaded versions, complete, without the candidate, and with an expired lease. All
 * three are built together, so that an expiry costs only a comparison.
 */
import { hash32, totalBp, type Arm, type Route, type RouteArm } from '../../../domain/serving/route.ts'
import { routeInForce } from '../../../domain/serving/served.ts'
import { targetMatcher, type TargetMatcher } from '../../../domain/serving/target.ts'
import { answerBins, answerCounter } from '../../../domain/tasks/tasks.ts'
import type { FallbackLevel } from '../../../domain/serving/fallback-level.ts'
import { encodeOrigin, type PredictionOrigin } from '../../../store/serving/prediction-log.ts'
import { isSilent } from '../version/drill-fault.ts'
import type { CandidateGuard, ChampionGuard } from './circuit-breakers.ts'
import type { ShadowArm } from './shadow.ts'
import type { ArmCounters, CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export interface LiveArm {
  arm: Arm
  generation: number
  loaded: LoadedVersion
  /** The arm gets the keys whose hash is below this value and not below that of the previous arm. */
  belowBp: number
  counters: ArmCounters
  /** The circuit breaker of the candidate or champion; it counts every response. */
  guard?: CandidateGuard
  /** The bytes with which its log rows begin. */
  origin: Uint8Array
  /** The bytes with which its responses begin. */
  head: Uint8Array
  /** Whether it serves instead of the champion. */
  fallback: boolean
}

export interface RouteTable {
  arms: LiveArm[]
  /** The arm with the largest share. */
  likeliest: LiveArm
  /**
   * The arms that a request may name, by version: all but the candidate. Such requests are counted and logged outside any release, because
   * they were not assigned at random.
   */
  pinned: ReadonlyMap<string, LiveArm>
  seed: number
  shadow?: { arm: ShadowArm; seed: number; belowBp: number }
  /** Serves targeted callers; absent without any. */
  targeted?: { arm: LiveArm; matches: TargetMatcher } | undefined
}

/** Serves a model whose kill switch is set. */
export interface KillSwitchOverride {
  table: RouteTable
  /** A fallback also serves with an expired lease; a champion is then replaced by the proven version. */
  outlivesLease: boolean
  /** At the last level every request is refused. */
  fallbackLevel: FallbackLevel
}

export interface ActiveRoute {
  route: Route
  /** The table while the lease and the candidate's exposure are valid. */
  complete: RouteTable
  /** The table after the exposure has expired. */
  withoutCandidate: RouteTable
  /** The table after the lease has expired. */
  expiredLease: RouteTable
  /** Serves instead of all of these while the kill switch is set. */
  override?: KillSwitchOverride
  /** Serves instead of the route when the champion's circuit breaker is open. */
  fallback?: KillSwitchOverride
  championGuard?: ChampionGuard
  /** Serves while this replica stores a rollback of a version of the route; `none` when it has no other version to serve. */
  rolledBack?: RouteTable | 'none' | undefined
  /** The end of the exposure, on the monotonic clock. */
  exposedUntil: number
  /** The end of the exposure on the database's clock. It distinguishes a renewal from a clock that was set back. */
  renewedTo?: number | null
  /** The route as last read from the database, in JSON. */
  readText?: string
  /** The circuit breaker that opens after the candidate has failed on this replica. */
  guard?: CandidateGuard
}

/** The length of a tick outside releases. */
const quietTickMs = 10_000

/** Returns every version that the route may need at any moment. */
export function versionsOf(route: Route): string[] {
  const beside = [route.shadow, route.targeted].flatMap((each) => (each === undefined ? [] : [each.version]))
  return [...new Set([...route.arms.map((arm) => arm.version), route.proven, ...beside])]
}

export interface TableOptions {
  versions: ReadonlyMap<string, LoadedVersion>
  counters: CounterRegistry
  guard?: CandidateGuard
  championGuard?: ChampionGuard
  /** Whether its arms serve only after an expiry; ticks without requests are then left out. */
  quiet?: boolean
  /** Whether its responses are marked as fallback. */
  fallback?: boolean
}

export function buildTable(route: Route, options: TableOptions): RouteTable {
  const { versions, counters, guard, championGuard, quiet = false, fallback = false } = options
  const { model, generation } = route
  // The baseline fixes the bins, so that both arms are counted alike in every stage.
  const baseline = versions.get(route.proven)?.manifest
  const bins = baseline && answerBins(baseline.output, baseline.profile)
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
      answerBins: bins?.names.length ?? 0,
      isDropped: arm === 'canary' || arm === 'targeted' ? guard?.isOpen : undefined,
      countAnswer: bins && answerCounter(bins, versions.get(version)!.manifest.output),
    })
  const build = (
    { arm, version }: Pick<PredictionOrigin, 'arm' | 'version'>,
    release: string | undefined,
    isQuiet: boolean,
  ) => ({
    arm,
    generation,
    loaded: versions.get(version)!,
    counters: countersOf(arm, version, release, isQuiet),
    origin: encodeOrigin({ model, version, arm, release, generation }),
    fallback,
    head: responseHead({ model, version, arm, generation }, fallback),
  })
  const guardOf = ({ arm, version }: Pick<PredictionOrigin, 'arm' | 'version'>) => {
    if (version === championGuard?.version) return championGuard
    return arm === 'canary' || arm === 'targeted' ? guard : undefined
  }
  let reached = 0
  const arms = route.arms.map((each): LiveArm => ({
    ...build(each, route.release, quiet),
    belowBp: (reached += each.shareBp),
    guard: guardOf(each),
  }))
  const largest = Math.max(...route.arms.map(({ shareBp }) => shareBp))
  const pinned = route.arms.filter(({ arm, shareBp }) => arm !== 'canary' && shareBp > 0)
  const targeted = route.targeted && { arm: 'targeted' as const, version: route.targeted.version }
  const table: RouteTable = {
    arms,
    targeted: targeted && {
      arm: { ...build(targeted, route.release, quiet), belowBp: 0, guard: guardOf(targeted) },
      matches: targetMatcher(route.targeted!.target),
    },
    seed: hash32(route.salt),
    likeliest: arms[route.arms.findIndex(({ shareBp }) => shareBp === largest)]!,
    pinned: new Map(
      pinned.map((each) => [each.version, { ...build(each, undefined, true), belowBp: totalBp }]),
    ),
  }
  if (route.shadow === undefined) return table
  const { version, shareBp } = route.shadow
  // Copies sent to the previous champion are not traffic: counted for the release, they would enlarge the control arm.
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
    guard,
    championGuard,
    complete: buildTable(route, { ...options, guard }),
    withoutCandidate: buildTable(routeInForce(route, { leased: true, exposed: false }), {
      ...options,
      quiet: true,
    }),
    expiredLease: buildTable(routeInForce(route, { leased: false, exposed: false }), {
      ...options,
      quiet: true,
    }),
  }
}

/** Returns the bytes with which the responses of an arm begin. */
export function responseHead(origin: Omit<PredictionOrigin, 'release'>, fallback = false): Buffer {
  const start = JSON.stringify(origin).slice(0, -1)
  return Buffer.from(`${start},${fallback ? '"fallback":true,' : ''}"predictions":[`)
}

const placeOf = (seed: number, routingKey: string): number =>
  Math.floor((hash32(routingKey, seed) / 0x1_0000_0000) * totalBp)

/** Returns the arm of a routing key; the same as `armOfKey` of the route, with the salt hashed in advance. */
export function armOf({ arms, seed }: RouteTable, routingKey: string): LiveArm {
  if (arms.length === 1) return arms[0]!
  const place = placeOf(seed, routingKey)
  for (let i = 0; i < arms.length - 1; i++) if (place < arms[i]!.belowBp) return arms[i]!
  return arms.at(-1)!
}

/** The arms of a table with their shares. */
export const sharesOf = ({ arms }: RouteTable): RouteArm[] =>
  arms.map(({ arm, loaded: { version }, belowBp }, index) => ({
    arm: arm as RouteArm['arm'],
    version,
    shareBp: belowBp - (arms[index - 1]?.belowBp ?? 0),
  }))

export function isShadowedRequest(shadow: NonNullable<RouteTable['shadow']>, routingKey: string): boolean {
  return placeOf(shadow.seed, routingKey) < shadow.belowBp
}
