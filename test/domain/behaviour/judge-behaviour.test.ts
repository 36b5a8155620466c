import { describe, expect, it } from 'vitest'
import type { BehaviourTest } from '../../../domain/behaviour/behaviour-test.ts'
import {
  failedTestReasons,
  judgeBehaviour,
  openTestReasons,
} from '../../../domain/behaviour/judge-behaviour.ts'
import { planProbes, sampleOf } from '../../../domain/behaviour/probes.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const features: Features = { size: { kind: 'number', max: 10 }, colour: { kind: 'category' } }
const rows: FeatureRow[] = [
  { size: 1, colour: 'red' },
  { size: 5, colour: 'blue' },
  { size: 10, colour: 'red' },
  { size: null, colour: 'blue' },
]
const probability: Output = { kind: 'probability', positive: 'blooms', threshold: 0.5 }
const classes: Output = { kind: 'classes', classes: ['a', 'b'] }
const quantity: Output = { kind: 'number' }
const levels: Output = { kind: 'quantiles', levels: [0.1, 0.9] }
const sampled = { column: 'size', rows: 100, share: 0, name: 't' }
const rising = { ...sampled, kind: 'direction', by: [2], never: 'lower' } as const
const steady = { ...sampled, column: 'colour', kind: 'invariance', to: ['red', 'blue'] } as const

type Model = (row: FeatureRow) => readonly number[] | undefined
const judged = (test: BehaviourTest, model: Model, output: Output = probability, showsRows = true) => {
  const eligible = rows.map((_, place) => place)
  const probes = planProbes(test, { features, eligible, rowAt: (place) => rows[place]!, seed: 1 })
  return judgeBehaviour(test, { probes, output, showsRows, answerAt: (row) => model(probes.rows[row]!) })
}
const sizeOf = (row: FeatureRow) => Number(row['size'])
const isRed = (row: FeatureRow) => row['colour'] === 'red'

describe('a direction test', () => {
  it('passes a score that rises with the number', () =>
    expect(judged(rising, (row) => [sizeOf(row) / 20])).toMatchObject({
      verdict: 'pass',
      rows: 2,
      message: 'size raised by 2 lowers the score in none of 2 rows',
    }))

  it('names the row whose score falls most', () => {
    const { examples, ...found } = judged(rising, (row) => [0.9 - sizeOf(row) ** 2 / 200])
    expect(found).toEqual({
      verdict: 'fail',
      rows: 2,
      failed: 2,
      message:
        'size raised by 2 lowers the score in 2 of 2 rows; worst in test row 1: size 5 → 7 gives blooms (0.655) instead of blooms (0.775)',
    })
    expect(examples[0]).toEqual({
      place: 1,
      row: rows[1],
      change: 'size 5 → 7',
      before: 'blooms (0.775)',
      after: 'blooms (0.655)',
    })
  })

  it('raises no number beyond its range and none that is missing', () => {
    const { rows: asked } = judged({ ...rising, by: [2, 100] }, (row) => [sizeOf(row) > 10 ? 0 : 0.5])
    expect(asked).toBe(2)
    expect(judged({ ...rising, by: [2, 100] }, (row) => [sizeOf(row) > 10 ? 0 : 0.5]).verdict).toBe('pass')
  })

  it('of the other direction refuses a rise', () =>
    expect(judged({ ...rising, never: 'higher' }, (row) => [sizeOf(row) / 20])).toMatchObject({
      verdict: 'fail',
      message: expect.stringContaining('raises the score in 2 of 2 rows') as unknown,
    }))

  it('allows what it declares: a distance and a share of the rows', () => {
    const falls: Model = (row) => [0.5 - sizeOf(row) / 100]
    expect(judged({ ...rising, within: 0.03 }, falls).verdict).toBe('pass')
    expect(judged({ ...rising, within: 0.01 }, falls).message).toContain('by more than 0.01')
    const atFive: Model = (row) => [sizeOf(row) === 7 ? 0.1 : 0.5]
    expect(judged({ ...rising, share: 0.5 }, atFive)).toMatchObject({
      verdict: 'pass',
      message: 'size raised by 2 lowers the score in 1 of 2 rows, 50 % allowed',
    })
  })

  it('of a class follows its probability', () => {
    const model: Model = (row) => [sizeOf(row) / 20, 1 - sizeOf(row) / 20]
    expect(judged({ ...rising, of: 'a' }, model, classes).verdict).toBe('pass')
    expect(judged({ ...rising, of: 'b' }, model, classes).message).toContain('lowers the probability of b')
    expect(judged({ ...rising, of: 'c' }, model, classes)).toMatchObject({
      verdict: 'not_computed',
      message: 'could not be computed: this version has no class c',
    })
  })

  it('of quantiles holds for every level', () =>
    expect(judged(rising, (row) => [sizeOf(row), 9 - sizeOf(row)], levels)).toMatchObject({
      verdict: 'fail',
      failed: 2,
    }))

  it('does not count the last digit of a predictor', () =>
    expect(judged(rising, (row) => [1_000 - sizeOf(row) * 1e-4], quantity).verdict).toBe('pass'))
})

describe('an invariance test', () => {
  it('requires the same decision without a tolerance', () => {
    expect(judged(steady, (row) => [isRed(row) ? 0.9 : 0.6]).verdict).toBe('pass')
    expect(judged(steady, (row) => [isRed(row) ? 0.9 : 0.4])).toMatchObject({
      verdict: 'fail',
      rows: 4,
      failed: 4,
      message: expect.stringMatching(
        /^another colour changes the decision in 4 of 4 rows; worst in test row 0: colour "red" → "blue" gives not blooms \(0\.4\) instead of blooms \(0\.9\)$/,
      ) as unknown,
    })
  })

  it('compares the scores with a tolerance', () => {
    const model: Model = (row) => [isRed(row) ? 0.9 : 0.8]
    expect(judged({ ...steady, within: 0.11 }, model).verdict).toBe('pass')
    expect(judged({ ...steady, within: 0.05 }, model).message).toContain(
      'moves the score by more than 0.05 in 4 of 4',
    )
    expect(judged({ ...steady, within: 1 }, (row) => [isRed(row) ? 9 : 7], quantity).verdict).toBe('fail')
  })

  it('shows no row of a person', () =>
    expect(
      judged(steady, (row) => [isRed(row) ? 0.9 : 0.4], probability, false).examples[0]?.row,
    ).toBeUndefined())
})

describe('an exact test', () => {
  const one = (answer: string | number | boolean | number[], within?: number): BehaviourTest => ({
    kind: 'exact',
    name: 't',
    row: rows[0]!,
    answer,
    within,
  })
  it.each<[string, BehaviourTest, number[], Output, string]>([
    ['a decision', one('blooms'), [0.7], probability, 'pass'],
    ['a decision by true', one(true), [0.3], probability, 'fail'],
    ['a decision by false', one(false), [0.3], probability, 'pass'],
    ['a probability', one(0.7, 0.05), [0.74], probability, 'pass'],
    ['a probability', one(0.7, 0.05), [0.76], probability, 'fail'],
    ['a class', one('b'), [0.2, 0.8], classes, 'pass'],
    ['a class', one('a'), [0.2, 0.8], classes, 'fail'],
    ['a number', one(120, 5), [124], quantity, 'pass'],
    ['a number without a tolerance', one(120), [Math.fround(120.00001)], quantity, 'pass'],
    ['quantiles', one([1, 2], 0.5), [1.2, 2.6], levels, 'fail'],
    ['a class of a version that answers numbers', one('a'), [3], quantity, 'not_computed'],
    ['two numbers of a version that answers one', one([1, 2]), [3], quantity, 'not_computed'],
  ])('requires %s', (_what, test, answer, output, verdict) =>
    expect(judged(test, () => answer, output).verdict).toBe(verdict),
  )

  it('says what was answered and what is required', () =>
    expect(judged(one(120, 5), () => [131.4], quantity).message).toBe('answers 131.4, 120 ± 5 required'))
})

describe('a test that could not be computed', () => {
  it.each<[string, BehaviourTest, Model]>([
    ['without an answer', rising, () => undefined],
    ['without a finite answer', steady, () => [NaN]],
    [
      'of one row without an answer',
      { kind: 'exact', name: 't', row: rows[0]!, answer: true },
      () => [Infinity],
    ],
    ['of which no row can be changed', { ...rising, column: 'colour' }, () => [0.5]],
  ])('%s is neither passed nor failed', (_what, test, model) =>
    expect(judged(test, model).verdict).toBe('not_computed'),
  )

  it('fails nevertheless when the answered rows exceed the share', () =>
    expect(judged(rising, (row) => (sizeOf(row) === 1 ? [NaN] : [1 / sizeOf(row)])).verdict).toBe('fail'))
})

it('reasons say whether the champion passes the same test', () => {
  const failed = judged(rising, (row) => [1 / sizeOf(row)])
  const passed = judged(rising, () => [0.5])
  const open = judged(rising, () => undefined)
  const row = (challenger: typeof failed, champion?: typeof failed) => ({
    name: 'big',
    kind: 'direction' as const,
    challenger,
    champion,
  })
  expect(
    failedTestReasons([row(failed, passed), row(failed, failed), row(failed), row(passed)]).map(
      ({ message }) => message,
    ),
  ).toEqual([
    expect.stringMatching(/^the test "big" fails: size raised by 2 lowers .*; the champion passes it$/),
    expect.stringMatching(/; the champion fails it too$/),
    expect.not.stringMatching(/champion/),
  ])
  expect(openTestReasons([row(open, open), row(failed)])).toMatchObject([
    {
      code: 'test_not_computed',
      message: expect.stringMatching(
        /^the test "big" could not be computed: .*; the champion could not be tested either$/,
      ) as unknown,
    },
  ])
})

it('a sample of rows is the same for a seed, and of different rows', () => {
  const places = Uint32Array.from({ length: 1_000 }, (_, place) => 2 * place)
  const sample = sampleOf(places, 100, 7)
  expect(sample).toEqual(sampleOf(places, 100, 7))
  expect(new Set(sample).size).toBe(100)
  expect(sample.every((place) => place % 2 === 0 && place < 2_000)).toBe(true)
  expect(sampleOf(places, 100, 8)).not.toEqual(sample)
})
