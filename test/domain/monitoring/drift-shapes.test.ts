/** Tests that drift is found in both directions for numbers of every shape, and for categories with more values than a profile lists. */
import { describe, expect, it } from 'vitest'
import {
  categoryProfile,
  countBins,
  edgeNear,
  numberProfile,
  roundedProfile,
  shownBins,
  type Profile,
} from '../../../domain/model/reference-profile.ts'
import { judgeDrift } from '../../../domain/monitoring/drift.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'

const uniform = seededRandom(11)
const normal = () => standardNormal(uniform)
const flag = (share: number) => () => Number(uniform() < share)
const [trained, served] = [5_000, 1_000]

const shapes: Record<string, () => number> = {
  'a constant of 0': () => 0,
  'a constant of 0.1, which 32 bits round': () => 0.1,
  'a negative constant': () => -7,
  'the largest 32-bit number': () => 2 ** 128 - 2 ** 104,
  'a flag of 1 %': flag(0.01),
  'a flag of 5 %': flag(0.05),
  'a flag of 50 %': flag(0.5),
  'a flag of 95 %': flag(0.95),
  'amounts of which 70 % are 0': () => (uniform() < 0.7 ? 0 : Math.exp(normal())),
  'amounts of which 95 % are 0': () => (uniform() < 0.95 ? 0 : Math.exp(normal())),
  'a heavy middle value': () => (uniform() < 0.9 ? 5 : 5 + 2 * normal()),
  'a heavy largest value': () => (uniform() < 0.92 ? 100 : 100 * uniform()),
  'a heavy smallest value': () => (uniform() < 0.92 ? 18 : 18 + 60 * uniform()),
  'small counts': () => Math.floor(-Math.log(1 - uniform())),
  'a continuous number': normal,
}
const drawn = (shape: () => number, rows: number) => Array.from({ length: rows }, shape)
/** Judges served rows as replicas count them: 32-bit numbers in rounded bins. */
const judge = (profile: Profile, values: (number | string)[]) => {
  const counts = countBins(
    roundedProfile(profile),
    values.map((value) => (typeof value === 'number' ? Math.fround(value) : value)),
  )
  const current = { features: { [profile.name]: counts } }
  const reference = { rows: trained, features: [profile] }
  return judgeDrift({ reference, current, previous: current })
}

describe.each(Object.entries(shapes))('drift of %s', (_name, shape) => {
  const profile = numberProfile('x', drawn(shape, trained))
  it.each([1, -1])('is found when three tenths of the rows move by %d', (by) => {
    const step = Math.abs(shape()) > 1e30 ? 1e38 : 2
    if (by > 0 && step > 2) return
    const moved = drawn(shape, served).map((value) => (uniform() < 0.3 ? value + by * step : value))
    const { features, reasons } = judge(profile, moved)
    expect(features[0]).toMatchObject({ level: 'alarm' })
    expect(features[0]!.psi).toBeGreaterThan(0.2)
    expect(reasons[0]!.message).not.toMatch(/e-4\d/)
  })

  it('is not found in 200 windows of equal rows', () => {
    const levels = Array.from({ length: 200 }, () => judge(profile, drawn(shape, served)).level)
    expect(levels.filter((level) => level !== 'stable')).toEqual([])
  })
})

describe('drift of amounts of which most are 0', () => {
  const amounts = shapes['amounts of which 95 % are 0']!
  const profile = numberProfile('x', drawn(amounts, trained))
  it.each([100, 0.01])('is found when they come in another unit: times %d', (factor) =>
    expect(
      judge(
        profile,
        drawn(amounts, 3_000).map((value) => value * factor),
      ).level,
    ).toBe('alarm'),
  )
})

describe('the bins of a number', () => {
  const flags = numberProfile('x', [...Array.from({ length: 95 }, () => 0), 1, 1, 1, 1, 1])
  it('show a single value as itself', () =>
    expect(shownBins(flags, 2, (edge, digits) => String(Number(edge.toPrecision(digits))))).toEqual([
      '< 0',
      '0',
      '> 0',
      'missing',
    ]))

  it('have a finite last edge, as JSON needs', () =>
    expect(numberProfile('x', [2 ** 128 - 2 ** 104, 2 ** 128 - 2 ** 104]).edges).toEqual([
      2 ** 128 - 2 ** 104,
    ]))

  it.each(Object.entries(shapes))('tell the 10th, 50th and 90th percentile of %s', (_name, shape) => {
    const values = drawn(shape, trained)
    const profile = numberProfile('x', values)
    const sorted = values.toSorted((a, b) => a - b)
    for (const share of [0.1, 0.5, 0.9]) {
      const edge = edgeNear(profile, share)!
      const below = sorted.filter((value) => value < edge).length / trained
      const upTo = sorted.filter((value) => value <= edge).length / trained
      expect(below).toBeLessThan(share + 0.06)
      expect(upTo).toBeGreaterThan(share - 0.06)
    }
  })
})

describe('a category with 2,000 values', () => {
  const code = (from = 0) => `code ${from + Math.floor(uniform() * 2_000)}`
  const codes = (rows: number, from?: number) => Array.from({ length: rows }, () => code(from))
  const profile = categoryProfile('code', codes(20_000))
  const unknown = (values: string[]) => judge(profile, values).reasons.map(({ code: each }) => each)

  it('lists the thousand most frequent ones, and expects the others', () => {
    expect(profile.categories.length + profile.rare.length).toBe(1_000)
    // The list fits the rows of training better than others: those would have 33 % outside it.
    expect(profile.counts.at(-2)! / 20_000).toBeCloseTo(0.5, 1)
    expect(profile.counts.reduce((sum, count) => sum + count, 0)).toBe(20_000)
  })

  it('reports unknown values when all, or a tenth of the rows, have one', () => {
    const { reasons, features } = judge(profile, codes(2_000, 2_000))
    expect(reasons.map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /^100 % of the rows have a value of "code" unknown or rare in training, expected (49|50|51)/,
      ),
    ])
    expect(features[0]).toMatchObject({ newShare: 1 })
    expect(unknown([...codes(9_000), ...codes(1_000, 2_000)])).toEqual(['new_category'])
  })

  it('reports nothing when fewer rows than expected have an unknown value', () =>
    expect(unknown([...codes(1_000), ...profile.rare])).toEqual([]))

  it('reports nothing in 200 windows of equal rows', () =>
    expect(Array.from({ length: 200 }, () => unknown(codes(1_000))).flat()).toEqual([]))
})
