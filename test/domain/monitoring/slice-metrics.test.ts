/** Tests each limit on slices, calibration and fairness, on rows with known figures. */
import { describe, expect, it } from 'vitest'
import { judgeBreakdown, type BreakdownEvidence } from '../../../domain/monitoring/slice-metrics.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { BusinessPolicy } from '../../../domain/monitoring/policy.ts'

const policy = {
  ...defaultGatePolicy('binary'),
  slices: { metric: 'accuracy', points: 0.02, alpha: 0.05 },
} as const

/** Generates a thousand rows in each half; every `wrong`-th prediction of the second half is wrong. Each has probability 0.8. */
function evidence({ wrong = 5, sure = 0.8 }: { wrong?: number; sure?: number } = {}): BreakdownEvidence {
  const y = Array.from({ length: 2_000 }, (_, i) => i % 2)
  const right = (i: number) => i % (i < 1_000 ? 5 : wrong) !== 0
  const answers = y.map((truth, i) => [right(i) === (truth === 1) ? sure : 1 - sure])
  const rows = (from: number) => Array.from({ length: 1_000 }, (_, i) => from + i)
  return {
    scored: score('binary', y, answers, { threshold: 0.5 }),
    slices: [
      { name: 'morning', rows: rows(0) },
      { name: 'evening', rows: rows(1_000) },
      { name: 'night', rows: [1, 2, 3] },
    ],
    groups: [{ attribute: 'half', values: y.map((_, i) => (i < 1_000 ? 'first' : 'second')) }],
    baseline: { slices: { morning: 0.8, evening: 0.8, night: 0.8 }, ece: 0.01 },
  }
}
const business: BusinessPolicy = { name: 'saved', unit: '$', perPrediction: '1', warn: 2, alarm: 1 }
const codes = (given: BreakdownEvidence, worth?: BusinessPolicy) =>
  judgeBreakdown(given, policy, worth).findings.map(({ code, severity }) => `${severity} ${code}`)

describe('the slices of several numbers', () => {
  const several = { ...defaultGatePolicy('multioutput'), targets: ['near', 'far'] }
  /** The error of each number is uniform up to twice its mean; the error of `far` is a hundred times that of `near`. */
  const given = (near: number, slices: Record<string, number>): BreakdownEvidence => ({
    scored: score(
      'multioutput',
      new Float64Array(2_000),
      Array.from({ length: 1_000 }, (_, i) => [(near * 2 * i) / 999, (200 * i) / 999]),
      several,
    ),
    slices: [{ name: 'evening', rows: Array.from({ length: 1_000 }, (_, i) => i) }],
    groups: [],
    baseline: { slices, ece: null },
  })
  const levels = (evidence: BreakdownEvidence) =>
    judgeBreakdown(evidence, several).slices.map(({ name, level }) => `${name}: ${level}`)

  it('are judged by number, and a small one that is worse is named', () => {
    const baseline = { 'evening (near)': 1, 'evening (far)': 100 }
    expect(levels(given(1, baseline))).toEqual(['evening (near): held', 'evening (far): held'])
    expect(levels(given(1.5, baseline))).toEqual(['evening (near): lost', 'evening (far): held'])
  })

  it('are judged by their mean for a version that the gate has judged so', () => {
    expect(levels(given(1.5, { evening: 50.5 }))).toEqual(['evening: held'])
    expect(levels(given(50, { evening: 50.5 }))).toEqual(['evening: lost'])
  })
})

describe('the slices of a window', () => {
  it('raise no alert while each is as good as at the gate', () => {
    const report = judgeBreakdown(evidence(), policy)
    expect(report.findings).toEqual([])
    expect(report.cleared).toEqual(['quality_slice', 'quality_calibration', 'quality_fairness'])
    expect(report.slices).toMatchObject([
      { name: 'morning', level: 'held', value: 0.8, baseline: 0.8, rows: 1_000 },
      { name: 'evening', level: 'held', value: 0.8 },
      { name: 'night', level: 'insufficient', rows: 3 },
    ])
    expect(report.calibration?.ece).toBeCloseTo(0, 10)
  })

  it('are reported by name when one is certainly worse by more than the limit', () => {
    const report = judgeBreakdown(evidence({ wrong: 3 }), policy)
    expect(report.slices.map(({ level }) => level)).toEqual(['held', 'lost', 'insufficient'])
    const [lost] = report.findings.filter(({ code }) => code === 'quality_slice')
    expect(lost?.message).toBe(
      'slices worse by more than 0.02: evening: accuracy 0.667 on 1000 rows, 0.8 at evaluation',
    )
    // 75 % is worse by more than the limit, but not with certainty on a thousand rows after correction: 0.8 − 0.02 − 2.2 σ.
    expect(judgeBreakdown(evidence({ wrong: 4 }), policy).slices[1]).toMatchObject({ value: 0.75 })
    const few = {
      ...evidence({ wrong: 4 }),
      slices: [{ name: 'evening', rows: Array.from({ length: 240 }, (_, i) => 1_000 + i) }],
    }
    expect(codes(few)).not.toContain('warning quality_slice')
  })

  it('that cannot be evaluated have a reason, and do not affect others', () => {
    const given = {
      ...evidence({ wrong: 3 }),
      slices: [{ name: 'sky', rows: 'no such column' }, ...evidence().slices],
    }
    const report = judgeBreakdown(given, policy)
    expect(report.problems).toEqual(['sky: no such column'])
    expect(report.slices.map(({ level }) => level)).toEqual(['unreadable', 'held', 'lost', 'insufficient'])
  })

  it('are overconfident when their calibration error exceeds the limit, and the earlier error', () => {
    const sure = evidence({ sure: 0.9 })
    expect(codes(sure)).toEqual(['warning quality_calibration'])
    expect(codes({ ...sure, baseline: { ...sure.baseline, ece: 0.09 } })).toEqual([])
    const off = judgeBreakdown(sure, { ...policy, calibration: 'off' })
    expect([off.findings, off.calibration]).toEqual([[], null])
  })

  it('are unfair when a group is certainly treated differently', () => {
    const given = evidence()
    const chosen = (i: number) => given.scored.predicted[i] === 1 || i % 4 === 0
    const values = Array.from(given.scored.y, (_, i) => (chosen(i) ? 'a' : 'b'))
    expect(codes({ ...given, groups: [{ attribute: 'group', values }] })).toEqual([
      'warning quality_fairness',
    ])
  })

  it.each([
    ['what they were worth is above its limits', 2, undefined, []],
    ['it is below the first', 1.9, undefined, ['warning business_value']],
    ['it is below the second', 0.5, undefined, ['critical business_value']],
    [
      'less is better and it is more',
      3,
      { warn: 1, alarm: 4, lowerIsBetter: true },
      ['warning business_value'],
    ],
    ['there are no limits', -9, { warn: undefined, alarm: undefined }, []],
  ])('are told when %s', (_name, worth, change, wanted) => {
    const given = { ...evidence(), worth: Array.from({ length: 2_000 }, () => worth) }
    expect(codes(given, { ...business, ...change } as BusinessPolicy)).toEqual(wanted)
    const report = judgeBreakdown(given, policy, business)
    expect(report.business).toMatchObject({ mean: worth, rows: 2_000, total: 2_000 * worth })
  })

  it('have a reason when their metric is unknown', () => {
    const report = judgeBreakdown({ ...evidence(), worth: 'no such column "fee"' }, policy, business)
    expect(report.business).toMatchObject({ mean: null })
    expect(report.problems).toEqual(['saved: no such column "fee"'])
  })
})
