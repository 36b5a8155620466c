/** Tests for how many rounds a refit trains, and on which rows. */
import { expect, it } from 'vitest'
import { refitRowsOf, roundsOf } from '../../../domain/training/rounds.ts'
import type { Trainer } from '../../../domain/training/trainer.ts'

const curve = [0.5, 0.3, 0.3, 0.4].map((validationLoss, index) => ({ epoch: index + 1, validationLoss }))

it.each([
  ['what the library counts', { rounds: 7, curve }, 7],
  ['the first epoch with the least validation loss', { curve }, 2],
  [
    'unknown without validation losses',
    { curve: [{ epoch: 1 }, { epoch: 2, validationLoss: NaN }] },
    undefined,
  ],
])('the rounds of a judged model are %s', (_what, judged, rounds) => {
  expect(roundsOf(judged)).toBe(rounds)
})

it('a refit trains on the validation rows of a program whose rounds are known', () => {
  const trainer: Trainer = { kind: 'queue', queue: 'gpu' }
  expect(refitRowsOf({ trainer }, { curve })).toBe('whole')
  expect(refitRowsOf({ trainer }, { curve: [] })).toBe('held')
  expect(refitRowsOf({}, { curve })).toBe('held')
})
