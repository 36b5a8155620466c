import { describe, expect, it } from 'vitest'
import { dayPolicy, issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { totalAlpha } from '../../../domain/canary/alpha-split.ts'
import {
  candidatePolicies,
  paretoFront,
  scoreOf,
  searchedScenarios,
  suggestedOf,
  worldFor,
  type PolicyScore,
} from '../../../domain/simulation/policy-search.ts'
import { defaultWorld } from '../../../domain/simulation/scenario.ts'
import { simulateRelease, type SimulatedRelease } from '../../../domain/simulation/simulate.ts'
import { seededRandom } from '@tenure/sequential'

const hourMs = 3_600_000
const search = { hours: [0.25, 4], harmBudget: 20, falseRollback: 0.02 }

it('bad candidates fail more often, are less accurate, or become so', () => {
  const of = (kind: 'errors' | 'worse' | 'stale-feature') =>
    searchedScenarios(kind, { championRate: 0.005, shadowMs: hourMs })[1]
  expect(of('errors')).toEqual({ kind: 'error', rate: 0.025, fromMs: hourMs })
  expect(of('worse')).toEqual({ kind: 'worse', by: 0.02 })
  expect(of('stale-feature')).toEqual({ kind: 'stale-feature', by: 0.02, overMs: 24 * hourMs })
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
    expect(scoreOf('x', good, bad)).toEqual({
      name: 'x',
      hours: 1.5,
      falseRollbacks: 0.25,
      power: [0.5, 1],
      expectedHarm: 12,
    })
  })

  it('has no time where no good candidate was promoted', () => {
    expect(scoreOf('x', [release({ outcome: 'held' })], [[release(back)]]).hours).toBeNull()
  })
})

describe('the front', () => {
  const score = (name: string, hours: number | null, expectedHarm: number, power: number): PolicyScore => ({
    name,
    hours,
    falseRollbacks: 0,
    power: [power, power],
    expectedHarm,
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
      return scoreOf(name, releases, [releases]).expectedHarm
    }
    expect(harmOf('1 → 10 → 50 % in 4 h')).toBeLessThan(harmOf('25 → 50 % in 4 h'))
  })
})
