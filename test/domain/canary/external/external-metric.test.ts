/**
 * Tests how windows of other systems are compared: the scale of a loss, the arithmetic, and a source without an answer, which proves
 * nothing.
 */
import { describe, expect, it } from 'vitest'
import { judgeExternal } from '../../../../domain/canary/effects.ts'
import {
  externalRows,
  externalTest,
  type ExternalFigures,
  type ExternalReading,
} from '../../../../domain/canary/external/external-metric.ts'
import type { ExternalMetric } from '../../../../domain/canary/external/external-policy.ts'
import { logAddExp, logMeanExp } from '@tenure/sequential'

const metric: ExternalMetric = {
  kind: 'promql',
  source: 'prometheus',
  query: 'up{version="$version"}',
  tolerance: 0,
  min: 0,
  max: 1,
  lowerIsBetter: true,
  everyMs: 60_000,
  delayMs: 0,
  minRequests: 1,
  action: 'rollback',
  onError: 'ask',
}
const hourMs = 3_600_000

/** Builds the evidence of windows with these values. */
function read(of: ExternalMetric, ...windows: Partial<ExternalReading>[]): ExternalFigures {
  const test = externalTest(of, hourMs)
  windows.forEach((each, i) => test.add({ fromMs: i * 60_000, canary: null, control: null, ...each }))
  return test.figures(0)
}
const times = (count: number, reading: Partial<ExternalReading>) =>
  Array.from({ length: count }, () => reading)
const judged = (figures: ExternalFigures, of = metric, alpha = 0.001) =>
  judgeExternal({ complaints: figures }, { complaints: of }, alpha, {})
const problem = 'connect ECONNREFUSED'

describe('an external metric', () => {
  it('averages half of its evidence over twelve bets and keeps half for later starts', () => {
    const bets = Array.from({ length: 12 }, (_, k) => 0.999 * 0.02 * (0.95 / 0.02) ** (k / 11))
    const capital = logMeanExp(bets.map((bet) => 10 * Math.log(1 + 0.4 * bet) + Math.log(1 - 0.2 * bet)))
    const figures = read(metric, ...times(10, { canary: 0.5, control: 0.1 }), { canary: 0.1, control: 0.3 })
    expect(figures.worseLogE).toBeCloseTo(logAddExp(capital + Math.log(1 / 2), Math.log(1 / 2)), 12)
    expect(figures).toMatchObject({ windows: 11, failed: 0, unread: 0 })
  })

  it('shares the α with the other metrics of its policy', () => {
    const statistics: Record<string, number | null> = {}
    const metrics = { complaints: metric, waits: metric }
    const figures = read(metric, { canary: 0.5, control: 0.1 })
    judgeExternal({ complaints: figures }, metrics, 0.001, statistics)
    expect(statistics['externalThreshold']).toBeCloseTo(Math.log(2 / 0.001), 12)
    const [row] = externalRows({ complaints: figures }, metrics, 0.001)
    expect(row!.threshold).toBeCloseTo(Math.log(2 / 0.001), 12)
  })

  it.each<[string, Partial<ExternalMetric>, number, number | null, number]>([
    ['against the control', {}, 0.6, 0.5, 0.1],
    ['within the tolerance', { tolerance: 0.2 }, 0.6, 0.5, 0],
    ['of which more is better', { lowerIsBetter: false, tolerance: 0.5 }, 0.2, 0.8, 0.2],
    ['beyond the tolerance', { tolerance: 0.25 }, 0.75, 0.5, 0.1],
    ['against a limit', { limit: 0.25 }, 0.5, null, 1],
    ['against a limit from below', { limit: 0.5, lowerIsBetter: false }, 0.25, null, 0.5],
    ['at the best of a limit', { limit: 0.25 }, 0, null, -1],
    ['beyond the largest value', {}, 7, 0.5, 0.5],
  ])('scales a loss %s', (_, part, canary, control, loss) => {
    const bets = Array.from({ length: 12 }, (__, k) => 0.999 * 0.02 * (0.95 / 0.02) ** (k / 11))
    const { worseLogE } = read({ ...metric, ...part }, { canary, control })
    const capital = logMeanExp(bets.map((bet) => Math.log(1 + loss * bet)))
    expect(worseLogE).toBeCloseTo(logAddExp(capital + Math.log(1 / 2), Math.log(1 / 2)), 12)
  })

  it('proves a loss with its arithmetic, and shares its α with the other metrics', () => {
    const found = judged(read(metric, ...times(20, { canary: 0.8, control: 0.1 })))
    expect(found.against).toMatchObject([
      {
        code: 'external_worse',
        message: expect.stringMatching(
          /^complaints is worse: 0\.8 in 20 windows, control 0\.1: logE \d+\.\d+ ≥ 6\.908$/,
        ) as string,
      },
    ])
    expect([found.questions, found.pending]).toEqual([[], []])
    const limited = { ...metric, limit: 0.2, action: 'ask' as const }
    const asked = judged(read(limited, ...times(20, { canary: 0.8 })), limited)
    expect(asked.against).toEqual([])
    expect(asked.questions[0]!.message).toContain('0.8 in 20 windows, limit 0.2: logE')
    const two = { complaints: metric, refunds: metric }
    expect(externalRows({ complaints: read(metric) }, two, 0.001)).toMatchObject([
      { name: 'complaints', source: 'prometheus', limit: null, threshold: Math.log(2_000) },
    ])
  })

  it('an equal arm never proves a loss, and a late one need not outweigh the hours before', () => {
    expect(judged(read(metric, ...times(600, { canary: 0.5, control: 0.5 }))).against).toEqual([])
    const late = [...times(600, { canary: 0.1, control: 0.3 }), ...times(60, { canary: 0.9, control: 0.3 })]
    expect(judged(read(metric, ...late)).against).toHaveLength(1)
  })
})

describe('a source without a value', () => {
  it.each<[string, Partial<ExternalReading>, string]>([
    ['says why', { problem }, problem],
    ['gives no number', { canary: NaN, control: 0.1 }, 'the source gave no number'],
    ['gives none for the control', { canary: 0.1, control: Infinity }, 'the source gave no number'],
  ])('holds the stage, asks after three windows, and is no evidence: it %s', (_, reading, said) => {
    const worse = times(5, { canary: 0.8, control: 0.1 })
    const before = read(metric, ...worse)
    const one = read(metric, ...worse, reading)
    expect(one).toEqual({ ...before, failed: 1, problem: said })
    const once = judged(one)
    expect([once.against, once.questions]).toEqual([[], []])
    expect(once.pending).toMatchObject([
      {
        code: 'external_error',
        message: `complaints has no value in the newest window; the source prometheus says: ${said}`,
      },
    ])
    const thrice = judged(read(metric, ...worse, ...times(3, reading)))
    expect(thrice).toMatchObject({ against: [], questions: [{ code: 'external_error' }], pending: [] })
    // The next value resolves the question.
    const back = judged(
      read(metric, ...worse, ...times(3, reading), ...times(1, { canary: 0.1, control: 0.1 })),
    )
    expect(back).toEqual({ against: [], questions: [], pending: [] })
  })

  it('only holds, or is ignored, where the policy says so', () => {
    const away = read(metric, ...times(9, { problem }))
    expect(judged(away, { ...metric, onError: 'hold' })).toMatchObject({
      questions: [],
      pending: [{ code: 'external_error' }],
    })
    expect(judged(away, { ...metric, onError: 'ignore' })).toEqual({
      against: [],
      questions: [],
      pending: [],
    })
  })

  it('no stage passes before a window was read, or while one is', () => {
    expect(judged(read(metric)).pending).toMatchObject([
      { message: 'complaints: no window has been read yet' },
    ])
    const reading = { ...read(metric, { canary: 0, control: 0 }), unread: 2 }
    expect(judged(reading).pending).toMatchObject([{ message: 'complaints: 2 windows to be read' }])
  })
})
