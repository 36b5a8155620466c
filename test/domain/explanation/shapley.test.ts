import { describe, expect, it } from 'vitest'
import { sampledShapley } from '../../../domain/explanation/shapley.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { seededRandom } from '@tenure/sequential'

const uniform = seededRandom(9)
const features = ['a', 'b', 'c', 'd']
const rowOf = (): FeatureRow => ({
  a: uniform(),
  b: uniform(),
  c: uniform() < 0.5 ? 'red' : 'blue',
  d: uniform() < 0.2 ? null : uniform(),
})
const background = Array.from({ length: 5 }, rowOf)
const number = (row: FeatureRow, name: string) => Number(row[name] ?? 0.5)
/** Multiplies features, so that they interact; `d` matters only for red rows. */
const model = (row: FeatureRow) =>
  number(row, 'a') * number(row, 'b') + (row['c'] === 'red' ? 2 * number(row, 'd') : 0)
const answer = (rows: readonly FeatureRow[]) => Promise.resolve(rows.map(model))
const ask = (row: FeatureRow, permutations: number, seed = 1) =>
  sampledShapley({ features, row, background, permutations, seed, answer })

/** Averages over all 24 orders. */
function exactly(row: FeatureRow): number[] {
  const orders = (rest: string[]): string[][] =>
    rest.length === 0
      ? [[]]
      : rest.flatMap((first) => orders(rest.filter((each) => each !== first)).map((tail) => [first, ...tail]))
  const all = orders(features)
  const sums = features.map(() => 0)
  for (const from of background)
    for (const order of all) {
      let last = from
      for (const name of order) {
        const next = { ...last, [name]: row[name]! }
        sums[features.indexOf(name)]! += (model(next) - model(last)) / all.length / background.length
        last = next
      }
    }
  return sums
}

describe('sampled attributions', () => {
  it('sum with the base to the answer, however few permutations there are', async () => {
    for (let i = 0; i < 20; i++) {
      const row = rowOf()
      const { base, score, attributions } = await ask(row, 1 + i)
      expect(score).toBe(model(row))
      expect(base).toBeCloseTo(
        background.map(model).reduce((sum, value) => sum + value / 5, 0),
        12,
      )
      expect(attributions.reduce((sum, value) => sum + value, base)).toBeCloseTo(score, 12)
    }
  })

  it('lie within their interval of the exact values nineteen times in twenty', async () => {
    let [within, asked] = [0, 0]
    for (let i = 0; i < 60; i++) {
      const row = rowOf()
      const wanted = exactly(row)
      const { attributions, errors } = await ask(row, 60, 100 * i)
      attributions.forEach((value, at) => {
        asked++
        if (Math.abs(value - wanted[at]!) <= errors![at]! + 1e-9) within++
      })
    }
    expect(within / asked).toBeGreaterThan(0.9)
  })

  it('of a feature that the model does not read are 0', async () => {
    const { attributions, errors } = await sampledShapley({
      features: [...features, 'unread'],
      row: { ...rowOf(), unread: 1 },
      background,
      permutations: 10,
      seed: 1,
      answer,
    })
    expect([attributions[4], errors![4]]).toEqual([0, 0])
  })

  it('of one feature are the whole difference', async () => {
    const found = await sampledShapley({
      features: ['a'],
      row: { a: 3 },
      background: [{ a: 1 }, { a: 2 }],
      permutations: 2,
      seed: 1,
      answer: (rows) => Promise.resolve(rows.map((row) => Number(row['a']))),
    })
    expect(found).toEqual({ base: 1.5, score: 3, attributions: [1.5], errors: [0] })
  })
})
