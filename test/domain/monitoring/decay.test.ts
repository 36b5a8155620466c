/** Tests when a champion after its probation is rolled back. */
import { describe, expect, it } from 'vitest'
import {
  judgeDecay,
  judgeReturn,
  keepsApart,
  type DecayFacts,
  type DecayState,
} from '../../../domain/monitoring/decay.ts'

const limits = { minRequests: 200 }
const facts = (change: Partial<DecayFacts> = {}): DecayFacts => ({
  version: 'm_v1.0.0',
  qualityAlarm: undefined,
  tops: [],
  ...change,
})
const last = (change: Partial<DecayState> = {}): DecayState => ({
  version: 'm_v1.0.0',
  qualityWindows: 0,
  collapsed: {},
  ...change,
})

it('answers that are proven to differ from the parent count at once, and quality is counted on', () => {
  const parentAlarm = 'answers of m_v1.0.0 moved away from those of its parent'
  expect(judgeDecay(facts({ parentAlarm, qualityAlarm: 'auc 0.1' }), undefined, limits)).toEqual({
    finding: { matter: 'parent', message: parentAlarm },
    state: last({ qualityWindows: 1 }),
  })
})

describe('answers of a champion that have become one', () => {
  const top = { answers: 1_000, share: 0.995, reference: 0.1 }

  it('count in two windows in a row', () => {
    const one = judgeDecay(facts({ tops: [top] }), undefined, limits)
    expect(one).toMatchObject({ finding: undefined, state: { collapsed: { '': 1 } } })
    expect(judgeDecay(facts({ tops: [top] }), one.state, limits).finding).toEqual({
      matter: 'collapse',
      message: 'one answer went to 99.5 % of 1,000 requests, 10 % in training',
    })
    const apart = judgeDecay(facts({ tops: [{ ...top, share: 0.6 }] }), one.state, limits)
    expect(apart.state.collapsed).toEqual({ '': 0 })
  })

  it('count for each number of an answer alone', () => {
    const window = (a: number, b: number) =>
      facts({
        tops: [
          { ...top, number: 'a', share: a },
          { ...top, number: 'b', share: b },
        ],
      })
    const first = judgeDecay(window(1, 0.2), undefined, limits)
    expect(first.state.collapsed).toEqual({ a: 1, b: 0 })
    const second = judgeDecay(window(0.2, 1), first.state, limits)
    expect(second).toMatchObject({ finding: undefined, state: { collapsed: { a: 0, b: 1 } } })
    expect(judgeDecay(window(1, 1), second.state, limits).finding).toMatchObject({
      matter: 'collapse',
      number: 'b',
      message: expect.stringMatching(/^one answer of b went to 100 %/) as string,
    })
  })

  it.each([
    [0.4, true],
    [0.9, false],
  ])(
    'let the version before serve when its own most frequent answer has %d of the same rows: %s',
    (share, is) => {
      expect(keepsApart({ share })).toBe(is)
    },
  )

  it('do not count when they are few, or were as frequent in training', () => {
    const before = last({ collapsed: { '': 1 } })
    const few = judgeDecay(facts({ tops: [{ ...top, answers: 50 }] }), before, limits)
    expect(few).toMatchObject({ finding: undefined, state: { collapsed: { '': 1 } } })
    const usual = judgeDecay(facts({ tops: [{ ...top, reference: 0.9 }] }), before, limits)
    expect(usual).toMatchObject({ finding: undefined, state: { collapsed: { '': 0 } } })
  })
})

describe('lost quality of a champion', () => {
  const alarm = 'auc 0.61, 0.7 at evaluation'

  it('counts in two windows in a row', () => {
    const one = judgeDecay(facts({ qualityAlarm: alarm }), undefined, limits)
    expect(one.finding).toBeUndefined()
    const unmeasured = judgeDecay(facts(), one.state, limits)
    expect(unmeasured).toMatchObject({ state: { qualityWindows: 1 }, finding: undefined })
    const two = judgeDecay(facts({ qualityAlarm: alarm }), unmeasured.state, limits)
    expect(two.finding).toEqual({ matter: 'quality', message: alarm })
    const good = judgeDecay(facts({ qualityAlarm: null }), one.state, limits)
    expect(judgeDecay(facts({ qualityAlarm: alarm }), good.state, limits).finding).toBeUndefined()
  })

  it.each([
    [
      'is proven better',
      [0, 0, 10, 90],
      true,
      /^m_v1 loses less on the same 100 rows \(Brier score\): by 0\.9333, logE/,
    ],
    [
      'loses as much',
      [25, 25, 25, 25],
      false,
      /^m_v1 loses not provably less on the same 100 rows \(Brier score\): by 0/,
    ],
    ['loses more', [90, 10, 0, 0], false, /not provably less/],
    ['has no row', [0, 0, 0, 0], false, /on the same 0 rows \(Brier score\): by nothing known/],
  ] as const)('the version before %s on the same rows', (_name, differences, isBetter, message) => {
    const report = judgeReturn(differences, { to: 'm_v1', judged: { loss: 'brier' } })
    expect(report.isBetter).toBe(isBetter)
    expect(report.message).toMatch(message)
  })

  it('the version before is better from evidence of 10,000 to 1 on', () => {
    const reports = Array.from({ length: 60 }, (_, n) =>
      judgeReturn([n, 0, 3 * n], { to: 'm_v1', judged: { loss: 'brier' } }),
    )
    const first = reports.findIndex(({ isBetter }) => isBetter)
    expect(reports[first]!.logE).toBeGreaterThanOrEqual(Math.log(10_000))
    expect(reports[first - 1]!.logE).toBeLessThan(Math.log(10_000))
  })
})
