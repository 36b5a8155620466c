/** Tests that no constant beats the default baseline of a number, whose labels are skewed. */
import { expect, it } from 'vitest'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { quantiles, seededRandom, standardNormal } from '@tenure/sequential'

const rows = 1_000
const uniform = seededRandom(6)
const skewed = () => Array.from({ length: rows }, () => Math.exp(1.5 * standardNormal(uniform)))
const labels = [skewed(), skewed()]
const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value / rows, 0)
const medianOf = (values: readonly number[]) => quantiles(values, [0.5])[0]!

function judge(constant: (values: readonly number[]) => number, more: Partial<GatePolicy>, width = 1) {
  const columns = labels.slice(0, width)
  const answer = columns.map(constant)
  const challenger = Array.from({ length: rows }, () => answer)
  const y = Array.from({ length: rows }, (_, row) => columns.map((values) => values[row]!)).flat()
  const policy = { ...defaultGatePolicy('regression'), resamples: 100, floors: { mae: 1_000 }, ...more }
  const { verdict, reasons } = judgeGate({ y, challenger, champion: null }, policy)
  return [verdict, ...reasons.map(({ code }) => code)]
}

it.each([
  ['median', 'mae', medianOf],
  ['mean', 'mae', meanOf],
  ['mean', 'rmse', meanOf],
  ['median', 'rmse', medianOf],
  ['mean', 'r2', meanOf],
] as const)('the %s does not beat the baseline in %s', (_name, primary, constant) =>
  expect(judge(constant, { primary })).toEqual(['not_better', 'baseline_not_met']),
)

it('the medians of several numbers do not beat the baseline in MAE', () => {
  const several = { ...defaultGatePolicy('multioutput'), primary: 'mae', targets: ['near', 'far'] } as const
  expect(judge(medianOf, { ...several, resamples: 100, floors: { mae: 1_000 } }, 2)).toEqual([
    'not_better',
    'baseline_not_met',
  ])
})

it('the R² of a model that answers the mean is 0, and no rest of rounding', () => {
  for (const y of labels) {
    const answers = y.map(() => [meanOf(y)])
    const policy = { ...defaultGatePolicy('regression'), resamples: 100 }
    const { metrics } = judgeGate({ y, challenger: answers, champion: null }, policy)
    expect(metrics.find(({ metric }) => metric === 'r2')!.challenger).toBe(0)
  }
})

it('a calibration error just above its limit is shown with the digits that are above it', () => {
  const y = Array.from({ length: rows }, (_, row) => (row % 4 === 0 ? 1 : 0))
  const calibration = { ece: 0.05, overChampion: 0.02 }
  const policy = { ...defaultGatePolicy('binary'), resamples: 100, calibration }
  const { reasons } = judgeGate({ y, challenger: y.map(() => [0.3000004]), champion: null }, policy)
  const told = reasons.map(({ message }) => message)
  expect(told).toContain('calibration error 0.0500004 is above the limit 0.05 (evaluation.calibration)')
})
