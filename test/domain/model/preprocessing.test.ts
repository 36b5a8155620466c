import { type CategoryEncoding, type FeatureFit, inputWidthOf } from '@tenure/predictors/features'
import { describe, expect, it } from 'vitest'
import { isError } from '../../../domain/errors.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { columnTableOf } from '../../../domain/model/columns.ts'
import {
  compileColumnEncoder,
  compileEncoder,
  fitFeatures,
  maxVocabulary,
} from '../../../domain/model/preprocessing.ts'

const features: Features = {
  size: { kind: 'number', missing: 'fill' },
  colour: { kind: 'category', missing: 'fill' },
}
const rows: FeatureRow[] = [
  { size: 1, colour: 'red' },
  { size: 3, colour: 'blue' },
  { size: null, colour: 'red' },
  { size: 5, colour: null },
]

const fit = (given: FeatureRow[], of: Features) => fitFeatures(columnTableOf(given, Object.keys(of)), of)

describe('fitting', () => {
  it('computes mean and population deviation of present values, and sorts categories as text', () => {
    expect(fit(rows, features)).toEqual([
      { name: 'size', kind: 'number', mean: 3, std: Math.sqrt(8 / 3), fill: 3 },
      { name: 'colour', kind: 'category', vocabulary: ['blue', 'red'] },
    ])
  })

  it('scales a constant and an empty column by one', () => {
    const number: Features = { size: { kind: 'number', missing: 'fill' } }
    expect(fit([{ size: 7 }, { size: 7 }], number)).toMatchObject([{ mean: 7, std: 1 }])
    expect(fit([{ size: 0.1 + 0.2 }, { size: 0.3 }], number)).toMatchObject([{ std: 1 }])
    expect(fit([{ size: null }], number)).toMatchObject([{ mean: 0, std: 1, fill: 0 }])
    expect(fit([], number)).toMatchObject([{ mean: 0, std: 1, fill: 0 }])
  })

  it('assigns the rarest values of a very long category to "other"', () => {
    const many: FeatureRow[] = Array.from({ length: maxVocabulary + 5 }, (_, i) => ({
      size: 1,
      colour: `c${i}`,
    }))
    const fits = fit([...many, ...many.slice(10)], features)
    expect(fits[1]).toMatchObject({ kind: 'category' })
    const vocabulary = fits[1]?.kind === 'category' ? fits[1].vocabulary : []
    expect(vocabulary).toHaveLength(maxVocabulary)
    expect(vocabulary).toContain('c1004')
  })
})

describe('encoding', () => {
  const fits = fit(rows, features)
  const encode = (row: FeatureRow): number[] => {
    const into = new Float32Array(inputWidthOf(fits) + 2).fill(9)
    compileEncoder(features, fits)(row, into, 1)
    return [...into]
  }
  const scaled = (value: number) => Math.fround((value - 3) / Math.sqrt(8 / 3))

  it('writes only its own columns', () =>
    expect(encode({ size: 5, colour: 'red' })).toEqual([9, scaled(5), 0, 1, 0, 9]))
  it('encodes a value not seen in training, and null, as other', () => {
    expect(encode({ size: 3, colour: 'green' })).toEqual([9, 0, 0, 0, 1, 9])
    expect(encode({ size: 3, colour: null })).toEqual([9, 0, 0, 0, 1, 9])
  })
  it('fills a missing number with the mean', () =>
    expect(encode({ size: null, colour: 'blue' })).toEqual([9, 0, 1, 0, 0, 9]))
  it('ignores property names of Object.prototype', () =>
    expect(encode({ size: 3, colour: 'constructor' })).toEqual([9, 0, 0, 0, 1, 9]))

  describe('a number outside of its range', () => {
    const size: Features = { size: { kind: 'number', min: 0, max: 10, missing: 'fill', outside: 'missing' } }
    const sizes: FeatureRow[] = [1, 3, 5, 5_000, -1, null].map((value) => ({ size: value }))
    const within = fit(sizes, size)

    it('does not move the fit', () => expect(within).toEqual([fits[0]]))
    it('is imputed from rows and from columns; one on its ends is not', () => {
      const asked: FeatureRow[] = [0, 10, 10.5, -0.1, Infinity, NaN].map((value) => ({ size: value }))
      const table = columnTableOf(asked, ['size'])
      const [byRow, byColumn] = [new Float64Array(6), new Float64Array(6)]
      asked.forEach((row, at) => {
        compileEncoder(size, within)(row, byRow, at)
        compileColumnEncoder(table, size, within)(at, byColumn, at)
      })
      expect(byColumn).toEqual(byRow)
      const std = Math.sqrt(8 / 3)
      expect([...byRow]).toEqual([-3 / std, 7 / std, 0, 0, 0, NaN])
    })
  })

  it('writes the same from columns as from rows', () => {
    const odd: FeatureRow[] = [
      ...rows,
      { size: NaN, colour: 'green' },
      { size: -0, colour: 'constructor' },
      { size: Infinity, colour: '' },
    ]
    const table = columnTableOf(odd, Object.keys(features))
    for (const encoding of ['one-hot', 'code', 'text'] as const)
      for (const fill of [3, null]) {
        const of = [
          { ...fits[0], fill },
          { ...fits[1], encoding },
        ] as FeatureFit[]
        const width = inputWidthOf(of)
        const [byRow, byColumn] = [new Float64Array(width).fill(9), new Float64Array(width).fill(9)]
        odd.forEach((row, at) => {
          compileEncoder(features, of)(row, byRow, 0)
          compileColumnEncoder(table, features, of)(at, byColumn, 0)
          expect(byColumn).toEqual(byRow)
        })
      }
  })

  it('passes a number through exactly, and leaves it missing, for a model that takes missing values', () => {
    const number: Features = { size: { kind: 'number', missing: 'fill' } }
    const write = compileEncoder(number, [{ name: 'size', kind: 'number', mean: 0, std: 1, fill: null }])
    const into = new Float64Array(3)
    for (const [at, size] of [0.1, -1e-300, null].entries()) write({ size }, into, at)
    expect([...into]).toEqual([0.1, -1e-300, NaN])
  })

  it('writes the code of a category, or nothing for a model that takes texts', () => {
    const colour: Features = { colour: { kind: 'category', missing: 'fill' } }
    const vocabulary = ['blue', 'red']
    const fitOf = (encoding: CategoryEncoding): FeatureFit[] => [
      { name: 'colour', kind: 'category', vocabulary, encoding },
    ]
    const into = new Float64Array(4).fill(9)
    const write = compileEncoder(colour, fitOf('code'))
    for (const [at, value] of ['red', 'green', null].entries()) write({ colour: value }, into, at)
    expect([...into]).toEqual([1, NaN, NaN, 9])
    into.fill(9)
    compileEncoder(colour, fitOf('text'))({ colour: 'red' }, into, 1)
    expect([...into]).toEqual([9, 9, 9, 9])
    expect((['one-hot', 'code', 'text'] as const).map((each) => inputWidthOf(fitOf(each)))).toEqual([3, 1, 0])
  })

  it.each([
    ['a fit is missing', fits.slice(1)],
    ['a fit stands twice', [fits[0], fits[0]]],
    ['a fit is of another kind', [{ ...fits[0], kind: 'category', vocabulary: [] }, fits[1]]],
    ['a fit is of no feature', [fits[0], { ...fits[1], name: 'weight' }]],
  ])('refuses an artifact where %s', (_name, wrong) => {
    let thrown: unknown
    try {
      compileEncoder(features, wrong as typeof fits)
    } catch (error) {
      thrown = error
    }
    expect(isError(thrown, 'artifact_invalid')).toBe(true)
  })
})
