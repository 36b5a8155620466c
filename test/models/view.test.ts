/** Tests that each error of a feature view, and of its use by a model, has its path, and that a valid view has one digest. */
import { describe, expect, it } from 'vitest'
import {
  byTime,
  category,
  csv,
  defineModel,
  direct,
  lookup,
  number,
  postgres,
  view,
  yesNo,
} from '../../models/define.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const right = {
  entity: 'airport',
  source: postgres({ rows: 'select * from told', eventTime: 'at' }),
  knownAt: 'told_at',
  values: { delay: number({ unit: 'min' }), sky: category(['blue', 'grey']) },
  timeToLive: '6 h',
} as const
const file = (features: object, more: object = {}) => ({
  name: 'late',
  features: { airport: category(), ...features },
  label: yesNo({ column: 'late', positive: 'late' }),
  source: postgres({ rows: 'select 1', eventTime: 'at' }),
  split: byTime({ train: '3 d', test: '1 d' }),
  train: () => {
    throw new Error('never trained')
  },
  evaluation: { floors: { auc: 0.5 } },
  release: direct({ approval: { by: 1, within: '1 h' } }),
  ...more,
})
const issuesOf = (features: object, more: object = {}): unknown =>
  issuesOfModel(() => defineModel(file(features, more) as Parameters<typeof defineModel>[0]))
const looking = (change: object, name = 'delays') =>
  lookup(view(name, { ...right, ...change } as Parameters<typeof view>[1]), 'delay')

describe('a view', () => {
  it('has no issue when it is valid, and is included in the model once', () => {
    const delays = view('delays', right)
    const { definition } = defineModel(
      file({
        delay: lookup(delays, 'delay'),
        sky: lookup(delays, 'sky', { by: 'airport', otherwise: 'grey', within: '5 ms' }),
      }) as Parameters<typeof defineModel>[0],
    )
    expect(definition.views).toHaveLength(1)
    expect(definition.views).toMatchObject([
      { name: 'delays', entity: ['airport'], everyMs: 300_000, lateMs: 3_600_000 },
    ])
    expect(definition.features).toMatchObject({
      delay: {
        kind: 'number',
        unit: 'min',
        missing: 'fill',
        from: { by: ['airport'], timeToLiveMs: 21_600_000, withinMs: 20 },
      },
      sky: { kind: 'category', from: { otherwise: 'grey', withinMs: 5 } },
    })
    expect(definition.features['sky']).not.toHaveProperty('missing')
  })

  it('has another digest exactly when its values would differ', () => {
    const digest = (change: object) =>
      view('delays', { ...right, ...change } as Parameters<typeof view>[1]).definition.digest
    expect(digest({ every: '1 min', about: 'x', timeToLive: '1 h', late: '1 d' })).toBe(digest({}))
    for (const change of [
      { entity: 'other' },
      { knownAt: 'other' },
      { source: postgres({ rows: 'select * from other', eventTime: 'at' }) },
      { source: postgres({ rows: 'select * from told', eventTime: 'other' }) },
      { values: { delay: number() } },
    ])
      expect(digest(change)).not.toBe(digest({}))
    // Two views of different names differ, whatever their content.
    expect(view('others', right).definition.digest).not.toBe(digest({}))
  })

  it.each([
    ['an invalid name', looking({}, 'Delays of airports'), 'views.Delays of airports.name: up to 63'],
    ['no entity', looking({ entity: [] }), 'views.delays.entity: at least one column'],
    [
      'an entity that is not a column',
      looking({ entity: 'air port' }),
      'views.delays.entity: the name of a column is required, not "air port"',
    ],
    [
      'no event time',
      looking({ source: postgres({ rows: 'select 1' }) }),
      'views.delays.source.eventTime: the name of a column is required',
    ],
    [
      'no known-at',
      looking({ knownAt: undefined }),
      'views.delays.knownAt: the name of a column is required',
    ],
    ['no time to live', looking({ timeToLive: undefined }), 'views.delays.timeToLive: is missing'],
    [
      'an invalid time to live',
      looking({ timeToLive: 'long' }),
      'views.delays.timeToLive: a duration such as',
    ],
    ['an invalid period', looking({ every: '0 s' }), 'views.delays.every: a duration such as'],
    ['no values', looking({ values: {} }), 'views.delays.values: at least one is required'],
    [
      'a file elsewhere',
      looking({ source: csv('s3://rows/delays.csv', { eventTime: 'at' }) }),
      'views.delays.source: a feature view reads files of the project',
    ],
    ['no source', looking({ source: undefined }), 'views.delays.source: has the wrong shape'],
    [
      'a value that the store needs the name of',
      looking({ values: { delay: number(), event_at: number() } }),
      'views.delays.values.event_at: is a name of the feature store itself',
    ],
    [
      'what only models have',
      looking({ source: postgres({ rows: 'select 1', eventTime: 'at', lookback: '1 d' }) }),
      'views.delays.source.lookback: is for models',
    ],
  ])('with %s is refused with the place', (_name, delay, issue) =>
    expect(issuesOf({ delay })).toEqual(
      expect.arrayContaining([expect.stringContaining(`features.delay: ${issue}`)]),
    ),
  )
})

describe('a feature that is looked up', () => {
  const delays = view('delays', right)
  it.each([
    [
      'a value that the view has not',
      lookup(delays, 'depth' as 'delay'),
      'value: delays has no value "depth", but delay, sky',
    ],
    [
      'a stand-in of another kind',
      lookup(delays, 'delay', { otherwise: 'none' }),
      'otherwise: a number is required, not "none"',
    ],
    [
      'a default outside of its values',
      lookup(delays, 'sky', { otherwise: 'red' }),
      'otherwise: is not a declared value',
    ],
    [
      'too few fields for its entity',
      lookup(delays, 'delay', { by: [] }),
      'by: an entity of delays is named by 1 field, not 0',
    ],
    [
      'an invalid deadline',
      lookup(delays, 'delay', { within: 'soon' as '1 ms' }),
      'within: a duration such as',
    ],
    ['an invalid field', lookup(delays, 'delay', { by: 'a b' }), 'by: a field has letters'],
  ])('from %s is refused with the place', (_name, delay, issue) =>
    expect(issuesOf({ delay })).toEqual(
      expect.arrayContaining([expect.stringContaining(`features.delay: ${issue}`)]),
    ),
  )

  it('is refused for the entity of another view, for two definitions of one name, or without a row time', () => {
    const other = view('delays', { ...right, knownAt: 'other' })
    expect(issuesOf({ airport: lookup(delays, 'sky'), delay: lookup(delays, 'delay') })).toContain(
      'features.delay.by: airport is looked up itself: an entity is named by what callers send',
    )
    expect(issuesOf({ delay: lookup(delays, 'delay'), more: lookup(other, 'delay') })).toContain(
      'features.more: there are two views delays in one model',
    )
    expect(
      issuesOf({ delay: lookup(delays, 'delay') }, { source: postgres({ rows: 'select 1' }) }),
    ).toContain('source.eventTime: is required: delay is joined as it was known at the time of a row')
    expect(issuesOf({ delay: { kind: 'number', from: { view: 'delays' } } })).toContain(
      'features.delay.from: made with lookup()',
    )
  })
})
