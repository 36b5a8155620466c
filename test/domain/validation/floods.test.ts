import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Flood } from '../../../domain/validation/expectations.ts'
import { countTexts } from '../../../domain/validation/flooded-value.ts'
import { findFloods, periodMsOf, staysIn, type FloodPolicy } from '../../../domain/validation/floods.ts'
import { periodsOfBatch } from '../../../domain/validation/periods.ts'
import { seededRandom } from '@tenure/sequential'

interface Row {
  atMs: number
  key: string
  city: string
  shop: string
}

const span = { firstMs: 1_000_000, lastMs: 1_000_000 + 20 * 3_600_000 - 1 }
const hour = (place: number): number => span.firstMs + place * 3_600_000

/** Generates twenty hours of rows of nineteen cities; some hours have `more` times as many of one city. */
function rowsWith(perHour: number, more?: { times: number; from: number; to: number }): Row[] {
  const uniform = seededRandom(perHour)
  const rows: Row[] = []
  const add = (atMs: number, city: string, shop = `shop ${Math.floor(uniform() * 3)}`) =>
    rows.push({ atMs, key: createHash('md5').update(String(rows.length)).digest('hex'), city, shop })
  for (let place = 0; place < 20; place++)
    for (let each = 0; each < perHour; each++) {
      const atMs = Math.floor(hour(place) + (each * 3_600_000) / perHour)
      const city = `city ${Math.floor(uniform() * 19)}`
      add(atMs, city)
      if (more === undefined || city !== 'city 3' || atMs < hour(more.from) || atMs >= hour(more.to)) continue
      for (let again = 1; again < more.times; again++) add(atMs, city, 'shop of the wave')
    }
  return rows
}

const stays = (row: Row, floods: readonly Flood[]): boolean =>
  floods.every((flood) => staysIn(flood, { ...row, value: row[flood.column as 'city' | 'shop'] }))

const floodsIn = (rows: readonly Row[], policy: Exclude<FloodPolicy, 'warn'>): Promise<Flood[]> =>
  findFloods(['city', 'shop'], policy, span, (column, found) => {
    const periods = Array.from({ length: periodsOfBatch }, () => [] as string[])
    for (const row of rows)
      if (stays(row, found))
        periods[Math.floor((row.atMs - span.firstMs) / periodMsOf(span))]!.push(
          row[column as 'city' | 'shop'],
        )
    return Promise.resolve(periods.map(countTexts))
  })

const shareOfCity = (rows: readonly Row[], from: number, to: number): number => {
  const some = rows.filter(({ atMs }) => atMs >= hour(from) && atMs < hour(to))
  return some.filter(({ city }) => city === 'city 3').length / some.length
}

describe('rows of a flooded value', () => {
  const flooded = rowsWith(1_000, { times: 5, from: 7.5, to: 10.5 })

  it('are left out in the periods of the flood, and in those in which it begins and ends', async () => {
    const floods = await floodsIn(flooded, 'leave_out')
    expect(floods).toMatchObject([{ column: 'city', value: 'city 3', rows: 870, excluded: 870 }])
    expect(
      floods[0]!.parts.map(({ fromMs, kept }) => [Math.round((fromMs - hour(0)) / 3_600_000), kept]),
    ).toEqual([
      [7, 0],
      [8, 0],
      [9, 0],
      [10, 0],
    ])
    const left = flooded.filter((row) => stays(row, floods))
    expect(flooded.length - left.length).toBe(870)
    expect(shareOfCity(left, 7, 11)).toBe(0)
    expect(shareOfCity(left, 0, 7)).toBe(shareOfCity(flooded, 0, 7))
  })

  it('are thinned to their usual share', async () => {
    const floods = await floodsIn(flooded, 'thin')
    const left = flooded.filter((row) => stays(row, floods))
    expect(shareOfCity(flooded, 8, 10)).toBeGreaterThan(0.2)
    for (const place of [7, 8, 9, 10]) expect(shareOfCity(left, place, place + 1)).toBeCloseTo(1 / 19, 1)
    expect(shareOfCity(left, 7, 11)).toBeCloseTo(shareOfCity(flooded, 12, 20), 2)
  })

  it('are the same when rows are counted again, in any order', async () => {
    const floods = await floodsIn(flooded, 'thin')
    expect(await floodsIn(flooded.toReversed(), 'thin')).toEqual(floods)
  })

  it.each<[string, Row[]]>([
    ['no value has more rows than before', rowsWith(1_000)],
    [
      'the campaign lasts for more than a quarter of the batch',
      rowsWith(1_000, { times: 5, from: 13, to: 20 }),
    ],
    ['periods have fewer than fifty rows', rowsWith(30, { times: 5, from: 8, to: 11 })],
    ['it is no more than chance may give', rowsWith(60, { times: 2, from: 8, to: 10 })],
  ])('all stay where %s', async (_where, rows) => {
    expect(await floodsIn(rows, 'leave_out')).toEqual([])
  })
})
