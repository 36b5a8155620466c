/** Tests how commands format values. */
import { expect, it } from 'vitest'
import { prose } from '../../../cli/commands/format.ts'

it('the times in a sentence are written as those of tables are', () => {
  expect(prose('Needs 1 approval by 2026-12-03T05:10:20.790Z; requested by local.')).toBe(
    'Needs 1 approval by 2026-12-03 05:10:20 UTC; requested by local.',
  )
  expect(prose(undefined)).toBe('–')
})
