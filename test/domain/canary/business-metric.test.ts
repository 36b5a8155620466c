/** Tests how user events are compared between the arms: which users count, the bounds of values, and each verdict with its arithmetic. */
import { describe, expect, it } from 'vitest'
import { judgeBusiness } from '../../../domain/canary/effects.ts'
import { abOfBusiness, businessRows, businessTest } from '../../../domain/canary/business-metric.ts'
import { issuesOfBusiness, valueOfUser, type BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { logMeanExp, meanAboveZero, seededRandom } from '@tenure/sequential'

const metric: BusinessMetric = {
  event: 'purchase',
  counts: 'total',
  min: 0,
  max: 100,
  withinMs: 1,
  delayMs: 0,
  lowerIsBetter: false,
  action: 'rollback',
}
const conversion: BusinessMetric = { ...metric, counts: 'any', max: 1 }
const stage = { index: 0, shareBp: 5_000 }

/** Generates equal numbers of users in both arms, alternating, with these conversion rates. */
function converted(users: number, canary: number, control: number, of = conversion) {
  const uniform = seededRandom(3)
  const test = businessTest(of)
  for (let i = 0; i < users; i++) {
    test.add('canary', Number(uniform() < canary), stage)
    test.add('control', Number(uniform() < control), stage)
  }
  return test.figures()
}
const judged = (figures: ReturnType<typeof converted>, of = conversion) =>
  judgeBusiness({ conversion: figures }, { conversion: of }, 0.002, {})

describe('the evidence of values', () => {
  it('is the mean over twelve bets, and rounds nothing', () => {
    const test = meanAboveZero()
    for (let i = 0; i < 3; i++) test.add(0.001)
    test.add(-1)
    const bets = Array.from({ length: 12 }, (_, k) => 0.999 * 0.02 * (0.95 / 0.02) ** (k / 11))
    expect(test.logE()).toBeCloseTo(
      logMeanExp(bets.map((bet) => 3 * Math.log(1 + bet * 0.001) + Math.log(1 - bet))),
      12,
    )
    expect(meanAboveZero().logE()).toBe(0)
  })
})

describe('a business metric', () => {
  it('sets each user of the smaller arm against its own block of the larger one', () => {
    const test = businessTest(metric)
    const tenth = { index: 0, shareBp: 1_000 }
    for (let i = 0; i < 18; i++) test.add('control', i < 9 ? 10 : 40, tenth)
    expect(test.figures()).toMatchObject({ users: { canary: 0, control: 18 }, blocks: 0, means: null })
    test.add('canary', 20, tenth)
    expect(test.figures()).toMatchObject({ blocks: 1, means: { canary: 20, control: 10 } })
    test.add('canary', 20, tenth)
    test.add('canary', 20, tenth)
    expect(test.figures()).toMatchObject({ blocks: 2, means: { canary: 20, control: 25 } })
    // A new share starts new blocks: three users of the candidate for one of the holdback.
    const most = { index: 1, shareBp: 7_500 }
    for (const value of [0, 30, 60]) test.add('canary', value, most)
    test.add('control', 25, most)
    expect(test.figures()).toMatchObject({ blocks: 3, means: { canary: (20 + 20 + 30) / 3, control: 25 } })
  })

  it('uses blocks of one and of two users where the share gives neither', () => {
    const test = businessTest(metric)
    for (let i = 0; i < 60; i++) {
      test.add('control', 1, { index: 0, shareBp: 4_000 })
      if (i % 3 < 2) test.add('canary', 1, { index: 0, shareBp: 4_000 })
    }
    expect(test.figures().blocks).toBe(40)
  })

  it('bounds the values, and leaves out users without a value and stages of one arm', () => {
    const test = businessTest(metric)
    test.add('canary', -50, stage)
    test.add('control', 1e9, stage)
    test.add('control', null, stage)
    test.add('control', NaN, stage)
    test.add('canary', 5, { index: 1, shareBp: 10_000 })
    expect(test.figures()).toMatchObject({
      users: { canary: 1, control: 1 },
      means: { canary: 0, control: 100 },
    })
  })

  it('counts the total, whether there was any, or the mean of a user', () => {
    const of = (counts: BusinessMetric['counts'], events: number, sum: number) =>
      valueOfUser({ ...metric, counts }, { events, sum })
    expect([of('total', 2, 30), of('any', 2, 30), of('mean', 2, 30)]).toEqual([30, 1, 15])
    expect([of('total', 0, 0), of('any', 0, 0), of('mean', 0, 0)]).toEqual([0, 0, null])
  })

  it('rolls back a proven loss, with its arithmetic', () => {
    const figures = converted(1_000, 0.05, 0.15)
    const { against, questions } = judged(figures)
    expect(questions).toEqual([])
    expect(against).toHaveLength(1)
    expect(against[0]!.code).toBe('business_worse')
    expect(against[0]!.message).toMatch(
      /^conversion is worse: 0\.0\d+ per user of 1000 canary users, control 0\.1\d+ of 1000, logE [\d.]+ ≥ 6\.215$/,
    )
    expect(judged(figures, { ...conversion, action: 'ask' })).toMatchObject({
      against: [],
      questions: [{ code: 'business_worse' }],
    })
  })

  it('finds no loss in equal arms, and none that is smaller than a hundredth', () => {
    expect(judged(converted(1_000, 0.1, 0.1)).against).toEqual([])
    const [users, means] = [
      { canary: 1, control: 1 },
      { canary: 0.992, control: 1 },
    ]
    const small = { users, blocks: 1, means, worseLogE: 50, betterLogE: 0 }
    expect(judged(small).against).toEqual([])
    expect(judged({ ...small, means: { canary: 0.98, control: 1 } }).against).toHaveLength(1)
  })

  it('shares the α among the metrics', () => {
    const figures = { ...converted(300, 0.1, 0.1), worseLogE: 6.5, means: { canary: 1, control: 2 } }
    expect(judged(figures).against).toHaveLength(1)
    const two = { conversion, revenue: metric }
    const statistics = {}
    expect(judgeBusiness({ conversion: figures }, two, 0.002, statistics).against).toEqual([])
    expect(statistics).toEqual({ businessLogE: 6.5, businessThreshold: Math.log(1_000) })
    expect(businessRows({ conversion: figures }, two, 0.002)).toMatchObject([
      { name: 'conversion', event: 'purchase', gain: -0.5, threshold: Math.log(1_000) },
    ])
  })

  it('where lower is better, a rise is the loss', () => {
    const refunds = { ...conversion, lowerIsBetter: true, notWorse: 0.2 }
    expect(judged(converted(1_000, 0.15, 0.05, refunds), refunds).against).toHaveLength(1)
    const fewer = converted(1_000, 0.05, 0.15, refunds)
    expect(judged(fewer, refunds)).toEqual({ against: [], questions: [], pending: [] })
  })

  it('waits for the proofs that a promotion needs', () => {
    const proved = { ...conversion, notWorse: 0.1, better: true }
    expect(judged(converted(1_000, 0.1, 0.1, proved), proved).pending.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^not yet proven that conversion is not worse by more than 10 %: .* < 2\.996$/),
      expect.stringMatching(/^not yet proven that conversion is better: /),
    ])
    expect(judged(converted(1_000, 0.3, 0.1, proved), proved).pending).toEqual([])
    expect(judgeBusiness({}, { conversion: proved }, 0.002, {}).pending[0]!.message).toContain(
      'no users of both arms yet',
    )
  })

  it('proves non-inferiority within a tenth for equal arms with enough users, but not superiority', () => {
    const proved = { ...conversion, notWorse: 0.1, better: true }
    const { notWorseLogE, betterLogE } = converted(20_000, 0.3, 0.3, proved)
    expect(notWorseLogE).toBeGreaterThan(Math.log(20))
    expect(betterLogE).toBeLessThan(Math.log(20))
  })

  it('decides an A/B release', () => {
    const policy = { metric: 'conversion', alpha: 0.05 }
    expect(abOfBusiness('conversion', undefined, policy)).toMatchObject({ kind: 'no_data' })
    expect(abOfBusiness('conversion', converted(100, 0.1, 0.1), policy)).toMatchObject({
      kind: 'open',
      reason: {
        code: 'ab_open',
        message: expect.stringMatching(/^undecided: conversion: .* < 2\.996$/) as string,
      },
    })
    expect(abOfBusiness('conversion', converted(1_000, 0.3, 0.1), policy)).toMatchObject({
      kind: 'better',
      reason: { code: 'ab_better' },
    })
  })

  it('reports each wrong field', () => {
    expect(issuesOfBusiness({ revenue: { ...metric, notWorse: 0.05, better: true } })).toEqual([])
    expect(issuesOfBusiness({})).toEqual(['has 1 to 5 metrics, not 0'])
    const wrong = { ...metric, counts: 'most', min: -1, max: -2, withinMs: 0, delayMs: -1, notWorse: 5 }
    const issues = issuesOfBusiness({
      revenue: { ...wrong, event: '1st', action: 'tell', lowerIsBetter: 'no', better: 'yes' } as never,
      errors: conversion,
      signups: { ...conversion, max: 2 },
    }).join('; ')
    for (const place of [
      'event',
      'counts',
      'min',
      'max',
      'withinMs',
      'delayMs',
      'notWorse',
      'action',
      'lowerIsBetter',
      'better',
    ])
      expect(issues).toContain(`revenue.${place} `)
    expect(issues).toContain('errors is not a name of a metric')
    expect(issues).toContain('signups: any counts 0 or 1')
  })
})
