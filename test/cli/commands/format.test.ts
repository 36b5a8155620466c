/** Tests how commands format values. */
import { expect, it } from 'vitest'
import { prose, shownMetrics } from '../../../cli/commands/format.ts'

it('the times in a sentence are written as those of tables are', () => {
  expect(prose('Needs 1 approval by 2026-12-03T05:10:20.790Z; requested by local.')).toBe(
    'Needs 1 approval by 2026-12-03 05:10:20 UTC; requested by local.',
  )
  expect(prose(undefined)).toBe('–')
})

it('the time of an option stays as a command takes it', () => {
  const sentence =
    'its last row became known at 2001-07-01T08:34:00Z: train again, such as --as-of 2001-07-01T08:34:01.000Z'
  const kept = 'train again, such as --as-of 2001-07-01T08:34:01.000Z'
  expect(prose(sentence)).toBe(`its last row became known at 2001-07-01 08:34:00 UTC: ${kept}`)
})

it('a table of three metrics has the default primary ones and one of a model file, which may be primary too', () => {
  expect(shownMetrics(['brier', 'accuracy', 'auc', 'f1', 'profit'])).toEqual(['auc', 'accuracy', 'profit'])
  expect(shownMetrics(['mae', 'rmse'])).toEqual(['rmse', 'mae'])
})
