/** Tests which times `--as-of` and which values `--set` read. */
import { describe, expect, it } from 'vitest'
import { isoTime } from '../../../../cli/commands/lifecycle/as-of.ts'
import { parseHyperparameter } from '../../../../cli/commands/lifecycle/hyperparameters.ts'

describe('--as-of', () => {
  it.each([
    ['2001-02-05', '2001-02-05T00:00:00.000Z'],
    ['2001-02-05T12:00:00+01:00', '2001-02-05T11:00:00.000Z'],
  ])('reads %s', (text, time) => expect(isoTime(text)).toBe(time))

  it.each(['5', '32', 'March 7', '2001-02-05 12:00', '2001-02-05T12:00'])(
    'refuses %s, which names no moment',
    (text) => expect(() => isoTime(text)).toThrow(`--as-of: Invalid time "${text}"; use 2026-03-01`),
  )
})

describe('--set', () => {
  it.each([
    ['32', 32],
    ['-0.5', -0.5],
    ['0.10', 0.1],
    ['1e-3', 0.001],
    ['true', true],
    ['"32"', '32'],
    ['12345678901234567890', '12345678901234567890'],
    ['01234', '01234'],
    ['a', 'a'],
  ])('reads %s', (text, value) => expect(parseHyperparameter(text)).toBe(value))
})
