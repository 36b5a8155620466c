/**
 * Defines drills: releases of a deliberately faulty candidate that measure how soon the fault is detected and rolled back. A
 * defence that is never exercised may no longer work.
 */
import { counted } from './figures.ts'
import { policyIssues } from './policy-issues.ts'

/** Each kind of drill with its fault and the expected reaction. */
export const drillKinds = {
  bad: 'The candidate fails a share of its requests; the error judge must roll it back.',
  nan: 'The candidate returns values that are not finite; the invalid-output judge must roll it back.',
  slow: 'The candidate responds far more slowly than the champion; the latency judge must roll it back.',
  silent: 'The requests of the candidate are not counted; the missing data must roll it back.',
  'lost-replica':
    'A replica stops renewing its lease during a release; it must fall back to the last known good version, and recover.',
  'dead-worker':
    'The worker that observes a release stops; the exposure must expire, and another worker must take over.',
} as const satisfies Record<string, string>

export type DrillKind = keyof typeof drillKinds

/** `drl_`, the run id, and the index of the drill in its run. */
export const drillId = (runId: string, index: number): string =>
  `drl_${runId.replaceAll('-', '')}${index.toString(16).padStart(2, '0')}`

/** The index of the drill in its run. */
export const placeOfDrill = (id: string): number => Number.parseInt(id.slice(-2), 16)

export const drillKindNames = Object.keys(drillKinds) as DrillKind[]

/** The fault that a replica injects into a drill's version. It is part of the artifact, so that it cannot affect another version. */
export interface DrillFault {
  kind: 'bad' | 'nan' | 'slow' | 'silent'
  /** The share of requests with the fault, 0..1. */
  share: number
  /** The added latency in milliseconds of the kind `slow`. */
  slowMs?: number
}

/** The fault of a drill's version; undefined for drills in which a replica or a worker fails instead. */
export function drillFaultOf(kind: DrillKind, slowMs: number): DrillFault | undefined {
  switch (kind) {
    case 'bad':
    case 'nan':
      return { kind, share: 0.5 }
    case 'slow':
      return { kind, share: 1, slowMs }
    case 'silent':
      return { kind, share: 1 }
    case 'lost-replica':
    case 'dead-worker':
      return undefined
    default:
      return kind satisfies never
  }
}

/** The drills of a model. */
export interface DrillPolicy {
  /** The period of scheduled drills of each kind, in milliseconds. */
  everyMs?: number
  /** The schedule as a cron expression in UTC, instead of a period. */
  cron?: string
  /** The kinds, in order. */
  kinds: DrillKind[]
  /** `mirrored`: the candidate gets copies of requests, and callers never see its predictions. `live`: it serves a share of the traffic. */
  traffic: 'mirrored' | 'live'
  /** The share of the traffic, or of the copied requests, in basis points. */
  shareBp: number
  /** The failed requests that one drill may cause; above it the drill has failed. */
  harmBudget: number
  /** The time in milliseconds after which the drill has failed. */
  withinMs: number
}

const monthMs = 30 * 86_400_000

export const defaultDrill: DrillPolicy = {
  everyMs: monthMs,
  kinds: [...drillKindNames],
  traffic: 'mirrored',
  shareBp: 1_000,
  harmBudget: 50,
  withinMs: 600_000,
}

/** The facts of a drill, from the rows of its release. */
export interface DrillFacts {
  kind: DrillKind
  outcome?: string
  reason: string
  /** The first reason of the last verdict, when it was against the candidate. */
  failure?: { code: string; message: string }
  /** Whether the last verdict found no traffic at all, neither for the candidate nor for the champion. */
  isIdle?: boolean
  /** Whether missing data ordered the rollback. */
  isWithoutData?: boolean
  exposed: number
  harmed: number
  harmBudget: number
  /** The live replicas that never acknowledged the rollback; absent when all have. */
  unacknowledged?: readonly string[]
  /** Whether the loss of a replica or a worker was detected, and whether it recovered. */
  detected: boolean
  recovered: boolean
}

/** Whether the expected defence worked, with the reason as a message. */
export function judgeDrill(facts: DrillFacts): { passed: boolean; message: string; detectedBy?: string } {
  const { kind, outcome, reason, failure, exposed, harmed, harmBudget, detected, recovered } = facts
  const { isIdle, isWithoutData, unacknowledged } = facts
  const failed = (message: string) => ({ passed: false, message })
  const passed = (message: string, detectedBy: string) => ({ passed: true, message, detectedBy })
  if (outcome === undefined) return failed('the release of the drill has not ended')
  if (outcome === 'promoted') return failed('the candidate of a drill was promoted')
  if (harmed > harmBudget) return failed(`${harmed} failed requests, failure budget ${harmBudget}`)
  if (unacknowledged !== undefined)
    return failed(`the rollback was not acknowledged: ${unacknowledged.join('; ')}`)
  switch (kind) {
    case 'bad':
    case 'nan':
    case 'slow':
      // The release tells its rollback by the failures of its stage, and the drill tells the same.
      if (failure !== undefined && failure.code !== budgetCode)
        return passed(outcome === 'rolled_back' ? reason : failure.message, failure.code)
      return failed(
        exposed === 0
          ? `inconclusive, no traffic reached the candidate: ${reason}`
          : `the fault was not detected in ${counted(exposed, 'request')}: ${reason}`,
      )
    case 'silent':
      if (isIdle === true) return failed(`inconclusive, the model got no traffic: ${reason}`)
      if (outcome === 'rolled_back' && isWithoutData === true) return passed(reason, 'no_data')
      return failed(`the missing data did not roll it back: ${reason}`)
    case 'lost-replica':
      if (!detected) return failed('the silent replica was not detected as lost')
      if (!recovered) return failed('the replica did not recover in time')
      return passed('the replica fell back and recovered', 'lease')
    case 'dead-worker':
      if (!detected) return failed('the stopped worker was not detected')
      if (!recovered) return failed('no other worker took over')
      const message = 'the exposure expired, or another worker took over first'
      return { passed: true, message, detectedBy: 'watch' }
    default:
      return kind satisfies never
  }
}

/** The code of a rollback because the failure budget of the drill is spent. */
export const budgetCode = 'drill_budget'

/** The issues of a drill policy, each with its field. */
export function issuesOfDrill({ everyMs, kinds, traffic, ...policy }: DrillPolicy): string[] {
  const { issues, need, integer, duration } = policyIssues()
  if (everyMs !== undefined) duration('everyMs', everyMs, 1)
  need(
    Array.isArray(kinds) && kinds.every((kind) => drillKindNames.includes(kind)),
    `kinds are among ${drillKindNames.join(', ')}`,
  )
  need(traffic === 'mirrored' || traffic === 'live', `traffic is mirrored or live, not ${String(traffic)}`)
  integer('shareBp', policy.shareBp, 1, 9_000)
  integer('harmBudget', policy.harmBudget, 0)
  duration('withinMs', policy.withinMs, 1)
  return issues
}

/** The last drill of one kind that ran to its end, or the last one that was skipped. */
export interface LastDrill {
  kind: DrillKind
  held: boolean
  passed: boolean
  message: string
  ageMs: number
}

/**
 * Why a release that requires recent drills may not start; undefined when it may. Each kind that has ever run must be recent,
 * because one tested defence proves nothing about another.
 */
export function issueOfLastDrill(
  last: readonly LastDrill[],
  { withinMs, kinds }: { withinMs: number; kinds: readonly DrillKind[] },
): string | undefined {
  const held = last.filter((each) => each.held)
  const failed = held.find(({ passed }) => !passed)
  if (failed) return `the last drill "${failed.kind}" failed: ${failed.message}`
  const [oldest] = held
    .filter(({ kind }) => kinds.includes(kind))
    .toSorted((one, other) => other.ageMs - one.ageMs)
  if (oldest !== undefined && oldest.ageMs <= withinMs) return undefined
  const requiredKinds = oldest === undefined ? kinds : [oldest.kind]
  const [tried] = last
    .filter(
      ({ kind, ageMs, ...each }) =>
        !each.held && requiredKinds.includes(kind) && ageMs < (oldest?.ageMs ?? Infinity),
    )
    .toSorted((one, other) => one.ageMs - other.ageMs)
  const since =
    tried === undefined ? '' : `; "${tried.kind}" was skipped ${minutes(tried.ageMs)} ago: ${tried.message}`
  return oldest === undefined
    ? `the policy requires a drill, and none has run${since}`
    : `the last drill "${oldest.kind}" was ${minutes(oldest.ageMs)} ago, ` +
        `the policy requires one within ${Math.round(withinMs / 60_000)}${since}`
}

const minutes = (ms: number): string => `${Math.round(ms / 60_000)} minutes`
