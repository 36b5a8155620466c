/**
 * A route made ready to answer: its arms with their loaded versions, and what becomes of it when the candidate's exposure or
 * the replica's own lease lapses. All three are built together, so that a lapse needs nothing but a comparison.
 */
import { fenced, hash32, withoutCandidate, wholeBp, type Arm, type Route } from '../../domain/route.ts'
import { encodeOrigin } from '../../store/predictions.ts'
import type { CandidateGuard } from './guard.ts'
import type { ShadowArm } from './shadow.ts'
import type { ArmTally, Tallies } from './tally.ts'
import type { LoadedVersion } from './version.ts'

export interface LiveArm {
  arm: Arm
  loaded: LoadedVersion
  /** The arm gets the keys whose place is below this and not below that of the arm before. */
  belowBp: number
  tally: ArmTally
  /** Of the candidate: told of every answer. */
  guard?: CandidateGuard
  /** The beginning of its rows in the log. */
  origin: Uint8Array
  /** The beginning of its answers. */
  head: string
}

export interface Table {
  arms: LiveArm[]
  seed: number
  shadow?: { arm: ShadowArm; seed: number; belowBp: number }
}

export interface LiveModel {
  route: Route
  /** While the lease and, with a candidate, its exposure run. */
  full: Table
  /** When the exposure has lapsed. */
  reduced: Table
  /** When the replica's own lease has lapsed. */
  fenced: Table
  /** On the monotonic clock. */
  exposedUntil: number
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

export function hasCandidate(route: Route): boolean {
  return route.shadow !== undefined || route.arms.some((arm) => arm.arm === 'canary')
}

export function buildLive(
  route: Route,
  versions: ReadonlyMap<string, LoadedVersion>,
  tallies: Tallies,
  guard?: CandidateGuard,
): Omit<LiveModel, 'exposedUntil'> {
  const tallyOf = (arm: Arm | 'shadow', version: string, quiet = false): ArmTally =>
    tallies.open({
      quiet,
      model: route.model,
      version,
      arm,
      release: route.release,
      generation: route.generation,
      slow95Us: route.latencyUs?.p95 ?? Infinity,
      slow99Us: route.latencyUs?.p99 ?? Infinity,
      lengthMs: route.tickMs ?? quietTickMs,
    })
  const tableOf = (of: Route, quiet = false): Table => {
    let reached = 0
    const arms = of.arms.map(({ arm, version, shareBp }): LiveArm => {
      const { model, generation, release } = route
      return {
        arm,
        loaded: versions.get(version)!,
        belowBp: (reached += shareBp),
        tally: tallyOf(arm, version, quiet),
        ...(arm === 'canary' && guard ? { guard } : {}),
        origin: encodeOrigin({ model, version, arm, release, generation }),
        head:
          `{"model":${JSON.stringify(model)},"version":${JSON.stringify(version)},` +
          `"arm":"${arm}","generation":${generation},"predictions":[`,
      }
    })
    const table: Table = { arms, seed: hash32(of.salt) }
    if (of.shadow === undefined) return table
    const { version, shareBp } = of.shadow
    const arm = { loaded: versions.get(version)!, tally: tallyOf('shadow', version), release: route.release }
    return { ...table, shadow: { arm, seed: hash32(`shadow:${of.salt}`), belowBp: shareBp } }
  }
  return {
    route,
    ...(guard ? { guard } : {}),
    full: tableOf(route),
    reduced: tableOf(withoutCandidate(route), true),
    fenced: tableOf(fenced(route), true),
  }
}

const placeOf = (seed: number, routingKey: string): number =>
  Math.floor((hash32(routingKey, seed) / 0x1_0000_0000) * wholeBp)

/** The arm of a routing key; the same as `chooseArm` of the route, with the salt hashed beforehand. */
export function armOf({ arms, seed }: Table, routingKey: string): LiveArm {
  if (arms.length === 1) return arms[0]!
  const place = placeOf(seed, routingKey)
  for (let i = 0; i < arms.length - 1; i++) if (place < arms[i]!.belowBp) return arms[i]!
  return arms.at(-1)!
}

export function isShadowed(shadow: NonNullable<Table['shadow']>, routingKey: string): boolean {
  return placeOf(shadow.seed, routingKey) < shadow.belowBp
}
