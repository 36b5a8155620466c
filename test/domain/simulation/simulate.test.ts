import { describe, expect, it } from 'vitest'
import type { BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { canary, percent, promql } from '../../../models/define.ts'
import { compileRelease } from '../../../models/define/release.ts'
import { businessAlpha } from '../../../domain/canary/alpha-split.ts'
import { seededRandom } from '@tenure/sequential'
import {
  answersOf,
  defaultWorld,
  describeScenario,
  pairShares,
  parseScenario,
  scenarioForms,
  worldAt,
  type SimulatedWorld,
} from '../../../domain/simulation/scenario.ts'
import { trafficOf } from '../../../domain/simulation/traffic.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { summarizeReleases } from '../../../domain/simulation/summary.ts'
import type { BaselineRuleName } from '../../../domain/simulation/baseline-rules.ts'
import { hourPolicy } from '../../support/release/hour-policy.ts'

const fromFivePercent: ReleasePolicy = { ...dayPolicy, stages: dayPolicy.stages.slice(1) }
const hourMs = 3_600_000

/** The first half hour is a shadow. */
const shadowed: ReleasePolicy = {
  ...hourPolicy,
  shadow: { shareBp: 10_000, minMs: hourMs / 2, minRequests: 1_000, deadlineMs: hourMs },
}

/** Adds conversions that arrive within ten minutes to the policy. */
const sells = (more: Partial<BusinessMetric> = {}): ReleasePolicy => {
  const times = { withinMs: 600_000, delayMs: 0 }
  const bounds = { min: 0, max: 1, lowerIsBetter: false, action: 'rollback' } as const
  const conversion: BusinessMetric = { event: 'purchase', counts: 'any', ...bounds, ...times, ...more }
  return { ...hourPolicy, limits: { ...hourPolicy.limits, alpha: businessAlpha, business: { conversion } } }
}

/** Adds complaints that another system counts per minute to the policy. */
const measured = (): ReleasePolicy => {
  const external = { complaints: promql('prometheus', '$version', { max: 0.2, delay: '1 s' }) }
  const { limits } = compileRelease(() => {}, canary({ stages: [percent(5)], external }))
  return { ...hourPolicy, limits }
}

const run = (scenario: string, releases: number, policy = hourPolicy, rule?: BaselineRuleName) => {
  const parsed = parseScenario(scenario)!
  return summarizeReleases(
    scenario,
    parsed,
    Array.from({ length: releases }, (_, i) =>
      simulateRelease({ policy, scenario: parsed, world: defaultWorld, uniform: seededRandom(i + 1) }, rule),
    ),
  )
}

describe('a simulated release', () => {
  it('is reproducible by its seed', () => {
    expect(run('error:0.02', 5)).toEqual(run('error:0.02', 5))
  })

  it('that is good is promoted', () => {
    const good = run('good', 40)
    expect(good).toMatchObject({ promoted: 40, falseRollbackRate: 0 })
    expect(good.minutesToPromote.p50).toBeGreaterThanOrEqual(60)
  })

  it('with 2 % errors at a share of 5 % is rolled back within 1,400 canary requests in 95 % of runs', () => {
    const bad = run('error:0.02', 1_000, fromFivePercent)
    expect(bad.rolledBack).toBe(1_000)
    expect(bad.stopped['error_rate']).toBeGreaterThan(900)
    expect(bad.canaryRequestsToDetect.p95).toBeLessThanOrEqual(1_400)
  })

  it('that fails every request is stopped by the breaker within ten', () => {
    expect(run('error:1', 50).canaryRequestsToDetect.p95).toBeLessThanOrEqual(10)
  })

  it('is rolled back for fifty users in a loop, and not for one', () => {
    expect(run('storm:1', 20).rolledBack).toBe(0)
    expect(run('storm:50', 20).rolledBack).toBe(20)
  })

  it('is held, never rolled back, when the router sends another share than configured', () => {
    expect(run('router-drift', 10)).toMatchObject({ held: 10, rolledBack: 0, promoted: 0 })
  })

  it.each(['no-traffic', 'control-gone', 'stale-at:0.2h'])(
    'is never promoted when there is %s',
    (scenario) => {
      expect(run(scenario, 5)).toMatchObject({ promoted: 0, rolledBack: 5, falseRollbackRate: 0 })
    },
  )

  it('is rolled back when it is half as slow again', () => {
    expect(run('latency:1.5', 10)).toMatchObject({ rolledBack: 10, falseRollbackRate: null })
  })

  it('is not rolled back for labels that change in both arms', () => {
    expect(run('label-shift', 5).rolledBack).toBe(0)
  })

  it('is rolled back for users who buy less, not for users who buy more, and never by equal ones', () => {
    const [good, less, more] = ['good', 'earns:-0.5', 'earns:0.5'].map((scenario) =>
      run(scenario, 10, sells()),
    )
    expect([good!.promoted, good!.falseRollbackRate]).toEqual([10, 0])
    expect(less).toMatchObject({ rolledBack: 10, promoted: 0 })
    expect(less!.canaryRequestsToDetect.p95).toBeLessThan(20_000)
    expect(more).toMatchObject({ promoted: 10, falseRollbackRate: 0 })
  })

  it('is promoted where it must be better only when it is', () => {
    const better = sells({ better: true })
    expect(run('earns:0.5', 5, better).promoted).toBe(5)
    expect(run('good', 5, better)).toMatchObject({ promoted: 0, held: 5 })
  })

  it('is rolled back for what other systems measure, and held while their sources are away', () => {
    const [good, worse, away] = ['good', 'measured:3', 'source-away'].map((scenario) =>
      run(scenario, 10, measured()),
    )
    expect([good!.promoted, good!.falseRollbackRate]).toEqual([10, 0])
    expect(worse).toMatchObject({ rolledBack: 10, promoted: 0 })
    expect(away).toMatchObject({ held: 10, rolledBack: 0, promoted: 0 })
  })

  it('is rolled back when it is less right, and held for other decisions in a slice', () => {
    const [equal, worse, slice, inside] = [
      'worse:0',
      'worse:0.02',
      'slice:evening:0.5',
      'slice:evening:0.1',
    ].map((scenario) => run(scenario, 5, shadowed))
    expect([equal!.promoted, equal!.falseRollbackRate]).toEqual([5, 0])
    expect(worse).toMatchObject({ rolledBack: 5, promoted: 0 })
    expect(slice).toMatchObject({ held: 5, rolledBack: 0 })
    expect(inside!.promoted).toBe(5)
    for (const wrong of ['slice:evening', 'slice:evening:2', 'slice::0.1', 'worse:2', 'worse:0.1@2h'])
      expect(parseScenario(wrong)).toBeUndefined()
  })

  it('is rolled back when one of its features stops updating, later than when it is wrong from the start', () => {
    const releases = (scenario: string) =>
      [1, 2, 3, 4, 5].map((seed) =>
        simulateRelease({
          policy: shadowed,
          scenario: parseScenario(scenario)!,
          world: defaultWorld,
          uniform: seededRandom(seed),
        }),
      )
    const [stale, wrong] = ['stale-feature:0.1@2h', 'worse:0.1'].map(releases)
    for (const [i, { outcome, minutes }] of stale!.entries()) {
      expect(outcome).toBe('rolled_back')
      expect(minutes).toBeGreaterThan(wrong![i]!.minutes)
    }
    for (const unread of ['stale-feature:0.05', 'stale-feature:2@1h', 'stale-feature:0.1@0h'])
      expect(parseScenario(unread)).toBeUndefined()
  })

  it('that is wrong without a shadow is found by the holdback of its probation alone, as late as outcomes come', () => {
    const probation = { holdbackBp: 500, minMs: 8 * hourMs, minRequests: 1_000, deadlineMs: 9 * hourMs }
    const [good, unread, wrong] = [
      run('good', 10, { ...hourPolicy, probation }),
      run('worse:0.1', 10),
      run('worse:0.1', 10, { ...hourPolicy, probation }),
    ]
    expect([good, unread].map(({ promoted }) => promoted)).toEqual([10, 10])
    expect(wrong).toMatchObject({ rolledBack: 10, promoted: 0 })
    expect(wrong!.minutesToDetect.p50).toBeGreaterThan(60)
  })

  it('that is worse is found at 1 request/s too, though a tick has fewer users than a block', () => {
    const probation = { holdbackBp: 500, minMs: 48 * hourMs, minRequests: 1_000, deadlineMs: 72 * hourMs }
    const stages = [{ shareBp: 2_500, minMs: hourMs / 2, minRequests: 100, deadlineMs: hourMs }]
    const limits = { ...hourPolicy.limits, promotion: 'off' as const }
    const policy = { ...hourPolicy, stages, limits, probation }
    const world = { ...defaultWorld, requestsPerSecond: 1 }
    const scenario = parseScenario('worse:0.08')!
    const releases = [1, 2, 3].map((seed) =>
      simulateRelease({ policy, scenario, world, uniform: seededRandom(seed) }),
    )
    expect(releases.map(({ outcome }) => outcome)).toEqual(['rolled_back', 'rolled_back', 'rolled_back'])
  })

  it('of an A/B compares the outcomes of its arms: a better one is promoted, a worse one rolled back, an equal one held', () => {
    const stages = [{ shareBp: 5_000, minMs: hourMs, minRequests: 1_000, deadlineMs: 2 * hourMs }]
    const ab: ReleasePolicy = {
      ...hourPolicy,
      strategy: 'ab',
      stages,
      ab: { metric: 'accuracy', alpha: 0.05 },
    }
    const [better, worse, equal] = ['better:0.2', 'worse:0.02', 'good'].map((scenario) =>
      run(scenario, 5, ab),
    )
    expect([better!.promoted, worse!.rolledBack, equal!.promoted]).toEqual([5, 5, 0])
  })

  it('harms by each wrong answer as by a failed request, or at its declared cost', () => {
    const harmOf = (text: string, world: Partial<SimulatedWorld> = {}) => {
      const scenario = parseScenario(text)!
      const of = {
        policy: hourPolicy,
        scenario,
        world: { ...defaultWorld, ...world },
        uniform: seededRandom(1),
      }
      const { excessBad, canaryRequests } = simulateRelease(of)
      return excessBad / canaryRequests
    }
    expect(harmOf('good')).toBeLessThan(0.001)
    expect(harmOf('worse:0.5')).toBeCloseTo(0.45, 2)
    expect(harmOf('worse:0.5', { wrongCost: 3 })).toBeCloseTo(1.35, 1)
    const labels = { delayMs: 0, windowMs: 0, predictions: 100, known: 90, right: 45 }
    expect(harmOf('worse:0.5', { labels })).toBeCloseTo(0.25, 2)
    expect(harmOf('slice:evening:0.5')).toBeCloseTo(0.045, 2)
    // One answer in five is "yes"; a tenth of them more.
    expect(harmOf('shift:0.1')).toBeCloseTo(0.018, 2)
    expect([harmOf('better:0.2'), harmOf('base-rate:0.2:0.3')].every((harm) => harm < 0.001)).toBe(true)
  })

  it('ramps faster within its harm budget, and never through its last stage', () => {
    const hour = { minMs: hourMs, minRequests: 1_000, deadlineMs: 2 * hourMs }
    const stages = [500, 1_000, 2_500].map((shareBp) => ({ ...hour, shareBp }))
    const slow: ReleasePolicy = { ...dayPolicy, stages }
    const fast: ReleasePolicy = { ...slow, limits: { ...slow.limits, ramp: { reactionSeconds: 30 } } }
    const [without, ramped] = [run('good', 10, slow), run('good', 10, fast)]
    expect(without.minutesToPromote.p50).toBeGreaterThanOrEqual(180)
    expect(ramped.promoted).toBe(10)
    expect(ramped.minutesToPromote.p95).toBeLessThan(120)
    expect(ramped.minutesToPromote.p50).toBeGreaterThanOrEqual(60)
    expect(run('error:0.02', 20, fast).rolledBack).toBe(20)
    const spent = { ...fast, limits: { ...fast.limits, harmBudget: 0 } }
    expect(run('good', 3, spent).minutesToPromote.p50).toBeGreaterThanOrEqual(180)
  })

  it('is always rolled back within a day by the rule that counts bad minutes, although it is good', () => {
    expect(run('good', 3, dayPolicy, 'flagger')).toMatchObject({ rolledBack: 3, falseRollbackRate: 1 })
  })
})

describe('two versions', () => {
  const shares = (text: string) => pairShares(parseScenario(text)!, 0, defaultWorld)
  const answers = (text: string) => answersOf(parseScenario(text)!, defaultWorld)

  it('each win pairs, whichever is better', () => {
    for (const text of ['good', 'worse:0.02', 'better:0.2', 'base-rate:0.2:0.3', 'base-rate:0.3:0.2']) {
      const { lost, won } = shares(text)
      expect(Math.min(lost, won), text).toBeGreaterThan(0.005)
      if (text === 'good') expect(lost).toBe(won)
      else expect(lost > won, text).toBe(text.startsWith('worse'))
    }
  })

  it('answer otherwise where the candidate is better, as a moved base rate demands', () => {
    const last = ({ champion, canary }: ReturnType<typeof answersOf>) => [champion.at(-1)!, canary.at(-1)!]
    const [before, after] = last(answers('base-rate:0.16:0.29'))
    // By hand, for an AUC of 0.75: the champion decides at a score of 2.215, the candidate at 1.416.
    expect(before).toBeCloseTo(0.29 * 0.1037 + 0.71 * 0.0134, 3)
    expect(after).toBeCloseTo(0.29 * 0.322 + 0.71 * 0.0784, 3)
    expect(last(answers('base-rate:0.3:0.3'))[0]).toBeCloseTo(last(answers('base-rate:0.3:0.3'))[1]!, 12)
    expect(last(answers('better:0.2'))[1]).toBeCloseTo(0.22, 9)
    expect(last(answers('good'))).toEqual([0.2, 0.2])
    for (const text of ['better:2', 'base-rate:0.2', 'base-rate:0:0.2', 'base-rate:0.2:1', 'better:0.1@2h'])
      expect(parseScenario(text), text).toBeUndefined()
  })
})

describe('a scenario', () => {
  it.each([
    '',
    'bad',
    'error',
    'error:2',
    'error:-1',
    'error-at:0.1',
    'storm:0',
    'storm:1.5',
    'latency:0',
    'good:1',
  ])('"%s" is not a scenario', (text) => expect(parseScenario(text)).toBeUndefined())
  it('is read in each of its documented forms', () => {
    for (const form of Object.keys(scenarioForms)) {
      const text = form
        .replace('RATE', '0.1')
        .replace('HOURS', '3')
        .replace('FACTOR', '2')
        .replace('PART', '0.5')
        .replace('USERS', '4')
        .replace('FROM', '0.1')
        .replace('TO', '0.2')
      expect(parseScenario(text), form).toBeDefined()
    }
    expect(parseScenario('error-at:0.02@12h')).toEqual({ kind: 'error', rate: 0.02, fromMs: 12 * hourMs })
  })
  it('uses the traffic of recorded ticks if available', () => {
    const world = {
      ...defaultWorld,
      recorded: [
        { requests: 40, errors: 4, invalid: 0 },
        { requests: 0, errors: 0, invalid: 0 },
      ],
    }
    expect(worldAt(world, 0)).toEqual({ requests: 40, errorRate: 0.1, invalidRate: 0 })
    expect(worldAt(world, 10_000)).toEqual({ requests: 0, errorRate: 0, invalidRate: 0 })
    expect(worldAt(world, 20_000).requests).toBe(40)
    const traffic = trafficOf({ kind: 'good' }, world, seededRandom(1))
    expect(traffic.tick(10_000, 500, 0)).toMatchObject({ canary: { requests: 0 }, control: { requests: 0 } })
  })
})

it.each([
  ['good', 'the canary is exactly as good as the champion'],
  ['error:0.02', 'the canary fails 2 % of its requests, from the first on'],
  ['error-at:0.02@12h', 'the canary fails 2 % of its requests, from 12 hours on'],
  [
    'slice:night:0.5',
    'in the slice night, a tenth of the requests, the canary decides otherwise on 0.5; no outcome is known',
  ],
  ['stale-at:0.2h', 'the counters stop after 0.2 hours'],
  ['unheard-of', 'unheard-of'],
])('%s is described as: %s', (scenario, text) => expect(describeScenario(scenario)).toBe(text))
