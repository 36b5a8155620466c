import { describe, expect, it } from 'vitest'
import { expectedOfChampion } from '../../../domain/validation/champion-expectations.ts'
import type { BatchCell } from '../../../domain/validation/expectations.ts'
import type { Features } from '../../../domain/model/features.ts'
import { categoryProfile, numberProfile } from '../../../domain/model/reference-profile.ts'
import { judgeValidation } from '../../../domain/validation/validate.ts'

const features: Features = {
  age: { kind: 'number', unit: 'd', missing: 'fill' },
  plot: { kind: 'category', missing: 'fill' },
}
const rows = 200
const ages: (number | null)[] = Array.from({ length: rows }, (_, row) => (row % 20 === 0 ? null : row))
const plots = Array.from({ length: rows }, (_, row) => `plot ${row % 7}`)
const champion = {
  features,
  profile: { rows, features: [numberProfile('age', ages), categoryProfile('plot', plots)] },
}

const judge = (columns: Record<string, BatchCell[]>, now: Features = features, then = champion) => {
  const expectations = expectedOfChampion({ features: now }, then)
  const table = { rows, columns: { age: ages, plot: plots, ...columns } }
  const { results } = judgeValidation(expectations, table, { asOfMs: 0, earlierRows: [] })
  return results.filter(({ passed }) => !passed).map(({ subject, message }) => `${subject}: ${message}`)
}

describe('the comparison with the training rows of the champion', () => {
  it('passes for equal rows', () => expect(judge({})).toEqual([]))

  it.each<[string, Record<string, BatchCell[]>]>([
    ['the values have moved on', { age: ages.map((age) => (age === null ? null : age * 3 + 500)) }],
    ['a few are wild', { age: ages.map((age, row) => (row < 15 ? 1e12 : age)) }],
    ['a third is missing', { age: ages.map((age, row) => (row % 3 === 0 ? null : age)) }],
    ['a third of the places are new', { plot: plots.map((plot, row) => (row % 3 === 0 ? 'new' : plot)) }],
  ])('also when %s', (_what, columns) => expect(judge(columns)).toEqual([]))

  it.each<[string, Record<string, BatchCell[]>, RegExp]>([
    [
      'in another unit',
      { age: ages.map((age) => (age === null ? null : age * 1_000)) },
      /^age: eight tenths .* another unit/,
    ],
    [
      'in a larger unit',
      { age: ages.map((age) => (age === null ? null : age / 1_000)) },
      /^age: eight tenths .* another unit/,
    ],
    ['a constant', { age: ages.map(() => 3) }, /^age: eight tenths .* from 3 to 3/],
    ['missing', { age: ages.map(() => null) }, /^age: missing in 100 % of the rows, in 5 % of those/],
    ['missing texts', { plot: plots.map(() => null) }, /^plot: missing in 100 % .* in 0 %/],
    ['keys', { plot: plots.map((_, row) => `id ${row}`) }, /^plot: 100 % of the rows have a value/],
  ])('not when they are %s', (_what, columns, message) =>
    expect(judge(columns)).toEqual([expect.stringMatching(message)]),
  )

  it('fails for a deleted column', () =>
    expect(judge({ age: undefined as unknown as BatchCell[] })).toEqual(['age: there is no column age']))

  it('skips a declared change of kind or unit', () => {
    const hours = { age: ages.map((age) => (age === null ? null : age * 1_000)) }
    expect(judge(hours, { ...features, age: { kind: 'number', unit: 'ms', missing: 'fill' } })).toEqual([])
    expect(judge({ age: plots }, { ...features, age: { kind: 'category' } })).toEqual([])
    expect(judge(hours, { plot: features['plot']! })).toEqual([])
  })

  it('is skipped where the champion has no statistics', () =>
    expect(expectedOfChampion({ features }, { features })).toEqual([]))

  describe('of amounts of which most are 0', () => {
    const amounts = (factor: number, share = 0.05) =>
      Array.from({ length: 2_000 }, (_, row) => (row % 100 < 100 * share ? factor * (1 + (row % 37)) : 0))
    const then = (values: number[]) => ({
      features,
      profile: { rows: 2_000, features: [numberProfile('age', values)] },
    })
    const found = (now: number[], before = amounts(1)) => judge({ age: now }, features, then(before))
    it.each([1_000, 0.001])('finds another unit: times %d', (factor) =>
      expect(found(amounts(factor))).toEqual([
        expect.stringMatching(/^age: eight tenths of the rows without 0 lie from .* another unit/),
      ]),
    )
    it.each<[string, number[], number[]?]>([
      ['the same rows', amounts(1)],
      ['fewer zeros', amounts(1, 0.5)],
      ['nearly no zeros', amounts(1, 0.99)],
      ['too few others', amounts(1_000, 0.02)],
      ['too few others in training', amounts(1_000), amounts(1, 0.02)],
      ['another constant', amounts(1).map(() => 7), amounts(1).map(() => 1)],
      ['a flag of other shares', amounts(1).map((value) => Number(value === 0)), amounts(1).map(Math.sign)],
    ])('passes for %s', (_what, now, before) => expect(found(now, before)).toEqual([]))
  })

  it('finds new values where training had more than a profile lists', () => {
    const codes = (from: number) =>
      Array.from({ length: 20_000 }, (_, row) => `p${from + ((row * row) % 2_003)}`)
    const then = { features, profile: { rows: 20_000, features: [categoryProfile('plot', codes(0))] } }
    expect(judge({ plot: codes(0) }, features, then)).toEqual([])
    expect(judge({ plot: codes(5_000) }, features, then)).toEqual([
      expect.stringMatching(/^plot: 100 % of the rows have a value/),
    ])
  })

  it('accepts a new value where there were too many to store', () => {
    const many = categoryProfile(
      'plot',
      Array.from({ length: 3_000 }, (_, row) => `p${row}`),
    )
    const then = { features, profile: { rows, features: [many] } }
    expect(judge({ plot: plots.map((_, row) => `id ${row}`) }, features, then)).toEqual([])
  })
})

describe('a period of the batch', () => {
  const hourMs = 3_600_000
  const long = 2_000
  const dayOf = (row: number) => Math.floor(row / 100)
  const numbers = Array.from({ length: long }, (_, row) => (row * 7) % 200)
  const texts = Array.from({ length: long }, (_, row) => `plot ${row % 7}`)
  const times = Array.from({ length: long }, (_, row) => (row * 24 * hourMs) / 100)
  /** Edits the rows of days 8 and 9 of twenty. */
  const edited = <T>(cells: readonly T[], edit: (cell: T) => T, last = 9): T[] =>
    cells.map((cell, row) => (dayOf(row) >= 8 && dayOf(row) <= last ? edit(cell) : cell))
  const judgePeriods = (columns: Record<string, BatchCell[]>) => {
    const expectations = expectedOfChampion({ features }, champion)
    const table = { rows: long, columns: { age: numbers, plot: texts, at: times, ...columns } }
    const { results } = judgeValidation(expectations, table, { asOfMs: 0, eventAt: 'at', earlierRows: [] })
    return results.filter(({ passed }) => !passed)
  }

  it.each<[string, Record<string, BatchCell[]>, RegExp]>([
    ['empty', { age: edited<number | null>(numbers, () => null) }, /^from 1970-01-.*: missing in 100 %/],
    ['frozen', { age: edited(numbers, () => 3) }, /from 3 to 3, in most periods .*: a frozen value/],
    ['in another unit', { age: edited(numbers, (age) => age * 1_000) }, /: another unit/],
    ['renamed', { plot: edited(texts, (plot) => plot.toUpperCase()) }, /100 % .* one of 7 values/],
  ])('is found when its column is %s', (_what, columns, message) => {
    const [found, ...others] = judgePeriods(columns)
    expect(others).toEqual([])
    expect(found).toMatchObject({ message: expect.stringMatching(message) as unknown })
    const { fromMs, toMs } = found!.period!
    expect([fromMs, toMs].map((ms) => Math.round(ms / (24 * hourMs)))).toEqual([8, 10])
  })

  it.each<[string, Record<string, BatchCell[]>]>([
    ['all are alike', {}],
    ['the odd day is a single one', { age: edited(numbers, () => 3, 8) }],
    ['a number is constant in each of them', { age: numbers.map((_, row) => dayOf(row) * 20) }],
    [
      'half of the values are missing',
      { age: edited<number | null>(numbers, (age) => (Number(age) % 2 === 0 ? null : age)) },
    ],
    ['one new text comes up', { plot: edited(texts, () => 'plot 8') }],
  ])('passes where %s', (_what, columns) => expect(judgePeriods(columns)).toEqual([]))
})

describe('columns that have changed places', () => {
  const lengths = Array.from({ length: rows }, (_, row) => row / 10)
  const widths = Array.from({ length: rows }, (_, row) => 15 + row / 20)
  const reds = Array.from({ length: rows }, (_, row) => (row % 2 ? 'red' : 'white'))
  const kinds = {
    length: { kind: 'number' },
    width: { kind: 'number' },
    plot: { kind: 'category' },
    colour: { kind: 'category' },
  } as const
  const trained = {
    features: kinds,
    profile: {
      rows,
      features: [
        numberProfile('length', lengths),
        numberProfile('width', widths),
        categoryProfile('plot', plots),
        categoryProfile('colour', reds),
      ],
    },
  }
  const swapped = (columns: Record<string, BatchCell[]>, count = rows): string[] => {
    const expectations = expectedOfChampion({ features: kinds }, trained)
    const table = {
      rows: count,
      columns: { length: lengths, width: widths, plot: plots, colour: reds, ...columns },
    }
    const { results } = judgeValidation(expectations, table, { asOfMs: 0, earlierRows: [] })
    return results
      .filter(({ passed, check }) => !passed && check === 'not_swapped')
      .map(({ message }) => message)
  }

  it.each<[string, Record<string, BatchCell[]>, RegExp]>([
    ['numbers', { length: widths, width: lengths }, /^length and width: .* the order of the columns/],
    ['texts', { plot: reds, colour: plots }, /^plot and colour: /],
  ])('are named: %s', (_what, columns, message) =>
    expect(swapped(columns)).toEqual([expect.stringMatching(message)]),
  )

  it.each<[string, Record<string, BatchCell[]>]>([
    ['equal rows', {}],
    ['one column with the values of another', { length: widths }],
    [
      'two columns that have both moved on',
      { length: lengths.map((each) => each + 40), width: widths.map((each) => each - 40) },
    ],
  ])('are not suspected for %s', (_what, columns) => expect(swapped(columns)).toEqual([]))

  it('need fifty rows', () => {
    const few = (cells: BatchCell[]) => cells.slice(0, 49)
    expect(swapped({ length: few(widths), width: few(lengths) }, 49)).toEqual([])
  })
})
