import { describe, expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import type { BehaviourSpec } from '../../models/define/behaviour/tests.ts'
import { issuesOfModel } from '../support/model-issues.ts'

const { category, direction, exact, invariance, number } = words
const features = {
  size: number({ min: 0, max: 10 }),
  colour: category(['red', 'blue']),
  note: category({ missing: 'fill' }),
}
const row = { size: 1, colour: 'red', note: null }
type Label = Parameters<typeof words.defineModel>[0]['label']
const yesNo = words.yesNo({ positive: 'blooms' })
const floors = {
  probability: 'auc',
  classes: 'accuracy',
  number: 'mae',
  quantiles: 'pinball',
  numbers: 'r2',
} as const
const define = (tests: readonly BehaviourSpec[], label: Label = yesNo) =>
  words.defineModel({
    name: 'roses',
    features,
    label,
    source: words.csv('models/data/roses.csv'),
    split: words.random({ test: 0.25 }),
    evaluation: { floors: { [floors[label.output.kind]]: 0.6 } },
    release: words.direct(),
    tests,
  }).definition.tests

const issuesOf = (tests: unknown, label: Label = yesNo): unknown =>
  issuesOfModel(() => define(tests as BehaviourSpec[], label))

describe('behaviour tests of a model file', () => {
  it('are data with their defaults', () =>
    expect(
      define([
        exact('a red rose', { row, answer: 'blooms' }),
        invariance('the colour', { column: 'colour', within: 0.1, allow: 2 }),
        direction('larger', { column: 'size', by: 2, never: 'lower', rows: 50, where: "colour = 'red'" }),
      ]),
    ).toEqual([
      { kind: 'exact', name: 'a red rose', row, answer: 'blooms' },
      {
        kind: 'invariance',
        name: 'the colour',
        column: 'colour',
        to: ['red', 'blue'],
        within: 0.1,
        rows: 1_000,
        share: 0.02,
      },
      {
        kind: 'direction',
        name: 'larger',
        column: 'size',
        by: [2],
        never: 'lower',
        rows: 50,
        where: "colour = 'red'",
        share: 0,
      },
    ]))

  it.each<[string, unknown, string]>([
    ['no list', { kind: 'exact' }, 'tests: a list is required: [exact(…), invariance(…), direction(…)]'],
    ['something else', [5], 'tests[0]: made with exact(), invariance() or direction()'],
    [
      'no name',
      [exact('', { row, answer: true })],
      'tests[0].name: a text of up to 100 characters is required',
    ],
    [
      'a name twice',
      [1, 2].map(() => exact('a', { row, answer: true })),
      'tests[1].name: "a" is listed twice',
    ],
    [
      'a misspelled field',
      [invariance('a', { column: 'colour', witin: 1 } as never)],
      'tests[0]: has no field witin: did you mean within?',
    ],
    [
      'an unknown column',
      [invariance('a', { column: 'color' })],
      'tests[0].column: "color" is not a feature: the features are size, colour, note',
    ],
    [
      'a tolerance that is not a number',
      [invariance('a', { column: 'colour', within: -1 })],
      'tests[0].within: a finite number of at least 0 is required, not -1',
    ],
    [
      'no values for a number',
      [invariance('a', { column: 'size' })],
      'tests[0].to: the values that size is set to are required: [0, 1]',
    ],
    [
      'a text for a number',
      [invariance('a', { column: 'size', to: ['big'] })],
      'tests[0].to: size is a finite number, not "big"',
    ],
    [
      'an undeclared category',
      [invariance('a', { column: 'colour', to: ['green'] })],
      'tests[0].to: colour is one of its declared values, not "green", not "green"',
    ],
    [
      'a missing value that is not filled',
      [invariance('a', { column: 'colour', to: [null] })],
      'tests[0].to: colour is a text, not null',
    ],
    [
      'an empty list of values',
      [invariance('a', { column: 'note', to: [] })],
      'tests[0].to: a list of 1 to 50 values is required',
    ],
    [
      'no rows',
      [invariance('a', { column: 'colour', rows: 0 })],
      'tests[0].rows: a whole number from 1 to 10000 is required, not 0',
    ],
    [
      'a condition that is not a text',
      [invariance('a', { column: 'colour', where: 1 as never })],
      `tests[0].where: DuckDB SQL such as "hour >= '17'" is required`,
    ],
    [
      'a share of all rows',
      [invariance('a', { column: 'colour', allow: 100 })],
      'tests[0].allow: a percentage from 0 to below 100 is required, not 100',
    ],
    [
      'a direction of a category',
      [direction('a', { column: 'colour', by: 1, never: 'lower' })],
      'tests[0].column: colour is a category, which cannot be raised: use invariance(), or a number',
    ],
    [
      'a step down',
      [direction('a', { column: 'size', by: -1, never: 'lower' })],
      'tests[0].by: a number above 0, or a list of them, is required, not -1',
    ],
    [
      'no direction',
      [direction('a', { column: 'size', by: 1 } as never)],
      "tests[0].never: 'lower' or 'higher' is required, not nothing",
    ],
    [
      'a class without classes',
      [direction('a', { column: 'size', by: 1, never: 'lower', of: 'x' })],
      'tests[0].of: is for labels of several classes or numbers: leave it out',
    ],
    [
      'a row without a feature',
      [exact('a', { row: { size: 1, colour: 'red' }, answer: true })],
      'tests[0].row: note is a text',
    ],
    ['no row', [exact('a', { answer: true } as never)], 'tests[0].row: a row with every feature is required'],
    [
      'another decision',
      [exact('a', { row, answer: 'withers' })],
      'tests[0].answer: "blooms", true, false or a probability is required, not "withers"',
    ],
    [
      'a probability above 1',
      [exact('a', { row, answer: 1.5 })],
      'tests[0].answer: "blooms", true, false or a probability is required, not 1.5',
    ],
    [
      'a tolerance of a decision',
      [exact('a', { row, answer: true, within: 1 })],
      'tests[0].within: a tolerance is for numbers: leave it out',
    ],
    [
      'too many answers',
      Array.from({ length: 11 }, (_, i) =>
        direction(`${i}`, { column: 'size', by: 1, never: 'lower', rows: 10_000 }),
      ),
      'tests: they ask for up to 220000 answers, limit 200000: take fewer rows, or fewer values',
    ],
    [
      'too many tests',
      Array.from({ length: 51 }, (_, i) => exact(`${i}`, { row, answer: true })),
      'tests: at most 50 tests are allowed, not 51',
    ],
  ])('with %s are refused', (_what, tests, issue) => expect(issuesOf(tests)).toContain(issue))

  it.each<[string, Label, BehaviourSpec, string]>([
    [
      'classes',
      words.oneOf(['a', 'b']),
      exact('x', { row, answer: 'c' }),
      'tests[0].answer: one of a, b is required, not "c"',
    ],
    [
      'classes without one',
      words.oneOf(['a', 'b']),
      direction('x', { column: 'size', by: 1, never: 'lower' }),
      'tests[0].of: the class whose probability is meant is required, one of a, b',
    ],
    [
      'numbers',
      words.quantity(),
      exact('x', { row, answer: 'c' }),
      'tests[0].answer: a finite number is required, not "c"',
    ],
    [
      'numbers without a tolerance',
      words.quantity(),
      invariance('x', { column: 'colour' }),
      'tests[0].within: how far the number may move is required: the label has no decision',
    ],
    [
      'quantiles',
      words.quantiles([0.1, 0.9]),
      exact('x', { row, answer: [1] }),
      'tests[0].answer: a list of 2 numbers, one a level, is required, not [1]',
    ],
  ])('of %s take the answers of the label', (_what, label, test, issue) =>
    expect(issuesOf([test], label)).toContain(issue),
  )
})
