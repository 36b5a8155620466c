import { describe, expect, it } from 'vitest'
import { expectedOfChampion } from '../../../domain/validation/champion-expectations.ts'
import { countTexts, findFloodedRuns } from '../../../domain/validation/flooded-value.ts'
import { judgeValidation } from '../../../domain/validation/validate.ts'
import { categoryProfile } from '../../../domain/model/reference-profile.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'

const periods = 20
const uniform = seededRandom(7)
const normal = () => standardNormal(uniform)

/** Draws texts with the shares of cities, which vary between periods; `more` adds rows of one text to some periods. */
function drawn(rows: number, more: { of: string; share: number; from: number; to: number } | undefined) {
  const usual = Array.from({ length: 40 }, (_, place) => 1 / (place + 3))
  return Array.from({ length: periods }, (_, period) => {
    const weights = usual.map((weight) => weight * Math.exp(0.2 * normal()))
    const ends: number[] = []
    const sum = weights.reduce((before, weight) => (ends[ends.length] = before + weight), 0)
    return Array.from({ length: rows }, () => {
      if (more !== undefined && period >= more.from && period < more.to && uniform() < more.share)
        return more.of
      const at = uniform() * sum
      let place = 0
      while (ends[place]! < at) place++
      return `city ${place}`
    })
  })
}

describe('a flood of one value', () => {
  it('is found in none of 1,000 batches without one', () => {
    for (const rows of [50, 100]) {
      let found = 0
      for (let run = 0; run < 500; run++)
        found += findFloodedRuns(drawn(rows, undefined).map(countTexts)).length
      expect(found, `batches of ${periods * rows} rows`).toBe(0)
    }
  })

  it('is found when 15 % of the rows of three periods are of one city', () => {
    let found = 0
    for (let run = 0; run < 100; run++) {
      const wave = drawn(500, { of: 'city 9', share: 0.15, from: 8, to: 11 })
      const [flooded] = findFloodedRuns(wave.map(countTexts))
      if (flooded?.from === 8 && flooded.to === 11) found++
    }
    expect(found).toBeGreaterThanOrEqual(95)
  })

  it.each<[string, (period: number) => string]>([
    ['a value belongs to its time, such as a weekday', (period) => `day ${Math.floor(period / 2)}`],
    ['it is a single period', (period) => (period === 8 ? 'a' : 'b')],
    ['it lasts for longer than a quarter of the batch', (period) => (period > 9 ? 'a' : 'b')],
  ])('passes where %s', (_what, of) => {
    const columns = Array.from({ length: periods }, (_, period) =>
      Array.from({ length: 100 }, (_each, row) =>
        row < 5 ? 'a' : row < 40 ? 'b' : row < 60 ? of(period) : 'c',
      ),
    )
    expect(findFloodedRuns(columns.map(countTexts))).toEqual([])
  })
})

it('a flood warns, because it may be real, and its period is named', () => {
  const rows = 20_000
  const dayMs = 86_400_000
  const times = Array.from({ length: rows }, (_, row) => (row * 20 * dayMs) / (rows - 1))
  const usual = times.map((_, row) => `city ${row % 19}`)
  const plots = usual.map((city, row) =>
    times[row]! >= 8.35 * dayMs && times[row]! < 11.65 * dayMs && row % 6 === 0 ? 'city 3' : city,
  )
  const features = { city: { kind: 'category' } } as const
  const champion = { features, profile: { rows, features: [categoryProfile('city', usual)] } }
  const context = { asOfMs: 0, eventAt: 'at', earlierRows: [] }
  const table = { rows, columns: { city: plots, at: times } }
  const { verdict, results } = judgeValidation(expectedOfChampion({ features }, champion), table, context)
  expect(verdict).toBe('warn')
  expect(results[0]?.message).toMatch(
    /^from 1970-01-09T.* to 1970-01-1\dT.*: "city 3" has \d+(\.\d+)? % of the rows, elsewhere at most 5\.\d+ %: a flood/,
  )
  const { fromMs, toMs } = results[0]!.period!
  expect(fromMs / dayMs).toBeGreaterThan(7.9)
  expect(fromMs / dayMs).toBeLessThan(8.5)
  expect(toMs / dayMs).toBeGreaterThan(11.5)
  expect(toMs / dayMs).toBeLessThan(12.1)
  // Two thirds of the rows have a city that the champion has never seen.
  const strange = plots.map((city, row) => (row % 3 === 0 ? city : 'elsewhere'))
  const both = judgeValidation(
    expectedOfChampion({ features }, champion),
    { rows, columns: { city: strange, at: times } },
    context,
  )
  expect(both.verdict).toBe('block')
})
