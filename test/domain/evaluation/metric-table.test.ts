/** Tests the verdict of a metric and its words. */
import { expect, it } from 'vitest'
import { gainVerdict, verdictText, type GateMetricRow } from '../../../domain/evaluation/metric-table.ts'
import { forReason } from '../../../domain/evaluation/reasons.ts'

it.each<[GateMetricRow['verdict'], boolean | null, string]>([
  ['worse', null, 'worse'],
  ['not_better', null, 'not better'],
  ['not_worse', true, 'no regression'],
  ['better', true, 'better'],
  ['reported', true, 'floor met'],
  ['reported', false, 'floor missed'],
  ['reported', null, 'reported'],
])('%s with the floor met: %s is "%s"', (verdict, floorMet, text) => {
  expect(verdictText({ verdict, floorMet })).toBe(text)
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
