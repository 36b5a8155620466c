/** Tests the expectations of a model file: what they become, and the mistakes that are told. */
import { expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const base = {
  name: 'roses',
  features: { size: words.number(), note: words.category({ missing: 'fill' }) },
  label: words.yesNo({ positive: 'blooms' }),
  source: words.csv('models/data/roses.csv'),
  split: words.random({ test: 0.25 }),
  train: () => Promise.reject(new Error('is not called here')),
  evaluation: { floors: { auc: 0.6 } },
  release: words.direct(),
}
const define = (change: object) => words.defineModel({ ...base, ...change } as unknown as typeof base)

/** Returns the issues of a valid file after `change`. */
const issuesWith = (change: object): unknown => issuesOfModel(() => define(change))

it('keeps the flags of a pattern, without those that search from a place', () => {
  const { expectations } = define({ expect: [words.matches('note', /^b-\d+$/gi)] }).definition
  expect(expectations).toMatchObject([{ check: 'matches', pattern: String.raw`^b-\d+$`, flags: 'i' }])
})

it.each([
  ['expectation', { expect: [{}] }, 'expect[0]: made with'],
  ['range', { expect: [words.rowCount({ min: 2, max: 1 })] }, 'expect[0] (rows): min 2 is above max 1'],
  ['mostly', { expect: [words.between('size', { min: 1, mostly: 0 })] }, 'expect[0] (between): mostly'],
  [
    'mostly of all rows together',
    { expect: [words.mean('size', { min: 1, mostly: 0.9 } as never)] },
    'expect[0] (mean): has the fields min, max, not mostly',
  ],
  [
    'mostly of classes',
    { expect: [words.everyClass({ min: 1, mostly: 0.9 } as never)] },
    'expect[0] (every_class): has the fields min, max, not mostly',
  ],
  [
    'quantile',
    { expect: [words.quantile('size', 50, { min: 1 })] },
    'expect[0] (quantile): a quantile from 0 to 1',
  ],
  ['columns', { expect: [words.finite('size' as never)] }, 'expect[0] (finite): a list of columns'],
  [
    'no columns',
    { expect: [words.complete([])] },
    "expect[0] (complete): a list of columns is required, such as ['age'], not []",
  ],
  [
    'column',
    { expect: [words.mean(undefined as never, { min: 1 })] },
    'expect[0] (mean): the name of a column',
  ],
  ['limit', { expect: [words.between('size', {})] }, 'expect[0] (between): min or max is required'],
  [
    'values',
    { expect: [words.inSet('size', [])] },
    'expect[0] (in_set): a list of values is required, not []',
  ],
  ['share', { expect: [words.positiveRate({ min: 5 })] }, 'expect[0] (share): min and max are shares'],
  ['pattern', { expect: [words.matches('size', '^a' as never)] }, 'expect: matches: a pattern such as'],
  [
    'condition',
    { expect: [words.completeWhen('size', undefined as never)] },
    'expect: completeWhen: a condition',
  ],
  ['ratios', { expect: [words.rowsAsUsual(undefined as never)] }, 'expect: rowsAsUsual: two ratios'],
  ['rows', { expect: [words.everyClass(undefined as never)] }, 'expect: everyClass: a number of rows'],
  ['freshness', { expect: [words.fresh('soon' as '1 d')] }, 'expect: fresh: a duration'],
  [
    'classes of a quantity',
    {
      label: words.quantity(),
      evaluation: { floors: { rmse: 1 } },
      expect: [words.everyClass({ min: 1 })],
    },
    'expect: everyClass: a quantity',
  ],
])('with a wrong %s says so', (_name, change, issue) =>
  expect(issuesWith(change)).toEqual(expect.arrayContaining([expect.stringContaining(issue)])),
)
