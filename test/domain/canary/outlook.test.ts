import { describe, expect, it } from 'vitest'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import {
  cleanRequestsToProve,
  eventsToRollBack,
  rateTicks,
  restartsOf,
} from '../../../domain/canary/outlook.ts'
import { defaultCanaryPolicy, type PromotionPolicy } from '../../../domain/canary/policy.ts'
import type { CanaryTick } from '../../../domain/canary/evidence.ts'
import { type RateTick, ratioSequence, seededRandom, thresholdFor, twoArmRateTest } from '@tenure/sequential'

const thresholds = { lowLogE: thresholdFor(0.01), highLogE: thresholdFor(0.05), firstMass: 0.8 }
const steady = (treatmentEvents: number, controlEvents: number, count: number): RateTick[] =>
  Array.from({ length: count }, () => ({
    treatmentTotal: 100,
    controlTotal: 900,
    treatmentEvents,
    controlEvents,
  }))

describe('the confidence sequence of a ratio', () => {
  it('knows nothing before the first event, and only narrows afterwards', () => {
    const sequence = ratioSequence([...steady(0, 0, 2), ...steady(1, 9, 200)], thresholds)
    expect(sequence[1]).toEqual({ low: 0, high: Infinity })
    for (const [i, { low, high }] of sequence.entries()) {
      expect(low).toBeLessThanOrEqual(1)
      expect(high).toBeGreaterThanOrEqual(1)
      expect(low).toBeGreaterThanOrEqual(sequence[i - 1]?.low ?? 0)
      expect(high).toBeLessThanOrEqual(sequence[i - 1]?.high ?? Infinity)
    }
    expect(sequence.at(-1)!.low).toBeGreaterThan(0.5)
    expect(sequence.at(-1)!.high).toBeLessThan(1.6)
  })

  it('rises above a ratio at the look at which the judge proves more than it', () => {
    const ticks = steady(5, 9, 40)
    const test = twoArmRateTest({ ratio: 1, firstMass: 0.8 })
    const provenAt = ticks.findIndex((tick) => {
      test.add(tick)
      return test.logE() >= thresholds.lowLogE
    })
    const shownAt = ratioSequence(ticks, thresholds).findIndex(({ low }) => low >= 1)
    expect(provenAt).toBeGreaterThan(0)
    expect(shownAt).toBe(provenAt)
  })

  it('keeps the true ratio at every look in at least 94 % of 200 runs', () => {
    const random = seededRandom(3)
    const events = (requests: number, rate: number) =>
      Array.from({ length: requests }, () => Number(random() < rate)).reduce((sum, one) => sum + one, 0)
    let kept = 0
    for (let run = 0; run < 200; run++) {
      const ticks = Array.from({ length: 30 }, () => ({
        treatmentTotal: 60,
        controlTotal: 60,
        treatmentEvents: events(60, 0.1),
        controlEvents: events(60, 0.05),
      }))
      if (ratioSequence(ticks, thresholds).every(({ low, high }) => low <= 2 && high >= 2)) kept++
    }
    expect(kept).toBeGreaterThanOrEqual(188)
  })
})

describe('the outlook of a canary', () => {
  const policy = { ...defaultCanaryPolicy, guardRate: 0.5 }
  const promotion = policy.promotion as PromotionPolicy
  const threshold = thresholdFor(policy.alpha.errors)
  const arm = (requests: number, errors: number) => ({ requests, errors, invalid: 0, slow95: 0, slow99: 0 })
  const tickAt = (i: number, errors: number, requests = 100): CanaryTick => ({
    startMs: i * 1_000,
    shareBp: 1_000,
    canary: arm(requests, errors),
    control: arm(9 * requests, Math.round((9 * requests) / 450)),
  })
  const stage = {
    index: 0,
    shareBp: 1_000,
    startedMs: 0,
    elapsedMs: 9e5,
    minMs: 0,
    minRequests: 1,
    last: true,
  }
  const judged = (ticks: CanaryTick[]) => judgeCanary({ ticks, stage, staleMs: 0 }, policy)
  const sofar = [0, 1, 0, 0].map((errors, i) => tickAt(i, errors))
  const verdicts = sofar.map((_, i) => judged(sofar.slice(0, i + 1)))
  const ticks = rateTicks(verdicts, 'errors')

  it('reads the counts between two verdicts from their totals', () => {
    expect(ticks[1]).toEqual({ treatmentTotal: 100, controlTotal: 900, treatmentEvents: 1, controlEvents: 2 })
  })

  it('names the failures with which the judge rolls back, and one fewer does not', () => {
    const events = eventsToRollBack(ticks, { ratio: 1, logE: threshold, requests: 100 })!
    expect(judged([...sofar, tickAt(4, events)]).kind).toBe('fail')
    expect(judged([...sofar, tickAt(4, events - 1)]).kind).not.toBe('fail')
    expect(eventsToRollBack(ticks, { ratio: 1, logE: 1e6, requests: 10 })).toBeUndefined()
  })

  it('starts again where the judge does, so that a long good time hides no late fault', () => {
    const restarts = restartsOf([0, 50, 130, 140, 210], 100)
    expect([...restarts]).toEqual([2, 4])
    const long = Array.from({ length: 60 }, () => ticks[0]!)
    const [without, with_] = [undefined, new Set([59])].map((from) =>
      eventsToRollBack(long, { ratio: 1, logE: threshold, requests: 100, ...(from && { restarts: from }) })!,
    )
    expect(with_).toBeLessThan(without!)
  })

  it('names the clean requests after which the judge promotes', () => {
    const { logE, requests } = cleanRequestsToProve(ticks, { metric: 'errors', promotion, most: 1e6 })
    expect(logE).toBeCloseTo(verdicts.at(-1)!.statistics['errorsPromotionLogE']!, 9)
    const enough = [...sofar, tickAt(4, 0, 450 * Math.ceil(requests! / 450))]
    expect(judged(enough).kind).toBe('pass')
    expect(judged([...sofar, tickAt(4, 0, Math.floor(requests! / 2))]).kind).toBe('inconclusive')
  })
})
