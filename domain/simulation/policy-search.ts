/**
 * Searches a release policy by simulation: how fast, how harmful and how sensitive each plan of shares and times is, and then each shadow,
 * probation, holdback and α split. The stage of targeted callers is left out, because traffic does not tell who they are.
 */
import { percentText } from '../figures.ts'
import { totalAlpha, type AlphaSplit } from '../canary/alpha-split.ts'
import { issuesOfPolicy, type ReleasePolicy, type StagePolicy } from '../release/policy.ts'
import { normalQuantile, quantileOfSorted, sumOf } from '@tenure/sequential'
import { labelTimeOf } from './recorded-answers.ts'
import { betterScenario, parseScenario, type SimulatedWorld, type TrafficScenario } from './scenario.ts'
import type { Simulated, SimulatedRelease } from './simulate.ts'

/** The shares of the searched plans, in percent. */
const plans: readonly (readonly number[])[] = [
  [25, 50],
  [10, 50],
  [1, 50],
  [5, 25, 50],
  [1, 10, 50],
  [1, 5, 10, 25, 50],
]

/** What a bad candidate does, with the text for it. */
export const searchedKinds = {
  errors: 'fail 2 % more often',
  worse: 'are wrong on 2 % of what the champion answers rightly',
  'stale-feature': 'come to be wrong on 2 % of what the champion answers rightly, within a day',
  any: 'fail 2 % more often, at once or later, are wrong on 2 % or on half of what the champion answers rightly, or come to be',
} as const
export type SearchedKind = keyof typeof searchedKinds

/** A bad candidate. */
export interface SearchedFault {
  name: string
  /** How much more often than the champion it fails or is wrong, absolute. */
  more: number
  kind: 'errors' | 'late errors' | 'worse' | 'stale-feature'
}

const half = 0.5
const later = 600_000

/** The bad candidates of a search. */
export const searchedFaults = (kind: SearchedKind): SearchedFault[] =>
  kind === 'any'
    ? [
        { name: '+2 % failed', more: 0.02, kind: 'errors' },
        { name: '+2 % failed later', more: 0.02, kind: 'late errors' },
        { name: '+2 % wrong', more: 0.02, kind: 'worse' },
        { name: 'half wrong', more: half, kind: 'worse' },
        { name: '+2 % wrong in a day', more: 0.02, kind: 'stale-feature' },
      ]
    : [0.01, 0.02, 0.05].map((more) => ({ name: `+${percentText(more)}`, more, kind }))

/** A fault that shows in the shadow harms no caller, so errors begin with the first request of a caller, or ten minutes later. */
export function scenarioOf(
  { kind, more }: SearchedFault,
  { championRate, policy }: { championRate: number; policy: Pick<ReleasePolicy, 'shadow'> },
): TrafficScenario {
  const shadowMs = policy.shadow?.minMs ?? 0
  const rate = Math.min(1, championRate + more)
  switch (kind) {
    case 'errors':
      return { kind: 'error', rate, fromMs: shadowMs }
    case 'late errors':
      return { kind: 'error', rate, fromMs: shadowMs + later }
    case 'worse':
      return { kind, by: more }
    case 'stale-feature':
      return { kind, by: more, overMs: 24 * hourMs }
    default:
      return kind satisfies never
  }
}

/** The faults that a suggested plan must find: those of at least 2 %. */
const isRequired = ({ more }: SearchedFault): boolean => more === 0.02 || more === half

/** The approximate maximum number of ticks per simulation: longer plans get longer ticks. */
const maxTicks = 1_440
const hourMs = 3_600_000

export interface PolicyCandidate {
  /** Its shares and time: `1 → 10 → 50 % in 4 h`. */
  name: string
  policy: ReleasePolicy
}

/** The settings that are searched after shares and times. */
export const searchedSettings = ['shadow', 'probation', 'holdback', 'alpha'] as const
export type SearchedSetting = (typeof searchedSettings)[number]

export interface PolicySearch {
  /** The time of all stages together, in hours. */
  hours: readonly number[]
  /** The failures and wrong answers beyond the champion's that a release may cause. */
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

const variantsOf: Record<SearchedSetting, (plan: PolicyCandidate) => PolicyCandidate[]> = {
  shadow: ({ name, policy }) => {
    const minRequests = policy.shadow?.minRequests ?? policy.stages[0]?.minRequests ?? 400
    return variants(
      [undefined, 0.5, 4, 24].map((hours) => ({
        name: hours === undefined ? `${name}, no shadow` : `${name}, shadow ${hoursText(hours)}`,
        policy: {
          ...policy,
          shadow: hours === undefined ? undefined : { shareBp: 10_000, minRequests, ...lasting(hours) },
        },
      })),
    )
  },
  probation: ({ name, policy }) =>
    variants(
      [1, 12, 48].map((hours) => ({
        name: `${name}, probation ${hoursText(hours)}`,
        policy: { ...policy, probation: { ...probationOf(policy), ...lasting(hours) } },
      })),
    ),
  holdback: ({ name, policy }) =>
    variants(
      [100, 500, 2_000].map((holdbackBp) => ({
        name: `${name}, holdback ${percentText(holdbackBp / 10_000)}`,
        policy: { ...policy, probation: { ...probationOf(policy), holdbackBp } },
      })),
    ),
  alpha: ({ name, policy }) => {
    const { limits } = policy
    const { alpha } = limits
    const ofOutcomes = { paired: 3 * alpha.paired, quality: 3 * alpha.quality }
    return variants(
      Object.entries({ failures: { errors: 3 * alpha.errors }, outcomes: ofOutcomes }).map(
        ([what, more]) => ({
          name: `${name}, more α for ${what}`,
          policy: {
            ...policy,
            limits: { ...limits, alpha: scaledAlpha({ ...alpha, ...more }, totalAlpha(alpha)) },
          },
        }),
      ),
    )
  },
}

const lasting = (hours: number) => ({ minMs: hours * hourMs, deadlineMs: 8 * hours * hourMs })

/** The probation, or that of a policy without one. */
const probationOf = ({ probation, stages }: ReleasePolicy): NonNullable<ReleasePolicy['probation']> =>
  probation ?? { holdbackBp: 500, minRequests: stages[0]?.minRequests ?? 400, ...lasting(1) }

/** Without those that the rules of the policy, such as its risk class, refuse. */
const variants = (all: readonly PolicyCandidate[]): PolicyCandidate[] =>
  all.filter(({ policy }) => issuesOfPolicy(policy).length === 0)

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
  /** The share of candidates that are better and answer otherwise that were rolled back, or about which a person was asked. */
  betterStopped: number
  /** For each searched fault, the share of bad candidates that a verdict rolled back. */
  power: number[]
  /** The least of these, of the faults that a suggested plan must find. */
  leastPower: number
  /** The mean harm of the fault with the highest mean: failures and wrong answers beyond the champion's. */
  expectedHarm: number
  /** The upper 95 % bound of that mean, since it is simulated. */
  harmBound: number
}

/** `bad` holds the releases of each searched fault. */
export function scoreOf(
  name: string,
  {
    good,
    better,
    bad,
  }: {
    good: readonly SimulatedRelease[]
    better: readonly SimulatedRelease[]
    bad: readonly (readonly SimulatedRelease[])[]
  },
  faults: readonly SearchedFault[],
): PolicyScore {
  const byVerdict = (releases: readonly SimulatedRelease[]) =>
    releases.filter((each) => each.byVerdict).length / releases.length
  const minutes = good
    .filter(({ outcome }) => outcome === 'promoted')
    .map((each) => each.minutes)
    .sort((a, b) => a - b)
  const median = quantileOfSorted(minutes, 0.5)
  const harms = bad.map((releases) => meanWithBound(releases.map(({ excessBad }) => excessBad)))
  return {
    name,
    hours: median === null ? null : median / 60,
    falseRollbacks: byVerdict(good),
    betterStopped: better.filter(({ outcome }) => outcome !== 'promoted').length / better.length,
    power: bad.map(byVerdict),
    leastPower: Math.min(...bad.filter((_, i) => isRequired(faults[i]!)).map(byVerdict)),
    expectedHarm: Math.max(...harms.map(({ mean }) => mean)),
    harmBound: Math.max(...harms.map(({ bound }) => bound)),
  }
}

function meanWithBound(values: readonly number[]): { mean: number; bound: number } {
  const mean = sumOf(values) / values.length
  const variance = sumOf(values.map((value) => (value - mean) ** 2)) / Math.max(1, values.length - 1)
  return { mean, bound: mean + (normalQuantile(0.95) ?? 0) * Math.sqrt(variance / values.length) }
}

/** The scores that no other score beats, the first of equal ones: none is at least as fast, harmless and sensitive to every fault, and better in one of these. */
export function paretoFront(scores: readonly PolicyScore[]): PolicyScore[] {
  const costs = ({ hours, expectedHarm, power }: PolicyScore): number[] => [
    hours ?? Infinity,
    expectedHarm,
    ...power.map((each) => -each),
  ]
  const beats = (one: number[], other: number[]) =>
    one.every((cost, i) => cost <= other[i]!) && one.some((cost, i) => cost < other[i]!)
  const equal = (one: number[], other: number[]) => one.every((cost, i) => cost === other[i]!)
  const promoting = scores.filter(({ hours }) => hours !== null)
  return promoting
    .filter(
      (score, at) =>
        !promoting.some(
          (other, before) =>
            beats(costs(other), costs(score)) || (before < at && equal(costs(other), costs(score))),
        ),
    )
    .sort((a, b) => (a.hours ?? 0) - (b.hours ?? 0))
}

/** The minimum power of a suggested policy against a candidate that fails, or is wrong, 2 % more often. */
export const requiredPower = 0.95

/** The fastest plan whose harm stays within the budget; undefined without one. Σα bounds the false rollbacks of all plans. */
export function suggestedOf(front: readonly PolicyScore[], harmBudget: number): PolicyScore | undefined {
  return front.find(({ harmBound, leastPower }) => harmBound <= harmBudget && leastPower >= requiredPower)
}

/** The plan from which the next setting is searched: the suggested one or else, of those that promote, the one with the least harm. */
const bestOf = (scores: readonly PolicyScore[], harmBudget: number): PolicyScore | undefined =>
  suggestedOf(paretoFront(scores), harmBudget) ??
  scores
    .filter(({ hours }) => hours !== null)
    .toSorted((a, b) => a.harmBound - b.harmBound || b.leastPower - a.leastPower || a.hours! - b.hours!)[0]

/** A plan to simulate under one scenario. */
export type PlannedReleases = Pick<Simulated, 'policy' | 'scenario' | 'world'>

export interface SearchedPolicies {
  candidates: PolicyCandidate[]
  scores: PolicyScore[]
  front: PolicyScore[]
  /** The suggested plan; undefined where none is good enough. */
  chosen: PolicyCandidate | undefined
}

/** Searches shares and times and then each setting, from the best plan so far. `play` simulates the releases of each plan. */
export async function searchPolicies(
  base: ReleasePolicy,
  {
    world,
    faults,
    settings = searchedSettings,
    ...search
  }: PolicySearch & {
    world: SimulatedWorld
    faults: readonly SearchedFault[]
    settings?: readonly SearchedSetting[]
  },
  play: (plans: PlannedReleases[], what: string) => Promise<SimulatedRelease[][]>,
): Promise<SearchedPolicies> {
  const candidates: PolicyCandidate[] = []
  const scores: PolicyScore[] = []
  const championRate = championRateOf(world)
  const add = async (more: readonly PolicyCandidate[], what: string) => {
    const plans = more.flatMap(({ policy }) => {
      const scenarios = faults.map((fault) => scenarioOf(fault, { championRate, policy }))
      const ticked = worldFor(policy, world)
      return [{ kind: 'good' } as const, parseScenario(betterScenario)!, ...scenarios].map((scenario) => ({
        policy,
        scenario,
        world: ticked,
      }))
    })
    const played = await play(plans, what)
    for (const [i, plan] of more.entries()) {
      const [good = [], better = [], ...bad] = played.slice(
        i * (faults.length + 2),
        (i + 1) * (faults.length + 2),
      )
      candidates.push(plan)
      scores.push(scoreOf(plan.name, { good, better, bad }, faults))
    }
  }
  await add(candidatePolicies(base, search), 'shares and times')
  for (const setting of settings) {
    const best = bestOf(scores, search.harmBudget)
    const from = candidates.find(({ name }) => name === best?.name)
    if (from !== undefined) await add(variantsOf[setting](from), setting)
  }
  const front = paretoFront(scores)
  const suggested = suggestedOf(front, search.harmBudget)
  return { candidates, scores, front, chosen: candidates.find(({ name }) => name === suggested?.name) }
}

/** The share of requests that the champion fails. */
export function championRateOf({ recorded, errorRate }: SimulatedWorld): number {
  if (recorded === undefined) return errorRate
  const sum = (name: 'requests' | 'errors' | 'invalid') => recorded.reduce((all, tick) => all + tick[name], 0)
  return (sum('errors') + sum('invalid')) / Math.max(1, sum('requests'))
}
