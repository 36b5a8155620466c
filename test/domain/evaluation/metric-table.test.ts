/** Tests the verdict of a metric and its words. */
import { expect, it } from 'vitest'
import { gainVerdict, type GateMetricRow } from '../../../domain/evaluation/metric-table.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  gateVerdictText,
  metricVerdictText,
  sliceVerdictText,
} from '../../../domain/evaluation/verdict-words.ts'
import { forReason } from '../../../domain/evaluation/reasons.ts'

it.each<[GateMetricRow['verdict'], boolean | null, string]>([
  ['worse', null, 'failed'],
  ['not_better', null, 'failed'],
  ['error', null, 'failed'],
  ['not_worse', true, 'no regression'],
  ['better', true, 'better'],
  ['reported', true, 'passed'],
  ['reported', false, 'failed'],
  ['reported', null, 'no verdict'],
  ['undefined', null, 'no verdict'],
])('%s with the floor met: %s is "%s"', (verdict, floorMet, text) => {
  expect(metricVerdictText({ verdict, floorMet })).toBe(text)
})

it('has a verdict only for metrics that decide: primary, guardrails and missed floors', () => {
  const policy = { ...defaultGatePolicy('binary'), guards: ['brier' as const] }
  const of = (metric: string, floorMet: boolean | null = null) =>
    metricVerdictText({ metric, verdict: 'worse', floorMet }, policy)
  expect([of(policy.primary), of('brier'), of('f1', false), of('f1')]).toEqual([
    'failed',
    'failed',
    'failed',
    'no verdict',
  ])
})

it('the gate, its metrics and its slices have five words in all', () => {
  const gate = ['better', 'not_worse', 'not_better', 'insufficient'].flatMap((verdict) =>
    [true, false].map((isFirst) => gateVerdictText(verdict, { isFirst })),
  )
  const slices = (['ok', 'blocked', 'insufficient', 'missing'] as const).map(sliceVerdictText)
  expect(new Set([...gate, ...slices])).toEqual(
    new Set(['better', 'no regression', 'passed', 'failed', 'no verdict']),
  )
  expect(gateVerdictText('better', { isFirst: true })).toBe('passed')
})

it.each([
  [-0.001, 0.95, 0.063, 'not_better'],
  [-0.001, 0.95, 0.051, 'not_better'],
  [-0.001, 0.95, 0.049, 'worse'],
  [-0.001, 0.99, 0.049, 'not_better'],
  [-0.001, 0.9, 0.063, 'worse'],
  [-0.001, 0.95, null, 'worse'],
  [0, 0.95, null, 'not_better'],
  [0.002, 0.95, 0.001, 'not_better'],
])('a loss of at most %s with a confidence of %s and p = %s is %s', (high, confidence, p, verdict) => {
  const gain = { delta: -0.01, low: -0.02, high, oneSidedLow: -0.018, p, method: 'mcnemar' } as const
  expect(gainVerdict({ ...gain, challenger: 0.8, reference: 0.81 }, 0.005, confidence)).toBe(verdict)
})

it('a reason has metrics of four decimals, as tables and pages have', () => {
  const row: GateMetricRow = {
    metric: 'auc',
    higherIsBetter: true,
    champion: 0.724,
    challenger: 0.75,
    baseline: null,
    delta: 0.026,
    low: 0.02,
    high: 0.032,
    oneSidedLow: 0.021,
    p: null,
    margin: 0.005,
    floor: null,
    floorMet: null,
    method: 'bootstrap',
    verdict: 'better',
  }
  expect(forReason(row, false).message).toBe(
    'AUC 0.7500 vs champion 0.7240: gain +0.0200 to +0.0320, above 0',
  )
  expect(forReason(row, true).message).toMatch(/, AUC 0\.7500$/)
})
