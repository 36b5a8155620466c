/** Tests the label `quantiles(…)` of model files. */
import { expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const base = {
  name: 'waits',
  features: { hour: words.number() },
  label: words.quantiles([0.1, 0.5, 0.9], { unit: 'min', min: 0, column: 'wait' }),
  source: words.csv('models/data/waits.csv'),
  split: words.random({ test: 0.25 }),
  train: () => Promise.reject(new Error('is not called here')),
  evaluation: { floors: { coverageError: 0.05 } },
  release: words.direct(),
} as const
const define = (change: object = {}) =>
  words.defineModel({ ...base, ...change } as unknown as typeof base).definition
const issuesWith = (change: object): unknown => issuesOfModel(() => define(change))

it('a model of quantiles is judged by their pinball loss and their coverage', () => {
  const { label, evaluation } = define()
  expect(label.output).toEqual({ kind: 'quantiles', levels: [0.1, 0.5, 0.9], unit: 'min', min: 0 })
  expect(evaluation.policy).toMatchObject({
    task: 'quantiles',
    primary: 'pinball',
    levels: [0.1, 0.5, 0.9],
    range: { min: 0 },
    floors: { coverageError: 0.05 },
    calibration: 'off',
    slices: { metric: 'pinball' },
  })
})

it.each([[[0.5]], [[0.9, 0.1]], [[0, 0.5]], [[0.5, 1]], [[0.1, 0.1]], ['0.1, 0.9'], [undefined]])(
  'the levels %j are refused',
  (levels) =>
    expect(issuesWith({ label: words.quantiles(levels as number[]) })).toEqual([
      `label: quantiles are 2 to 99 rising levels between 0 and 1, such as [0.1, 0.5, 0.9], not ${JSON.stringify(levels)}`,
    ]),
)

it('words of other labels are refused with what to do', () =>
  expect(
    issuesWith({
      label: words.quantiles([0.1, 0.9], { threshold: 0.5, min: 5, max: 1 } as object),
      evaluation: { primary: 'rmse', floors: { auc: 0.8 }, baseline: 'before' },
      weights: { classes: 'balanced' },
      expect: [words.everyClass({ min: 5 })],
      fallback: words.always(5),
    }),
  ).toEqual([
    'label: has the fields knownAt, column, unit, min, max, clip, not threshold',
    'label: min 5 is above max 1',
    'expect: everyClass: a quantity has no classes',
    'weights.classes: a number has no classes: give the weight of each row by a column',
    'evaluation.baseline: one column cannot predict every quantile: leave it out',
    'evaluation.primary: a quantiles model has the metrics pinball, coverageError, mae, not rmse',
    'evaluation.floors: a quantiles model has the metrics pinball, coverageError, mae, not auc',
    'fallback: quantiles have no single answer: write previousChampion()',
  ]))

it('limits of the quality in the wrong order are refused', () => {
  const limits = (warn: number, alarm: number) => ({ monitor: { quality: { warn, alarm } } })
  const binary = {
    label: words.yesNo({ column: 'wait', positive: 'long' }),
    evaluation: { floors: { auc: 0.5 } },
  }
  expect(issuesWith(limits(1, 0.5))).toEqual([
    'monitor.quality: of pinball, a higher value is worse, so alarm (0.5) is not below warn (1)',
  ])
  expect(issuesWith({ ...binary, ...limits(0.6, 0.8) })).toEqual([
    'monitor.quality: of auc, a lower value is worse, so alarm (0.8) is not above warn (0.6)',
  ])
  expect(
    issuesWith({ ...binary, ...limits(0.8, 0.6), evaluation: { primary: 'auk', floors: { auc: 0.5 } } }),
  ).toEqual([expect.stringContaining('evaluation.primary: a binary model has the metrics') as string])
  expect([issuesWith(limits(0.5, 1)), issuesWith({ ...binary, ...limits(0.8, 0.6) })]).toEqual([[], []])
})

it('limits of metrics that the label does not have, or without a number, are refused', () => {
  const metrics = {
    pinball: { warn: 1 },
    recall: { warn: 0.7 },
    mae: { warn: 2, alarm: 1 },
    coverageError: {},
  }
  expect(issuesWith({ monitor: { quality: { metrics } } })).toEqual([
    'monitor: quality.metrics.coverageError.warn and alarm are finite numbers, at least one of them',
    'monitor.quality.metrics: pinball is the primary metric: write its limits as quality.warn and quality.alarm',
    'monitor.quality.metrics: a quantiles model has the metrics pinball, coverageError, mae, not recall',
    'monitor.quality.metrics.mae: of mae, a higher value is worse, so alarm (1) is not below warn (2)',
  ])
  expect(issuesWith({ monitor: { quality: {} } })).toEqual([
    'monitor: quality.warn and alarm are finite numbers, at least one of them',
  ])
  expect(issuesWith({ monitor: { quality: { metrics: { mae: { alarm: 2 } } } } })).toEqual([])
})

it('weights of classes that do not exist are refused with the ones that do', () => {
  const label = words.yesNo({ column: 'wait', positive: 'long' })
  const issuesOf = (classes: unknown) =>
    issuesWith({ label, evaluation: { floors: { auc: 0.5 } }, weights: { classes } })
  expect(issuesOf('balance')).toEqual([
    `weights.classes: 'balanced' or a weight for each class is required, not "balance"`,
  ])
  expect(issuesOf({ yes: 50 })).toEqual([
    'weights.classes: "yes" is not a class; the classes are "not long", "long"',
  ])
})
