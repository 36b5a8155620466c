import { describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { answerShares, labelTimeOf, maturingPairs } from '../../../domain/simulation/recorded-answers.ts'
import {
  defaultWorld,
  parseScenario,
  netLoss,
  type SimulatedWorld,
} from '../../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { worldFor } from '../../../domain/simulation/policy-search.ts'
import { hourPolicy } from '../../support/release/hour-policy.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const labels = { delayMs: hourMs / 4, windowMs: hourMs, predictions: 1_000, known: 900, right: 720 }
const released = (scenario: string, world: Partial<SimulatedWorld>, given = hourPolicy) =>
  [4, 5, 6].map((seed) =>
    simulateRelease({
      policy: given,
      scenario: parseScenario(scenario)!,
      world: { ...defaultWorld, ...world },
      uniform: seededRandom(seed),
    }),
  )
const shadowed = {
  ...hourPolicy,
  shadow: { shareBp: 10_000, minMs: hourMs / 2, minRequests: 1_000, deadlineMs: hourMs },
}
const outcomes = (...of: Parameters<typeof released>) => released(...of).map(({ outcome }) => outcome)

describe('recorded outcomes', () => {
  it('detect a candidate that is less accurate as late as they arrive', () => {
    const [atOnce, later, tooLate] = [undefined, labels, { ...labels, delayMs: 10 * dayMs }].map((given) =>
      released('worse:0.02', { labels: given }, shadowed),
    )
    expect(atOnce!.every(({ byVerdict }) => byVerdict)).toBe(true)
    for (const [i, { byVerdict, minutes }] of later!.entries()) {
      expect(byVerdict).toBe(true)
      expect(minutes).toBeGreaterThan(15)
      expect(minutes).toBeGreaterThan(atOnce![i]!.minutes)
    }
    expect(tooLate!.map(({ byVerdict }) => byVerdict)).toEqual([false, false, false])
  })

  it('detect nothing where fewer than four in five predictions have one, as in a real release', () => {
    expect(outcomes('worse:0.05', { labels: { ...labels, delayMs: 0, known: 790 } }, shadowed)).toEqual(
      Array.from({ length: 3 }, () => 'promoted'),
    )
  })

  it('say how often the champion is right, which bounds how often the candidate alone is wrong', () => {
    const scenario = parseScenario('worse:0.1')!
    expect(netLoss(scenario, 0, {})).toBeCloseTo(0.09)
    expect(netLoss(scenario, 0, { labels })).toBeCloseTo(0.08)
    expect(netLoss(parseScenario('good')!, 0, { labels })).toBe(0)
  })

  it('are awaited by a probation that covers them, by which long ticks are chosen as well', () => {
    const probation = {
      holdbackBp: 500,
      minMs: hourMs,
      minRequests: 20,
      deadlineMs: 2 * hourMs,
      coverLabels: true,
    }
    const late = { ...labels, delayMs: 2 * dayMs }
    const covering = { ...hourPolicy, probation }
    const world = worldFor(covering, { ...defaultWorld, labels: late })
    expect(world.tickMs).toBeGreaterThan(worldFor(covering, defaultWorld).tickMs)
    for (const { outcome, minutes } of released('good', world, covering)) {
      expect(outcome).toBe('promoted')
      expect(minutes * 60_000).toBeGreaterThanOrEqual(labelTimeOf(late)!)
    }
  })

  it('count from the age at which they are due', () => {
    const pairs = maturingPairs({ ...labels, delayMs: 100 })
    expect(pairs.coverage).toBe(0.9)
    pairs.add(0, { b: 3, c: 1, same: 0 })
    pairs.add(50, { b: 2, c: 2, same: 0 })
    expect([99, 100, 149, 150].map((nowMs) => pairs.known(nowMs).b)).toEqual([0, 3, 3, 5])
  })
})

describe('recorded answers', () => {
  it('replace the assumed share of positive ones, and a shift moves the last of them', () => {
    const answers = { names: ['no', 'yes'], counts: [950, 50] }
    expect(answerShares({ answers, positiveShare: 0.2 }, {}).champion).toEqual([0.95, 0.05])
    const { canary } = answerShares({ answers, positiveShare: 0.2 }, { shift: 1 })
    expect(canary.map((share) => Number(share.toFixed(9)))).toEqual([0.9, 0.1])
    // Twice as many are beyond the tolerance, and a fifth more are within.
    expect(outcomes('shift:1', {})).toContain('held')
    expect(outcomes('shift:0.2', { answers })).toEqual(['promoted', 'promoted', 'promoted'])
  })

  it('show what a factor does to the numbers of this champion', () => {
    const scores = Array.from({ length: 101 }, (_, i) => 1_000 + i / 100)
    const answers = {
      names: ['a', 'b', 'c', 'd'],
      counts: [10, 40, 40, 10],
      edges: [1_000.1, 1_000.5, 1_000.9],
      scores,
    }
    // Numbers that are close together: a thousandth more puts all of them above the 90th percentile.
    expect(answerShares({ answers, positiveShare: 0 }, { factor: 1.001 }).canary).toEqual([0, 0, 0, 1])
    expect(outcomes('scale:1.001', { answers })).toEqual(['held', 'held', 'held'])
    expect(outcomes('scale:1.001', {})).toEqual(['promoted', 'promoted', 'promoted'])
    // Of several numbers it is found too, with more evidence; the same answers are no finding.
    const several = { ...answers, others: [answers, answers, answers] }
    expect(outcomes('scale:1.001', { answers: several })).toEqual(['held', 'held', 'held'])
    expect(outcomes('good', { answers: several })).toEqual(['promoted', 'promoted', 'promoted'])
  })
})
