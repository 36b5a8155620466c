/** Tests the label `quantities(…)` of model files. */
import { expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import { planRows } from '../../models/define/data/query.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const base = {
  name: 'delays',
  features: { hour: words.number(), wind: words.number() },
  label: words.quantities(['departure', 'arrival'], { unit: 'min', min: -60, knownAt: 'landed_at' }),
  source: words.csv('models/data/delays.csv'),
  split: words.random({ test: 0.25 }),
  train: () => Promise.reject(new Error('is not called here')),
  evaluation: { floors: { r2: 0.1, mae: 20 } },
  release: words.direct(),
} as const
const define = (change: object = {}) =>
  words.defineModel({ ...base, ...change } as unknown as typeof base).definition
const issuesWith = (change: object): unknown => issuesOfModel(() => define(change))

it('a model of several numbers is judged by the mean share that it explains', () => {
  const { label, evaluation } = define()
  expect(label).toMatchObject({ column: 'departure', knownAt: 'landed_at' })
  expect(label.output).toEqual({ kind: 'numbers', names: ['departure', 'arrival'], unit: 'min', min: -60 })
  expect(evaluation.policy).toMatchObject({
    task: 'multioutput',
    primary: 'r2',
    targets: ['departure', 'arrival'],
    calibration: 'off',
    slices: { metric: 'mae' },
  })
})

it('its snapshots have a column for each', () => {
  const { rows } = planRows(define(), { asOfMs: 0 })
  expect(rows).toMatch(/"departure"[^]* as _label,[^]*"arrival"[^]* as _label_2,/)
})

it.each([[['departure']], [[]], ['departure'], [['departure', '']], [[1, 2]]])(
  'the columns %j are refused',
  (columns) =>
    expect(issuesWith({ label: words.quantities(columns as string[]) })).toEqual([
      `label: quantities are the names of 2 to 100 columns, not ${JSON.stringify([columns].flat())}; one column is quantity({ column })`,
    ]),
)

it('words of other labels are refused with what to do', () =>
  expect(
    issuesWith({
      label: words.quantities(['departure', 'wind', 'departure'], {
        threshold: 0.5,
        min: 5,
        max: 1,
      } as object),
      evaluation: {
        primary: 'auc',
        floors: { pinball: 0.8 },
        baseline: 'before',
        sliceLimits: { metric: 'rmse' },
      },
      weights: { classes: 'balanced' },
      fallback: words.always(5),
      tests: [words.direction('wind', { column: 'wind', by: 1, never: 'lower', of: 'speed' } as never)],
    }),
  ).toEqual([
    'label: has the fields knownAt, unit, min, max, clip, not threshold',
    'label.column: wind is also a feature: the model would see its label',
    'label: a column is listed twice',
    'label: min 5 is above max 1',
    'weights.classes: a number has no classes: give the weight of each row by a column',
    'evaluation.baseline: one column cannot predict several numbers: leave it out',
    'evaluation.primary: a multioutput model has the metrics r2, rmse, mae, not auc',
    'evaluation.floors: a multioutput model has the metrics r2, rmse, mae, not pinball',
    'evaluation.sliceLimits.metric: is one of mae, not rmse',
    'tests[0].of: the number that is meant is required, one of departure, wind, departure',
    'fallback: several numbers have no single answer: write previousChampion()',
  ]))

it('a column beside the list is refused', () =>
  expect(
    issuesWith({ label: words.quantities(['departure', 'arrival'], { column: 'delay' } as object) }),
  ).toEqual(['label.column: the columns are the list: leave it out']))

it('numbers whose columns differ from each other or from a feature only in capital letters are refused', () => {
  const evaluation = { floors: { r2: 0.1 } }
  expect(issuesWith({ label: words.quantities(['departure', 'Departure']), evaluation })).toEqual([
    'label: a column is listed twice',
  ])
  expect(issuesWith({ label: words.quantities(['departure', 'Wind']), evaluation })).toEqual([
    'label.column: Wind is also a feature: the model would see its label',
  ])
})
