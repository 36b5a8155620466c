/** Tests how `tenure sweep` reads the values of --grid. */
import { expect, it } from 'vitest'
import { readGrid } from '../../../../cli/commands/lifecycle/sweep.ts'

it.each([
  ['units=4,8', { units: [4, 8] }],
  ['units=4 , 8', { units: [4, 8] }],
  ['rate=0.001..0.1', { rate: { low: 0.001, high: 0.1 } }],
  ['path=a..b', { path: ['a..b'] }],
])('--grid %s is read as %j', (pair, wanted) => expect(readGrid([pair])).toEqual(wanted))

it.each(['units', 'units=', '=4', 'units=4..', 'units=..4', 'units=..'])('--grid %s is refused', (pair) =>
  expect(() => readGrid([pair])).toThrow(
    `Invalid --grid "${pair}"; use units=16,32 or learningRate=0.001..0.1`,
  ),
)
