import { describe, expect, it } from 'vitest'
import { dayPolicy, issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { totalAlpha } from '../../../domain/canary/alpha-split.ts'
import {
  candidatePolicies,
  paretoFront,
  scoreOf,
  scenarioOf,
  searchedFaults,
  searchPolicies,
  suggestedOf,
  worldFor,
  type PlannedReleases,
  type PolicyScore,
  type SearchedKind,
} from '../../../domain/simulation/policy-search.ts'
import { defaultWorld } from '../../../domain/simulation/scenario.ts'
import { simulateRelease, type SimulatedRelease } from '../../../domain/simulation/simulate.ts'
import { seededRandom } from '@tenure/sequential'
import { hourPolicy } from '../../support/release/hour-policy.ts'

const hourMs = 3_600_000
const search = { hours: [0.25, 4], harmBudget: 20, falseRollback: 0.02 }

it('bad candidates fail more often, are less accurate, or become so', () => {
  const policy = { shadow: { shareBp: 10_000, minMs: hourMs, minRequests: 1, deadlineMs: 2 * hourMs } }
  const of = (kind: SearchedKind) =>
    searchedFaults(kind).map((fault) => scenarioOf(fault, { championRate: 0.005, policy }))
  expect(of('errors')[1]).toEqual({ kind: 'error', rate: 0.025, fromMs: hourMs })
  expect(of('worse')[1]).toEqual({ kind: 'worse', by: 0.02 })
  expect(of('stale-feature')[1]).toEqual({ kind: 'stale-feature', by: 0.02, overMs: 24 * hourMs })
  expect(of('any')).toEqual([
    { kind: 'error', rate: 0.025, fromMs: hourMs },
    { kind: 'error', rate: 0.025, fromMs: hourMs + 600_000 },
    { kind: 'worse', by: 0.02 },
    { kind: 'worse', by: 0.5 },
    { kind: 'stale-feature', by: 0.02, overMs: 24 * hourMs },
  ])
})

describe('the searched policies', () => {
  const candidates = candidatePolicies(dayPolicy, search)

  it('are the present stages and every combination of shares and times', () => {
    expect(candidates.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['stages as they are', '25 → 50 % in 15 min', '1 → 10 → 50 % in 4 h']),
    )
    expect(candidates).toHaveLength(13)
    expect(candidates[0]!.policy.stages).toEqual(dayPolicy.stages)
  })

  it('are valid, and divide the time equally over their stages', () => {
    for (const { name, policy } of candidates) expect(issuesOfPolicy(policy), name).toEqual([])
    const { stages } = candidates.find(({ name }) => name === '1 → 10 → 50 % in 4 h')!.policy
    expect(stages.map(({ shareBp, minMs }) => [shareBp, minMs])).toEqual([
      [100, (4 * hourMs) / 3],
      [1_000, (4 * hourMs) / 3],
      [5_000, (4 * hourMs) / 3],
    ])
  })

  it('have the given harm budget and Σα, split as before', () => {
    for (const { policy } of candidates) {
      expect(policy.limits.harmBudget).toBe(20)
      expect(totalAlpha(policy.limits.alpha)).toBeCloseTo(0.02, 12)
      expect(policy.limits.alpha.errors / policy.limits.alpha.guard).toBeCloseTo(10, 9)
    }
  })
})

describe('the ticks of a simulation', () => {
  it('are those of the policy while the plan is short', () => {
    const [, short] = candidatePolicies({ ...dayPolicy, shadow: undefined, probation: undefined }, search)
    expect(worldFor(short!.policy, defaultWorld)).toEqual({ ...defaultWorld, recorded: undefined })
  })

  it('are longer for a long plan, with the recorded traffic added up', () => {
    const policy: ReleasePolicy = {
      ...dayPolicy,
      shadow: undefined,
      probation: undefined,
      stages: [{ shareBp: 5_000, minMs: 8 * hourMs, minRequests: 1, deadlineMs: 9 * hourMs }],
    }
    const recorded = [1, 2, 3, 4, 5].map((requests) => ({ requests, errors: 1, invalid: 0 }))
    expect(worldFor(policy, { ...defaultWorld, recorded })).toMatchObject({
      tickMs: 20_000,
      // The last tick stands for two, like the others.
      recorded: [
        { requests: 3, errors: 2, invalid: 0 },
        { requests: 7, errors: 2, invalid: 0 },
        { requests: 10, errors: 2, invalid: 0 },
      ],
    })
  })
})

const faults = searchedFaults('errors')

describe('a score', () => {
  const release = (given: Partial<SimulatedRelease>): SimulatedRelease => ({
    outcome: 'promoted',
    reason: '',
    byVerdict: false,
    minutes: 60,
    canaryRequests: 0,
    excessBad: 0,
    ...given,
  })
  const back = { outcome: 'rolled_back', byVerdict: true } as const

  it('takes the median time of promoted candidates, and the harm of the worst fault', () => {
    const good = [
      release({ minutes: 60 }),
      release({ minutes: 120 }),
      release(back),
      release({ minutes: 90 }),
    ]
    const bad = [
      [release({ ...back, excessBad: 4 }), release({ excessBad: 20 })],
      [release({ ...back, excessBad: 3 }), release({ ...back, excessBad: 5 })],
    ]
    const better = [release({}), release({ outcome: 'held' }), release(back), release({})]
    expect(scoreOf('x', { good, better, bad }, faults)).toEqual({
      name: 'x',
      hours: 1.5,
      falseRollbacks: 0.25,
      betterStopped: 0.5,
      power: [0.5, 1],
      leastPower: 1,
      expectedHarm: 12,
      // 12 + 1.645 · √(128/2)
      harmBound: expect.closeTo(25.159, 3),
    })
  })

  it('has no time where no good candidate was promoted', () => {
    const held = [release({ outcome: 'held' })]
    expect(scoreOf('x', { good: held, better: held, bad: [[release(back)]] }, faults).hours).toBeNull()
  })
})

describe('the front', () => {
  const score = (name: string, hours: number | null, expectedHarm: number, power: number): PolicyScore => ({
    name,
    hours,
    falseRollbacks: 0,
    betterStopped: 0,
    power: [power, power],
    leastPower: power,
    expectedHarm,
    harmBound: expectedHarm,
  })
  const scores = [
    score('slow', 24, 10, 1),
    score('fast', 1, 60, 0.96),
    score('beaten', 2, 61, 0.96),
    score('blunt', 0.5, 5, 0.4),
    score('never', null, 0, 1),
  ]

  it('lists the scores that no other score beats, fastest first', () => {
    expect(paretoFront(scores).map(({ name }) => name)).toEqual(['blunt', 'fast', 'slow'])
  })

  it('gives the fastest plan that is sharp enough and keeps the harm budget', () => {
    expect(suggestedOf(paretoFront(scores), 60)?.name).toBe('fast')
    expect(suggestedOf(paretoFront(scores), 50)?.name).toBe('slow')
    expect(suggestedOf(paretoFront(scores), 5)).toBeUndefined()
  })

  it('shows by simulation that smaller first shares cost fewer failures', () => {
    const harmOf = (name: string) => {
      const { policy } = candidatePolicies(dayPolicy, { ...search, harmBudget: 1_000 }).find(
        (each) => each.name === name,
      )!
      const scenario = { kind: 'error', rate: 0.025, fromMs: policy.shadow?.minMs ?? 0 } as const
      const releases = Array.from({ length: 20 }, (_, i) =>
        simulateRelease({
          policy,
          scenario,
          world: worldFor(policy, defaultWorld),
          uniform: seededRandom(i + 1),
        }),
      )
      return scoreOf(name, { good: releases, better: releases, bad: [releases] }, faults).expectedHarm
    }
    expect(harmOf('1 → 10 → 50 % in 4 h')).toBeLessThan(harmOf('25 → 50 % in 4 h'))
  })
})

describe('a search', () => {
  it('by simulation finds a plan whose harm stays within the budget under other bad releases of five kinds', async () => {
    const kinds = searchedFaults('any')
    const shadow = { shareBp: 10_000, minMs: 4 * hourMs, minRequests: 1_000, deadlineMs: 8 * hourMs }
    const probation = { holdbackBp: 500, minMs: 4 * hourMs, minRequests: 1_000, deadlineMs: 8 * hourMs }
    const world = { ...defaultWorld, tickMs: 120_000, requestsPerSecond: 20 }
    const play = (planned: readonly PlannedReleases[], seed: number) =>
      planned.map((plan) =>
        Array.from({ length: 3 }, (_, i) => simulateRelease({ ...plan, uniform: seededRandom(seed + i) })),
      )
    // A candidate that comes to be wrong wins pairs too, so that it is found late.
    const harmBudget = 3_000
    const { chosen } = await searchPolicies(
      { ...hourPolicy, shadow, probation },
      { hours: [4], harmBudget, falseRollback: 0.05, world, faults: kinds, settings: [] },
      (planned) => Promise.resolve(play(planned, 1)),
    )
    const { policy } = chosen!
    const planned = kinds.map((fault) => ({
      policy,
      scenario: scenarioOf(fault, { championRate: world.errorRate, policy }),
      world: worldFor(policy, world),
    }))
    for (const [i, releases] of play(planned, 1_000).entries()) {
      const mean = releases.reduce((sum, { excessBad }) => sum + excessBad / releases.length, 0)
      expect(mean, kinds[i]!.name).toBeLessThanOrEqual(harmBudget)
    }
  })

  /** Plays each plan as a rule says, without a simulation. */
  const searchBy = (harmOf: (policy: ReleasePolicy) => number, harmBudget = 20) =>
    searchPolicies(dayPolicy, { ...search, harmBudget, world: defaultWorld, faults }, (planned) =>
      Promise.resolve(
        planned.map(({ policy, scenario }) => {
          const minutes = [...policy.stages, policy.shadow, policy.probation].reduce(
            (sum, part) => sum + (part?.minMs ?? 0) / 60_000,
            0,
          )
          const good = {
            outcome: 'promoted',
            reason: '',
            byVerdict: false,
            minutes,
            canaryRequests: 0,
            excessBad: 0,
          }
          const bad = { ...good, outcome: 'rolled_back', byVerdict: true, excessBad: harmOf(policy) }
          return [(scenario.kind === 'good' ? good : bad) as SimulatedRelease]
        }),
      ),
    )

  it('covers shares and times, shadow, probation, holdback and α split, and keeps Σα in all of them', async () => {
    const { candidates } = await searchBy(() => 0)
    const policies = candidates.map(({ policy }) => policy)
    const differing = (of: (policy: ReleasePolicy) => unknown) =>
      new Set(policies.map((each) => JSON.stringify(of(each)))).size
    expect(differing(({ stages }) => stages)).toBe(13)
    expect(differing(({ shadow }) => shadow?.minMs ?? 0)).toBe(4)
    expect(differing(({ probation }) => probation?.minMs ?? 0)).toBe(4)
    expect(differing(({ probation }) => probation?.holdbackBp ?? 0)).toBe(4)
    expect(differing(({ limits }) => limits.alpha)).toBe(3)
    for (const { name, policy } of candidates) {
      expect(issuesOfPolicy(policy), name).toEqual([])
      expect(totalAlpha(policy.limits.alpha), name).toBeCloseTo(0.02, 12)
    }
  })

  it('goes on from the best plan so far', async () => {
    const byShadow = (policy: ReleasePolicy) => (policy.shadow === undefined ? 100 : 10)
    const { chosen } = await searchBy(byShadow)
    expect(chosen?.name).toBe('25 → 50 % in 15 min, shadow 30 min')
    expect((await searchBy(byShadow, 5)).chosen).toBeUndefined()
  })
})
