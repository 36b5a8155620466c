/** Tests that models of CatBoost with categories answer as CatBoost does. */
import { describe, expect, it } from 'vitest'
import { columnValue } from '../../../src/formats/trees/column-value.ts'
import { hashOfText } from '../../../src/formats/trees/hashes/city-hash.ts'
import { predictorOf } from '../../../src/formats/trees/predictor.ts'
import { readForest } from '../../../src/formats/trees/read-forest.ts'
import { categoryModel } from '../../support/hostile/category-models.ts'
import { compareAnswers, readCategoryCases } from '../../support/parity.ts'

const cases = readCategoryCases()

describe('a model of CatBoost with categories', () => {
  it.each(cases)('answers as the library: $name', ({ bytes, rows, answers }) => {
    const { worst, otherLeaves } = compareAnswers({ bytes, rows, answers })
    expect(rows.length).toBe(60)
    expect(worst).toBeLessThanOrEqual(1e-6)
    expect(otherLeaves).toBe(0)
  })

  it('takes texts, of which a missing one counts as empty', () => {
    const { columns } = readForest(categoryModel('ctrs'))
    expect(columns.map(({ name, isText = false }) => [name, isText])).toEqual([
      ['city', true],
      ['size', false],
      ['colour', true],
      ['age', false],
      ['flag', true],
      ['user', true],
      ['store', true],
      ['price', false],
    ])
    expect(columnValue(columns[0]!, null)).toBe(columnValue(columns[0]!, ''))
    expect(columnValue(columns[0]!, 7)).toBeUndefined()
  })

  // CatBoost 1.2.10 writes these as the values of one-hot splits.
  it.each([
    ['x', -784473192],
    ['y', 253272131],
    ['1', 1121341681],
    ['7', -17943309],
  ])('hashes %s to %d', (text, hash) => expect(hashOfText(text)).toBe(hash))

  it('knows the texts of a category with a table of its own, and how many the splits of another do not name', () => {
    const { columns } = readForest(categoryModel('ctrs'))
    const seen = new Set(cases.find(({ name }) => name === 'catboost-ctrs-0')!.rows.map((row) => row[2]))
    const colour = columns.find(({ name }) => name === 'colour')!.knownTexts!
    expect(['red', 'white', 'grün', '日本', ''].every((text) => seen.has(text) && colour.has(text))).toBe(
      true,
    )
    expect(['Red', 'red ', 'nan', 'never seen'].some((text) => colour.has(text))).toBe(false)
    expect(columns.find(({ name }) => name === 'store')!.knownTexts).toBeUndefined()
    const { has, maxUnlisted } = columns.find(({ name }) => name === 'flag')!.knownTexts!
    // The default: at most two categories have splits of their own.
    expect([has('no'), has('False'), maxUnlisted]).toEqual([true, false, 1])
  })

  it('reads FeatureFreq, the counter of a training on a GPU', () => {
    const answers = (bytes: Buffer): number[] => {
      const forest = readForest(bytes)
      const { predictOne } = predictorOf(forest)
      return cases[2]!.rows.map((row) => {
        const into = new Float64Array(1)
        const input = Float64Array.from(row, (value, at) => columnValue(forest.columns[at]!, value)!)
        predictOne(input, 0, into, 0)
        return into[0]!
      })
    }
    expect(
      answers(Buffer.from(categoryModel('combinations').toString().replaceAll('Counter', 'FeatureFreq'))),
    ).toEqual(answers(categoryModel('combinations')))
  })
})
