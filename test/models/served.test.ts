/** Tests the source `served(…)` of model files. */
import { expect, it } from 'vitest'
import { planRows } from '../../models/define/data/query.ts'
import * as words from '../../models/define.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const base = {
  name: 'roses',
  features: { size: words.number(), colour: words.category(['red', 'white']) },
  label: words.yesNo({ positive: 'blooms', column: 'outcome' }),
  source: words.served({ since: '90 d' }),
  split: words.byTime({ train: '20 d', test: '5 d' }),
  evaluation: { floors: { auc: 0.6 } },
  release: words.direct(),
} as const
const define = (change: object = {}) =>
  words.defineModel({ ...base, ...change } as unknown as typeof base).definition
const issuesWith = (change: object): unknown => issuesOfModel(() => define(change))

it('a model with served rows knows its times and key by itself', () => {
  const { source, label } = define({ source: words.served({ since: '90 d', matured: '2 h', minRows: 500 }) })
  expect(source).toEqual({
    kind: 'served',
    files: {},
    rows: 'select * from served',
    derive: undefined,
    eventTime: 'asked_at',
    lookbackMs: 0,
    key: ['prediction_id'],
    served: {
      sinceMs: 90 * 86_400_000,
      maturedMs: 7_200_000,
      knownAt: 'arrived',
      maxRequests: 1_000_000,
      minRows: 500,
    },
  })
  expect(label).toMatchObject({ column: 'outcome', knownAt: 'known_at' })
})

it('a model with served rows must say which column is its label', () => {
  const label = words.yesNo({ positive: 'blooms' })
  expect(issuesWith({ label })).toEqual([
    'label.column: served rows have their outcome in the column "outcome", not "label": write column: \'outcome\', or make the column with derive',
  ])
  const derived = words.served({ derive: 'select *, cast(outcome as double) > 15 as label from known' })
  expect(issuesWith({ label, source: derived })).toEqual([])
  expect(issuesWith({ label: { ...base.label, knownAt: 'paid_at' } })).toEqual([
    'label.knownAt: of served rows it is "known_at": leave it out',
  ])
})

it('several numbers are columns of served rows, unless they have the name of another column', () => {
  const evaluation = { floors: { r2: 0.1 } }
  const label = words.quantities(['price', 'rent'])
  expect(define({ label, evaluation }).label).toMatchObject({ column: 'price', knownAt: 'known_at' })
  expect(issuesWith({ label: words.quantities(['price', 'Answer']), evaluation })).toEqual([
    'label: served rows have a column "Answer" of their own: give the number another name',
  ])
})

it('served rows with wrong options, or with features of their own names, are refused with every issue', () => {
  const source = words.served({
    since: 'long',
    maxRequests: 0,
    minRows: 1.5,
    knownAt: 'later',
    includeShadow: true,
  } as object)
  const features = { ...base.features, Arm: words.number(), routing_key: words.category() }
  expect(issuesWith({ source, features })).toEqual([
    'features.Arm: served rows have a column of this name: give the feature another one',
    'features.routing_key: served rows have a column of this name: give the feature another one',
    'source: has the fields since, matured, knownAt, maxRequests, minRows, derive, not includeShadow',
    "source.knownAt: 'arrived' or 'observed' is required, not \"later\"",
    'source.maxRequests: a whole number above 0 is required, not 0',
    'source.minRows: a whole number above 0 is required, not 1.5',
    "source.since: a duration such as '30 min' or '7 d' is required, not \"long\"",
  ])
})

it('a feature view has no served rows', () => {
  const view = words.view('spending', {
    source: words.served(),
    entity: 'customer',
    knownAt: 'known_at',
    timeToLive: '1 d',
    values: { sum: words.number() },
  })
  expect(view.issues).toContain(
    'views.spending.source: served(…) is for models only: write csv(…), parquet(…) or postgres(…)',
  )
})

it('served rows keep the value of a feature that was looked up when the request was answered', () => {
  const spending = words.view('spending', {
    source: words.csv('models/data/spending.csv', { eventTime: 'at' }),
    entity: 'customer',
    knownAt: 'known_at',
    timeToLive: '1 d',
    values: { sum: words.number() },
  })
  const features = {
    ...base.features,
    customer: words.category(),
    sum: words.lookup(spending, 'sum', { by: 'customer' }),
  }
  const planned = (source: object) => planRows(define({ features, source }), { asOfMs: 0 }).rows
  expect(planned(words.csv('models/data/roses.csv', { eventTime: 'at' }))).toContain('asof left join')
  expect(planned(words.served())).not.toContain('asof left join')
})
