/** Tests how commands format values. */
import { expect, it } from 'vitest'
import { shownMetrics } from '../../../cli/commands/format.ts'

it('a table of three metrics has the default primary ones and one of a model file, which may be primary too', () => {
  expect(shownMetrics(['brier', 'accuracy', 'auc', 'f1', 'profit'])).toEqual(['auc', 'accuracy', 'profit'])
  expect(shownMetrics(['mae', 'rmse'])).toEqual(['rmse', 'mae'])
})
