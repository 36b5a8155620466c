/** Tests metrics that a model file computes, and precision and recall, against known values and together with the built-in metrics. */
import { describe, expect, it } from 'vitest'
import type { MetricFunction } from '../../../domain/evaluation/custom-metrics.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import {
  defaultGatePolicy,
  type CustomMetricPolicy,
  type GatePolicy,
} from '../../../domain/evaluation/policy.ts'
import { seededRandom } from '@tenure/sequential'

const rows = 600
const uniform = seededRandom(5)
const truth = Array.from({ length: rows }, () => (uniform() < 0.4 ? 1 : 0))
/** Probabilities that are right in this share of the rows. */
const model = (share: number) =>
  truth.map((label) => [
    (uniform() < share ? label : 1 - label) === 1 ? 0.6 + 0.3 * uniform() : 0.3 * uniform(),
  ])
const [good, poor] = [model(0.9), model(0.75)]
const standard = defaultGatePolicy('binary')
const evidence = { ...standard.evidence, rows: 100, positives: 50, negatives: 50 }
const policy: GatePolicy = {
  ...standard,
  resamples: 200,
  calibration: 'off',
  evidence,
  leakage: { ...standard.leakage, gain: 1 },
}

/** A false negative costs 5, a false positive 1. */
const cost: MetricFunction = (y, answers) =>
  y.reduce((sum, label, row) => {
    const said = Number(answers[row]) >= 0.5 ? 1 : 0
    return sum + (label === said ? 0 : label === 1 ? 5 : 1)
  }, 0) / y.length

const judge = (
  custom: Partial<CustomMetricPolicy>,
  of: MetricFunction = cost,
  {
    challenger = good,
    champion = poor as number[][] | null,
    policy: also,
    ...more
  }: Partial<Parameters<typeof judgeGate>[0]> & { policy?: Partial<GatePolicy> } = {},
) =>
  judgeGate(
    { y: truth, challenger, champion, ...more },
    { ...policy, custom: { cost: { better: 'lower', ...custom } }, ...also },
    { cost: of },
  )
const rowOf = ({ metrics }: ReturnType<typeof judge>, name = 'cost') =>
  metrics.find(({ metric }) => metric === name)!

describe('precision and recall', () => {
  it('are the shares of true positives among predicted positives and among positives', () => {
    const y = [1, 1, 1, 0, 0, 0, 0, 1]
    const p = [0.9, 0.8, 0.2, 0.7, 0.1, 0.2, 0.3, 0.6].map((value) => [value])
    const report = judgeGate({ y, challenger: p, champion: null }, { ...policy, floors: { recall: 0.8 } })
    expect([rowOf(report, 'precision').challenger, rowOf(report, 'recall').challenger]).toEqual([0.75, 0.75])
    expect(rowOf(report, 'recall').floorMet).toBe(false)
  })

  it('are undefined without a predicted positive, and without a positive', () => {
    const report = judgeGate({ y: [0, 0], challenger: [[0.1], [0.2]], champion: null }, policy)
    expect([rowOf(report, 'precision').verdict, rowOf(report, 'recall').verdict]).toEqual([
      'undefined',
      'undefined',
    ])
  })

  it('have an interval against the champion and can be guards', () => {
    const report = judgeGate(
      { y: truth, challenger: poor, champion: good },
      { ...policy, guards: ['recall'] },
    )
    expect(rowOf(report, 'recall')).toMatchObject({ method: 'bootstrap', verdict: 'worse' })
    expect(report.reasons.map(({ code }) => code)).toContain('guard_not_better')
  })
})

describe('recall and precision of the rows that can be looked at', () => {
  it('are measured where the model file names them, and judged as a guard', () => {
    const of = (more: Partial<GatePolicy>) =>
      judgeGate({ y: truth, challenger: poor, champion: good }, { ...policy, top: 0.2, ...more })
    expect(of({}).metrics.map(({ metric }) => metric)).not.toContain('precisionAtTop')
    const floored = of({ floors: { precisionAtTop: 0.99 } })
    expect(rowOf(floored, 'precisionAtTop')).toMatchObject({ floorMet: false, verdict: 'reported' })
    // Of 120 rows that are looked at, seven in eight are positive for the good model.
    expect(rowOf(floored, 'precisionAtTop').champion).toBeGreaterThan(0.85)
    const guarded = of({ guards: ['recallAtTop'] })
    expect(rowOf(guarded, 'recallAtTop')).toMatchObject({ method: 'bootstrap', verdict: 'worse' })
    expect(guarded.reasons.map(({ code }) => code)).toContain('guard_not_better')
  })
})

describe('a metric of the model file', () => {
  it('that is a mean has the interval of the same bootstrap as a mean of rows', () => {
    const brier: MetricFunction = (y, answers) =>
      y.reduce((sum, label, row) => sum + (Number(answers[row]) - label) ** 2, 0) / y.length
    const report = judge({ guard: true }, brier)
    const [own, known] = [rowOf(report), rowOf(report, 'brier')]
    expect(own.verdict).toBe('better')
    for (const field of ['champion', 'challenger', 'delta', 'low', 'high', 'oneSidedLow'] as const)
      expect(own[field]).toBeCloseTo(known[field]!, 10)
  })

  it('is called once a model unless it is a guard', () => {
    let calls = 0
    const counted: MetricFunction = (...rows) => {
      calls += 1
      return cost(...rows)
    }
    expect(rowOf(judge({}, counted))).toMatchObject({ verdict: 'reported', low: null })
    expect(calls).toBe(3)
  })

  it('as a guard stops a challenger that is worse in it alone, and else is only reported', () => {
    // Better in accuracy, but it misses half of the positives.
    const shy = truth.map((label, row) => [label === 1 && row % 2 === 0 ? 0.9 : 0.1])
    const policyOf = { primary: 'accuracy' } as const
    const judged = (guard: boolean) =>
      judgeGate(
        { y: truth, challenger: shy, champion: poor },
        { ...policy, ...policyOf, custom: { cost: { better: 'lower', guard } } },
        { cost },
      )
    expect(rowOf(judged(true)).verdict).toBe('worse')
    expect(judged(true).reasons.map(({ code }) => code)).toEqual(['guard_not_better'])
    expect(judged(false).verdict).toBe('better')
  })

  it('as a guard may be worse by 1 % of the value of the champion, and accepts an equal challenger with any margin', () => {
    const judged = (loss: number, margin?: number) => {
      const of: MetricFunction = (_, answers) => (Number(answers[0]) === poor[0]![0] ? 1 : 1 + loss)
      const challenger = truth.map((label, row) => [label === 1 ? 0.9 : row === 0 ? 0.2 : 0.1])
      const custom = { cost: { better: 'lower', guard: true, margin } } as const
      const report = judgeGate({ y: truth, challenger, champion: poor }, { ...policy, custom }, { cost: of })
      return report.reasons.map(({ code }) => code)
    }
    expect(judged(0.0099)).not.toContain('guard_not_better')
    expect(judged(0.0101)).toContain('guard_not_better')
    expect(judged(0, 0)).not.toContain('guard_not_better')
  })

  it('has a floor in its own direction, which a first version must meet too', () => {
    const first = (floor: number) => judge({ floor }, cost, { champion: null })
    expect(rowOf(first(2))).toMatchObject({ floorMet: true, verdict: 'reported' })
    expect(first(2).verdict).toBe('better')
    expect(first(0.001).reasons).toMatchObject([
      {
        code: 'floor_missed',
        message: expect.stringMatching(/^cost 0\.\d+ misses its floor: ≤ 0\.001/) as unknown,
      },
    ])
  })

  it.each([
    ['NaN', () => NaN, 'cost of the challenger is NaN, not a finite number'],
    ['Infinity', () => Infinity, 'cost of the challenger is Infinity, not a finite number'],
    ['nothing', () => undefined as never, 'cost of the challenger is undefined, not a finite number'],
    [
      'a promise',
      () => Promise.resolve(1) as never,
      'cost of the challenger is a promise, not a finite number',
    ],
    [
      'an exception',
      () => {
        throw new Error('no price')
      },
      'cost of the challenger threw: Error: no price',
    ],
  ] as const)(
    'that gives %s is an error with a sentence, which a guard and the primary metric are stopped by',
    (_what, of, sentence) => {
      const guarded = judge({ guard: true }, of as MetricFunction)
      expect(rowOf(guarded)).toMatchObject({ verdict: 'error', error: sentence, challenger: null })
      expect(guarded).toMatchObject({
        verdict: 'not_better',
        reasons: [{ code: 'metric_error', message: sentence }],
      })
      const primary = judge({}, of as MetricFunction, { policy: { primary: 'cost', standIn: 'auc' } })
      expect(primary).toMatchObject({
        verdict: 'not_better',
        reasons: [{ code: 'primary_undefined', message: sentence }],
      })
      const reported = judge({}, of as MetricFunction)
      expect(reported).toMatchObject({ verdict: 'better', warnings: [{ code: 'metric_error' }] })
      const page = gateMarkdown(guarded, {
        model: 'm',
        challenger: 'c',
        champion: 'd',
        asOf: 't',
        snapshot: 's',
      })
      expect(page).toContain('(`metric_error`)')
    },
  )

  it('that is not finite in many resamples is an error, not an interval of the rest', () => {
    let calls = 0
    const flaky: MetricFunction = () => (++calls > 3 && calls % 4 === 0 ? NaN : 1)
    expect(rowOf(judge({ guard: true }, flaky))).toMatchObject({
      verdict: 'error',
      error: 'cost is not finite in 50 % of the resamples',
    })
  })

  it('resamples the rows of an entity together', () => {
    const entities = truth.map((_, row) => Math.floor(row / 20))
    const [alone, together] = [judge({ guard: true }), judge({ guard: true }, cost, { entities })].map(
      (report) => rowOf(report),
    )
    expect(together!.delta).toBeCloseTo(alone!.delta!, 10)
    expect(together!.low).not.toBe(alone!.low)
  })
})
