/** Tests how the answers of two versions to the same requests are compared. */
import { describe, expect, it } from 'vitest'
import {
  defaultDisagreement,
  disagreementReason,
  reportDisagreement,
  type DisagreementEvidence,
} from '../../../domain/canary/disagreement.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { PredictedAnswers } from '../../../domain/canary/predicted-answers.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { eBenjaminiHochberg } from '@tenure/sequential'

const evidence = (change: Partial<DisagreementEvidence> = {}): DisagreementEvidence => ({
  measure: 'decisions',
  all: { name: 'all requests', distances: [950, 50] },
  slices: [
    { name: 'morning', distances: [600, 0] },
    { name: 'evening', distances: [20, 40] },
  ],
  changes: [
    { from: 'false', to: 'true', count: 5 },
    { from: 'true', to: 'false', count: 45 },
  ],
  ...change,
})
const report = (change?: Partial<DisagreementEvidence>) =>
  reportDisagreement(evidence(change), defaultDisagreement, 0.002)

describe('a disagreement', () => {
  it('names the slice whose decisions flip, the worst first, with its direction', () => {
    const found = report()
    expect(found.slices.map(({ name, above }) => [name, above])).toEqual([
      ['evening', true],
      ['morning', false],
    ])
    expect(found.all).toMatchObject({ pairs: 1000, mean: 0.05, above: false })
    expect(found.changes[0]).toEqual({ from: 'true', to: 'false', count: 45 })
    expect(found.directionLogE).toBeGreaterThan(10)
    expect(disagreementReason(found)).toMatchObject({
      code: 'disagreement',
      values: { part: 'evening', parts: 1, pairs: 60 },
    })
    expect(disagreementReason(found)!.message).toMatch(
      /^answers differ from the champion's by more than 20 %: evening: other decisions 66.7 % of 60 users.*most often true → false$/,
    )
  })

  it('that the gate has seen is no question, in all requests or in a slice, and always counts where the policy rolls back', () => {
    const predicted: PredictedAnswers = {
      names: ['no', 'yes'],
      rows: 1_000,
      cells: [],
      sd: [0, 0],
      distances: [
        { name: 'all requests', mean: 0.05, sd: 0.01 },
        { name: 'evening', mean: 0.5, sd: 0.1 },
      ],
      blocks: { count: 7, of: 'days' },
    }
    const rollback = { ...defaultDisagreement, action: 'rollback' } as const
    const found = reportDisagreement(evidence(), defaultDisagreement, 0.002, predicted)
    expect(disagreementReason(found)).toBeNull()
    expect(found.slices.map(({ limit }) => limit)).toEqual([0.7, 0.2])
    expect(disagreementReason(reportDisagreement(evidence(), rollback, 0.002, predicted))).not.toBeNull()
    // A slice that the gate does not know is expected to differ as all rows do.
    const unknown = { ...predicted, distances: predicted.distances.slice(0, 1) }
    expect(
      disagreementReason(reportDisagreement(evidence(), defaultDisagreement, 0.002, unknown)),
    ).not.toBeNull()
  })

  it('within the limit is no reason', () => {
    expect(disagreementReason(report({ slices: [] }))).toBeNull()
  })

  it('spends half of the α on all requests, and divides the other half among the slices', () => {
    const apart = [60, 40]
    const slices = ['a', 'b', 'c', 'd'].map((name) => ({ name, distances: name === 'c' ? apart : [90, 0] }))
    const given = evidence({ all: { name: 'all requests', distances: apart }, slices })
    const { logE } = reportDisagreement(given, defaultDisagreement, 0.002).all
    const above = (alpha: number) => {
      const { all, slices } = reportDisagreement(given, defaultDisagreement, alpha)
      return { all: all.above, slices: slices.filter((each) => each.above).map(({ name }) => name) }
    }
    const alphaOfAll = 2 * Math.exp(-logE)
    expect(above(alphaOfAll * 0.99)).toEqual({ all: false, slices: [] })
    expect(above(alphaOfAll * 1.01)).toEqual({ all: true, slices: [] })
    expect(above(alphaOfAll * 4 * 0.99)).toEqual({ all: true, slices: [] })
    expect(above(alphaOfAll * 4 * 1.01)).toEqual({ all: true, slices: ['c'] })
  })

  it('has a direction between two decisions only', () => {
    const one = { from: 'a', to: 'b', count: 45 }
    expect(report({ changes: [one] }).directionLogE).toBeGreaterThan(10)
    expect(report({ changes: [one, { from: 'b', to: 'c', count: 1 }] }).directionLogE).toBeNull()
    const back = { from: 'b', to: 'a', count: 1 }
    expect(report({ changes: [one, back, { from: 'b', to: 'c', count: 1 }] }).directionLogE).toBeNull()
  })

  it('has no interval without a pair', () => {
    const none = report({ all: { name: 'all requests', distances: [0, 0] }, slices: [], changes: [] })
    expect(none.all).toMatchObject({ pairs: 0, mean: null, low: 0, high: 1 })
    expect(none.directionLogE).toBeNull()
  })

  it('holds a shadow for an approver, or rolls the candidate back', () => {
    const stage = {
      index: 0,
      shareBp: 5_000,
      startedMs: 0,
      elapsedMs: 10,
      minMs: 0,
      minRequests: 0,
      last: false,
    }
    const counted = { requests: 1_000, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
    const ticks = [{ startMs: 0, shareBp: null, canary: counted, control: counted }]
    const judge = (policy: object = {}, accepted: string[] = []) =>
      judgeCanary(
        { ticks, stage, staleMs: 0, disagreement: evidence(), accepted },
        { ...defaultCanaryPolicy, promotion: 'off', ...policy },
      )
    expect(judge()).toMatchObject({ kind: 'inconclusive', questions: ['disagreement'] })
    expect(judge().statistics).toMatchObject({ disagreement: 0.05 })
    expect(judge({}, ['disagreement']).kind).toBe('pass')
    expect(judge({ disagreement: 'off' }).kind).toBe('pass')
    expect(judge({ disagreement: { max: 0.2, action: 'rollback' } }).kind).toBe('fail')
  })
})

describe('e-BH', () => {
  it('rejects the k largest e-values of at least K/(kα)', () => {
    const logs = [Math.log(100), Math.log(30), Math.log(45), 0]
    // 4/(1·0.05) = 80, 4/(2·0.05) = 40, 4/(3·0.05) = 26.7
    expect(eBenjaminiHochberg(logs, 0.05)).toEqual([true, true, true, false])
    expect(eBenjaminiHochberg([Math.log(79), 0, 0, 0], 0.05)).toEqual([false, false, false, false])
    expect(eBenjaminiHochberg([], 0.05)).toEqual([])
  })
})
