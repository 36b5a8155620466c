/** Tests the calibration of predictions against stored outcomes. */
import { expect, it } from 'vitest'
import { calibrationOf } from '../../../../api/dashboard/components/calibration.ts'

const many = <T>(one: T): T[] => Array.from({ length: 60 }, () => one)
const probability = { kind: 'probability', positive: 'late', threshold: 0.5 } as const
const classes = { kind: 'classes', classes: ['a', 'b', 'c'] } as const

it('calibration of a probability uses the positive class, for labels and booleans', () => {
  const found = calibrationOf(
    [
      ...many({ outputs: [0.25], place: 0, value: 'late' }),
      ...many({ outputs: [0.25], place: 0, value: false }),
    ],
    probability,
  )
  expect(found?.bins[2]).toMatchObject({ rows: 120, meanProbability: 0.25, positiveRate: 0.5 })
})

it('calibration of classes uses the predicted class of the right instance', () => {
  const answered = many({ outputs: [1, 0, 0, 0.1, 0.8, 0.1], place: 1, value: 'b' })
  expect(calibrationOf(answered, classes)?.bins[8]).toMatchObject({ rows: 60, positiveRate: 1 })
})

it.each([
  ['too few outcomes', [{ outputs: [0.2], place: 0, value: 1 }], probability],
  ['a number', many({ outputs: [2], place: 0, value: 2 }), { kind: 'number' } as const],
  ['an instance outside the request', many({ outputs: [0.5], place: 3, value: 1 }), probability],
  ['an unknown class', many({ outputs: [0.2, 0.3, 0.5], place: 0, value: 'z' }), classes],
  ['no output', many({ outputs: [0.5], place: 0, value: 1 }), undefined],
])('calibration is undefined for %s', (_case, answered, output) =>
  expect(calibrationOf(answered, output)).toBeUndefined(),
)
