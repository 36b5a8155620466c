/** What a caller configures wrongly throws a RangeError that says what to give. */
import { expect, it } from 'vitest'
import {
  addToDetector,
  countDifferences,
  detectorThreshold,
  eProcess,
  meanAbove,
  meanAboveZero,
  meanBelow,
  meanInterval,
  oneArmRateTest,
  twoArmRateTest,
} from '../src/index.ts'

it.each([
  ['no bets', () => eProcess(0), '0 bets'],
  ['a weight of the first start of 1', () => eProcess(2, 1), 'firstMass is 1'],
  ['a gain that is not a number', () => eProcess(2).add([NaN, NaN]), 'the gain is NaN'],
  ['a ratio of 0', () => twoArmRateTest({ ratio: 0 }), 'the ratio is 0'],
  ['a grid with a negative ratio', () => twoArmRateTest({ grid: [2, -2] }), 'give ratioGrid'],
  ['an empty grid', () => twoArmRateTest({ grid: [] }), '0 bets'],
  ['a limit of 2, as a percentage', () => oneArmRateTest(2), 'the limit is 2'],
  [
    'counts that are not numbers',
    () =>
      twoArmRateTest().add({ treatmentTotal: 5, controlTotal: 5, treatmentEvents: NaN, controlEvents: 1 }),
    'give counts that are finite numbers',
  ],
  ['counts that are not numbers, of one arm', () => oneArmRateTest(0.02).add(NaN, 1), 'give counts'],
  ['a difference beyond 1', () => countDifferences([0.5, 1.5]), 'the difference is 1.5'],
  ['a value beyond 1', () => meanAboveZero().add(20), 'the value is 20'],
  ['a limit of 0 of a mean', () => meanAbove(0), 'the limit is 0'],
  ['a limit beyond the largest value', () => meanBelow(0.5, 0.2), 'the limit is 0.5'],
  ['a value below 0', () => meanBelow(0.1).add(-0.5), 'the value is -0.5'],
  ['a value that is not a number', () => meanAbove(0.1).add(NaN), 'the value is NaN'],
  ['a value beyond the largest', () => meanBelow(0.1, 0.2).add(0.5), 'the value is 0.5'],
  ['an interval of α = 1', () => meanInterval([1, 1], 1), 'alpha is 1'],
  ['a detector without a limit', () => addToDetector([], { total: 1, events: 0 }, 0), 'the limit is 0'],
  ['more events than requests', () => addToDetector([], { total: 1, events: 2 }, 0.02), '2 events of 1'],
  ['no looks', () => detectorThreshold({ looks: 0, falseAlarms: 0.01 }), '0 looks'],
])('%s', (_, act, message) => {
  expect(act).toThrow(RangeError)
  expect(act).toThrow(message)
})
