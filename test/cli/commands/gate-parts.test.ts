/** Tests the lines of `releases show` on fairness, slices and calibration. */
import { expect, it } from 'vitest'
import type { JudgedParts } from '../../../cli/client/responses.ts'
import { gateParts } from '../../../cli/commands/lifecycle/releases.ts'

const estimate = (value: number | null) => ({ value, low: null, high: null })
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
        selectionRatio: estimate(0.83),
        tprDifference: estimate(0.04),
        fprDifference: estimate(null),
        verdict: 'ok',
      },
    ],
    calibration: { champion: null, challenger: { brier: 0.1, ece: 0.012, mce: 0.05 }, verdict: 'ok' },
    policy: { slices: { metric: 'accuracy' } },
  }) as unknown as JudgedParts

it('an approver reads each judged attribute, the worst slice and the calibration with their figures', () => {
  expect(gateParts(report([slice('morning', 0.01, 0.84), slice('evening', -0.02, 0.81)]))).toEqual([
    'fairness by age_group: ok; smallest over largest selection rate 0.83, true-positive rates differ by 0.04, false-positive rates by –',
    'worst slice of 2: evening: ok; accuracy 0.81, champion 0.83, 420 rows',
    'calibration: ok; expected error 0.012, champion –',
  ])
  expect(gateParts({})).toEqual([])
})

it('fairness that was not judged has a reason and no figures', () => {
  const [row] = report([]).fairness
  const fairness = [{ ...row!, verdict: 'undefined' as const }]
  expect(gateParts({ fairness })).toEqual([
    'fairness by age_group: not judged, because no test row has both a group and an answer of yes or no',
  ])
})

it('a blocked slice is the worst one, and without a champion the one with the worst value', () => {
  const nameIn = (slices: object[]) => /: (\w+):/.exec(gateParts(report(slices))[1]!)?.[1]
  expect(nameIn([slice('evening', -0.02, 0.81), slice('night', -0.01, 0.82, 'blocked')])).toBe('night')
  expect(nameIn([slice('evening', null, 0.9), slice('night', null, 0.7)])).toBe('night')
})
