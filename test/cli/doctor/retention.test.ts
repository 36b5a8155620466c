/** Tests that the doctor names models whose outcomes arrive after their predictions are deleted. */
import { expect, it } from 'vitest'
import { findingsOfRetention } from '../../../cli/doctor/files.ts'
import { defineModel, number, random, served, yesNo, direct } from '../../../models/define.ts'
import type { ServedOptions } from '../../../models/define/data/served.ts'

const modelOf = (outcomesWithin: `${number} d`, options: ServedOptions = {}) =>
  defineModel({
    name: 'claims',
    features: { age: number() },
    label: yesNo({ column: 'outcome', positive: 'claim' }),
    source: served(options),
    split: random({ test: 0.3 }),
    monitor: { outcomesWithin },
    evaluation: { floors: { auc: 0.5 } },
    release: direct(),
  }).definition

it('names the ages in the model file that exceed the days for which predictions are kept, and what to set', () => {
  expect(findingsOfRetention([modelOf('90 d')], 90)).toEqual([])
  expect(findingsOfRetention([modelOf('400 d', { since: '500 d' })], 90)).toEqual([
    {
      check: 'model files',
      state: 'warning',
      found:
        'claims: predictions are kept for 90 d, shorter than monitor.outcomesWithin (400 d) and since of served() (500 d): later outcomes join no prediction',
      next: 'Set TENURE_KEEP_PREDICTIONS_DAYS above 500 for every process, or lower the age in the model file.',
    },
  ])
})
