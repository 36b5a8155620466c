import { expect, it } from 'vitest'
import { isStorable } from '../../domain/postgres-text.ts'

it.each([
  ['a plain text', 'ada', true],
  ['what is not a text', [1, null, undefined, { on: true }], true],
  ['nothing', undefined, true],
  ['a whole pair', '😀', true],
  ['a text that only looks like an escape', String.raw`\u0000 \\ud800`, true],
  ['NUL', 'a\0', false],
  ['NUL after a backslash', '\\\0', false],
  ['half a pair', '\ud83d', false],
  ['the other half', 'a\ude00b', false],
  ['NUL deep inside', { evidence: [{ reason: 'a\0b' }] }, false],
  ['NUL in a name', { 'a\0': 1 }, false],
])('%s', (_name, value, storable) => expect(isStorable(value)).toBe(storable))
