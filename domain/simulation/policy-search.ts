/** Searches the stages of a release policy by simulation: how fast, how harmful and how sensitive each plan of shares and times is. */
import { totalAlpha, type AlphaSplit } from '../canary/alpha-split.ts'
import type { ReleasePolicy, StagePolicy } from '../release/policy.ts'
import { quantileOfSorted } from '@tenure/sequential'
import { labelTimeOf } from './recorded-answers.ts'
import type { SimulatedWorld, TrafficScenario } from './scenario.ts'
import type { SimulatedRelease } from './simulate.ts'

/** The shares of the searched plans, in percent. */
const plans: readonly (readonly number[])[] = [
  [25, 50],
  [10, 50],
  [1, 50],
  [5, 25, 50],
  [1, 10, 50],
  [1, 5, 10, 25, 50],
]

/** How much more often than the champion a bad candidate fails or is wrong, absolute. */
export const searchedFaults = [0.01, 0.02, 0.05] as const

/** What a bad candidate does, with the text for it. */
export const searchedKinds = {
  errors: 'fail 2 % more often',
  worse: 'are wrong on 2 % of what the champion answers rightly',
  'stale-feature': 'come to be wrong on 2 % of what the champion answers rightly, within a day',
} as const
export type SearchedKind = keyof typeof searchedKinds

/** One candidate per fault size. A fault that shows in the shadow harms no caller under any plan, so errors begin after the shadow. */
export const searchedScenarios = (
  kind: SearchedKind,
  { championRate, shadowMs }: { championRate: number; shadowMs: number },
): TrafficScenario[] =>
  searchedFaults.map((more) => {
    if (kind === 'worse') return { kind, by: more }
    if (kind === 'stale-feature') return { kind, by: more, overMs: 24 * hourMs }
    return { kind: 'error', rate: Math.min(1, championRate + more), fromMs: shadowMs }
  })

/** The approximate maximum number of ticks per simulation: longer plans get longer ticks. */
const maxTicks = 1_440
const hourMs = 3_600_000

export interface PolicyCandidate {
  /** Its shares and time: `1 → 10 → 50 % in 4 h`. */
  name: string
  policy: ReleasePolicy
}

export interface PolicySearch {
  /** The time of all stages together, in hours. */
  hours: readonly number[]
  /** The failures above the champion's rate that a release may cause. */
  harmBudget: number
  /** Σα, 0..0.05. */
  falseRollback: number
}

/** The stages as they are, and one policy for each plan of shares and each time. Each stage takes an equal part of the time. */
export function candidatePolicies(base: ReleasePolicy, search: PolicySearch): PolicyCandidate[] {
  const { harmBudget, falseRollback } = search
  const limits = { ...base.limits, harmBudget, alpha: scaledAlpha(base.limits.alpha, falseRollback) }
  const minRequests = base.stages[0]?.minRequests ?? 400
  const planned = plans.flatMap((shares) =>
    search.hours.map((hours): PolicyCandidate => {
      const minMs = Math.round((hours * hourMs) / shares.length)
      const stages = shares.map((share): StagePolicy => ({
        shareBp: share * 100,
        minMs,
        minRequests,
        deadlineMs: 8 * minMs,
      }))
      return { name: `${shares.join(' → ')} % in ${hoursText(hours)}`, policy: { ...base, limits, stages } }
    }),
  )
  return [{ name: 'stages as they are', policy: { ...base, limits } }, ...planned]
}

/** The same split, scaled to this sum. */
function scaledAlpha(alpha: AlphaSplit, total: number): AlphaSplit {
  const factor = total / totalAlpha(alpha)
  const scaled = Object.entries(alpha).map(([name, value]: [string, number | undefined]) => [
    name,
    value === undefined ? undefined : value * factor,
  ])
  return Object.fromEntries(scaled) as AlphaSplit
}

const hoursText = (hours: number): string => (hours < 1 ? `${hours * 60} min` : `${hours} h`)

/** The world with ticks long enough for the plan. Recorded ticks are added up. */
export function worldFor(
  { stages, probation, shadow }: ReleasePolicy,
  world: SimulatedWorld,
): SimulatedWorld {
  const parts = [...stages, probation, shadow]
  const labelMs = probation?.coverLabels === true ? (labelTimeOf(world.labels) ?? 0) : 0
  const awaitedMs = Math.max(0, labelMs - (probation?.minMs ?? 0))
  const totalMs = parts.reduce((sum, part) => sum + (part?.minMs ?? 0), awaitedMs)
  const factor = Math.max(1, Math.ceil(totalMs / maxTicks / world.tickMs))
  const { recorded } = world
  const longer = recorded?.length
    ? Array.from({ length: Math.ceil(recorded.length / factor) }, (_, i) => {
        const joined = recorded.slice(i * factor, (i + 1) * factor)
        // The last one may be shorter than the others.
        const part = factor / joined.length
        const sum = (name: 'requests' | 'errors' | 'invalid') =>
          part * joined.reduce((total, tick) => total + tick[name], 0)
        return { requests: sum('requests'), errors: sum('errors'), invalid: sum('invalid') }
      })
    : undefined
  return { ...world, tickMs: world.tickMs * factor, recorded: longer }
}

export interface PolicyScore {
  name: string
  /** The median time in which a good candidate passes its probation; null when none does. */
  hours: number | null
  /** The share of good candidates that a verdict rolled back. */
  falseRollbacks: number
  /** For each searched fault, the share of bad candidates that a verdict rolled back. */
  power: number[]
  /** The mean failures above the champion's rate, for the fault with the highest mean. */
  expectedHarm: number
}

/** `bad` holds the releases of each searched fault. */
export function scoreOf(
  name: string,
  good: readonly SimulatedRelease[],
  bad: readonly (readonly SimulatedRelease[])[],
): PolicyScore {
  const byVerdict = (releases: readonly SimulatedRelease[]) =>
    releases.filter((each) => each.byVerdict).length / releases.length
  const minutes = good
    .filter(({ outcome }) => outcome === 'promoted')
    .map((each) => each.minutes)
    .sort((a, b) => a - b)
  const median = quantileOfSorted(minutes, 0.5)
  return {
    name,
    hours: median === null ? null : median / 60,
    falseRollbacks: byVerdict(good),
    power: bad.map(byVerdict),
    expectedHarm: Math.max(
      ...bad.map((releases) => releases.reduce((sum, each) => sum + each.excessBad, 0) / releases.length),
    ),
  }
}

/** The scores that no other score beats: none is at least as fast, harmless and sensitive to every fault, and better in one of these. */
export function paretoFront(scores: readonly PolicyScore[]): PolicyScore[] {
  const costs = ({ hours, expectedHarm, power }: PolicyScore): number[] => [
    hours ?? Infinity,
    expectedHarm,
    ...power.map((each) => -each),
  ]
  const beats = (one: number[], other: number[]) =>
    one.every((cost, i) => cost <= other[i]!) && one.some((cost, i) => cost < other[i]!)
  const promoting = scores.filter(({ hours }) => hours !== null)
  return promoting
    .filter((score) => !promoting.some((other) => beats(costs(other), costs(score))))
    .sort((a, b) => (a.hours ?? 0) - (b.hours ?? 0))
}

/** The minimum power of a suggested policy against a candidate that fails 2 % more often. */
export const requiredPower = 0.95

/** The fastest plan whose mean harm stays within the budget; undefined without one. Σα bounds the false rollbacks of all plans. */
export function suggestedOf(front: readonly PolicyScore[], harmBudget: number): PolicyScore | undefined {
  return front.find(
    ({ expectedHarm, power }) => expectedHarm <= harmBudget && (power[1] ?? 0) >= requiredPower,
  )
}
