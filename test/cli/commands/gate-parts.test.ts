/** Tests the lines of `releases show` on fairness, slices and calibration. */
import { expect, it } from 'vitest'
import type { JudgedParts } from '../../../cli/client/responses.ts'
import { gateParts } from '../../../cli/commands/lifecycle/releases.ts'

const measure = (name: string, limit: string, value: number | null) => ({
  name,
  limit,
  estimate: { value, low: null, high: null },
  fewRows: [],
  verdict: 'ok',
})
const slice = (name: string, delta: number | null, challenger: number, verdict = 'ok') => ({
  name,
  rows: 420,
  positives: 40,
  champion: delta === null ? null : 0.83,
  challenger,
  delta,
  p: null,
  adjustedP: null,
  verdict,
})
const report = (slices: object[]) =>
  ({
    slices,
    fairness: [
      {
        attribute: 'age_group',
        groups: [],
        measures: [
          measure('selection rate', 'selectionRatio', 0.83),
          measure('true-positive rate', 'rateDifference', 0.04),
          measure('false-positive rate', 'rateDifference', null),
          measure('mean error', 'errorDifference', 0.05),
        ],
        verdict: 'ok',
      },
    ],
    calibration: { champion: null, challenger: { brier: 0.1, ece: 0.012, mce: 0.05 }, verdict: 'ok' },
    policy: { slices: { metric: 'accuracy' } },
  }) as unknown as JudgedParts

it('an approver reads each judged attribute, the worst slice and the calibration with their figures', () => {
  expect(gateParts(report([slice('morning', 0.01, 0.84), slice('evening', -0.02, 0.81)]))).toEqual([
    'fairness by age_group: ok; selection rate: ratio 0.83, mean error: difference 0.05 standard deviations of the label, true-positive rate: difference 0.04',
    'worst slice of 2: evening: ok; accuracy 0.81, champion 0.83, 420 rows',
    'calibration: ok; expected error 0.012, champion –',
  ])
  expect(gateParts({})).toEqual([])
})

it('fairness that was not judged has a reason and no figures', () => {
  const [row] = report([]).fairness
  const fairness = [{ ...row!, verdict: 'undefined' as const }]
  expect(gateParts({ fairness })).toEqual([
    'fairness by age_group: not judged, because no test row has a group',
  ])
})

it('a blocked slice is the worst one, and without a champion the one with the worst value', () => {
  const nameIn = (slices: object[]) => /: (\w+):/.exec(gateParts(report(slices))[1]!)?.[1]
  expect(nameIn([slice('evening', -0.02, 0.81), slice('night', -0.01, 0.82, 'blocked')])).toBe('night')
  expect(nameIn([slice('evening', null, 0.9), slice('night', null, 0.7)])).toBe('night')
})
