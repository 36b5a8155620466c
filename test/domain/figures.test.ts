/** Tests how messages and reports write figures. */
import { expect, it } from 'vitest'
import { counted, inMetricOrder } from '../../domain/figures.ts'

it('a number is written with its noun, in the singular for one', () => {
  expect([0, 1, 2, 1_200].map((count) => counted(count, 'row'))).toEqual([
    '0 rows',
    '1 row',
    '2 rows',
    '1,200 rows',
  ])
})

it('metrics have the order of headings, and those of a model file come last', () => {
  expect(inMetricOrder(['f1', 'cost', 'auc', 'constructor', 'accuracy', 'brier'])).toEqual([
    'auc',
    'f1',
    'accuracy',
    'brier',
    'cost',
    'constructor',
  ])
})
