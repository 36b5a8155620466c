/** Tests the words for the verdict of a metric. */
import { expect, it } from 'vitest'
import { verdictText, type GateMetricRow } from '../../../domain/evaluation/metric-table.ts'

it.each<[GateMetricRow['verdict'], number | null, boolean | null, string]>([
  ['not_better', -0.001, null, 'worse'],
  ['not_better', 0, null, 'not better'],
  ['not_better', 0.002, null, 'not better'],
  ['not_better', null, null, 'not better'],
  ['not_worse', 0.002, true, 'not worse'],
  ['better', 0.003, true, 'better'],
  ['reported', null, true, 'floor met'],
  ['reported', null, false, 'floor missed'],
  ['reported', null, null, 'reported'],
])('%s with an interval up to %s and the floor met: %s is "%s"', (verdict, high, floorMet, text) => {
  expect(verdictText({ verdict, high, floorMet })).toBe(text)
})

it.each([
  [0.063, 'not better'],
  [0.05, 'not better'],
  [0.049, 'worse'],
  [null, 'worse'],
])('a loss whose test has p = %s is "%s"', (p, text) => {
  expect(verdictText({ verdict: 'not_better', high: -0.001, p })).toBe(text)
})
