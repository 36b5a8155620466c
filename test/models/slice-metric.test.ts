/** Tests by which metric the slices of a model are compared when its file does not name one. */
import { expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import type { EvaluationSpec } from '../../models/define/evaluation.ts'

const yesNo = words.yesNo({ positive: 'late' })
const oneOf = words.oneOf(['a', 'b'])
const quantity = words.quantity()
const quantiles = words.quantiles([0.1, 0.9])
const quantities = words.quantities(['a', 'b'])

const metricOf = (label: typeof yesNo, evaluation: Partial<EvaluationSpec>) =>
  words.defineModel({
    name: 'sliced',
    features: { size: words.number({}) },
    label,
    source: words.csv('rows.csv'),
    split: words.random({ test: 0.2 }),
    evaluation: { floors: { [evaluation.primary ?? 'mae']: 0.5 }, ...evaluation },
    release: words.direct(),
  }).definition.evaluation.policy.slices.metric

it.each([
  [yesNo, undefined, 'auc'],
  [yesNo, 'brier', 'brier'],
  [yesNo, 'f1', 'accuracy'],
  [oneOf, 'logLoss', 'logLoss'],
  [quantity, undefined, 'rmse'],
  [quantity, 'mae', 'mae'],
  [quantity, 'r2', 'rmse'],
  [quantiles, 'mae', 'mae'],
  [quantiles, 'coverageError', 'pinball'],
  [quantities, 'r2', 'mae'],
] as const)('%o with the primary metric %s: %s', (label, primary, metric) => {
  const floors = primary === undefined && label === yesNo ? { floors: { auc: 0.5 } } : {}
  expect(metricOf(label, { primary, ...floors })).toBe(metric)
})

it('that of the model file comes first', () =>
  expect(metricOf(quantity, { primary: 'mae', sliceLimits: { metric: 'rmse' } })).toBe('rmse'))
