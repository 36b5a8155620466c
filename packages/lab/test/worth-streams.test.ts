import { describe, expect, it } from 'vitest'
import { incidentOf, incidents, playWeek, weekOfIncident } from '../worth/incidents.ts'
import { hyperplaneStream, seaStream, type StreamRow } from '../worth/streams.ts'

const size = { weeks: 52, rowsAWeek: 700, seed: 3 }
const sea = seaStream(size)
const rows = sea.week(5)
const played = (name: string) =>
  playWeek(
    sea,
    5,
    incidents.find((each) => each.name === name),
  )
const byId = new Map(rows.map((row) => [row.id, row]))
/** Returns the columns that differ from the rows without an incident, such as `features.x1` or `told`. */
function changed(some: readonly StreamRow[]): string[] {
  const found = new Set<string>()
  for (const row of some) {
    const before = byId.get(row.id)
    if (before === undefined) continue
    for (const name of ['atMs', 'knownAtMs', 'label', 'told'] as const)
      if (row[name] !== before[name]) found.add(name)
    for (const name of Object.keys(before.features))
      if (row.features[name] !== before.features[name]) found.add(name)
  }
  return [...found].sort()
}

describe.each([seaStream, hyperplaneStream])('a stream', (open) => {
  it('repeats with its seed, and differs with another', () => {
    expect(open(size).week(7)).toEqual(open(size).week(7))
    expect(open({ ...size, seed: 4 }).week(7)).not.toEqual(open(size).week(7))
  })
  it('has its rows in the order of their times, each within its week', () => {
    const { week, weekMs } = open(size)
    const times = week(-2).map(({ atMs }) => atMs)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(times[0]).toBeGreaterThanOrEqual(-2 * weekMs)
    expect(times.at(-1)).toBeLessThan(-weekMs)
  })
})

/** Returns how often "yes" belongs to rows with a large value in a column. */
const yesAbove = (some: readonly StreamRow[], column: string, limit: number): number => {
  const above = some.filter(({ features }) => Number(features[column]) > limit)
  return above.filter(({ label }) => label === 1).length / above.length
}

it('SEA changes the numbers that count at once, and only then', () => {
  const noise = [0, 12].map((week) => yesAbove(sea.week(week), 'x1', 9))
  for (const share of noise) expect(share).toBeLessThan(0.3)
  // From week 13 on, x1 has no effect.
  expect(yesAbove(sea.week(13), 'x1', 9)).toBeGreaterThan(0.3)
  expect(yesAbove(sea.week(13), 'x3', 9)).toBeLessThan(0.3)
})

it('the hyperplane moves a little each week', () => {
  const big = hyperplaneStream({ ...size, rowsAWeek: 20_000 })
  const far = (week: number) => {
    const of = (index: number) => ['x1', 'x2', 'x3', 'x4'].map((name) => yesAbove(big.week(index), name, 0.8))
    const [one, other] = [of(0), of(week)]
    return one.reduce((sum, share, i) => sum + Math.abs(share - other[i]!), 0)
  }
  expect(far(1)).toBeLessThan(0.1)
  expect(far(30)).toBeGreaterThan(2 * far(1))
})

describe('an incident changes exactly what it says:', () => {
  it.each<[string, { requests: string[]; table: string[] }]>([
    ['unit', { requests: ['x1'], table: ['x1'] }],
    ['null', { requests: ['x2'], table: ['x2'] }],
    ['renamed', { requests: ['region'], table: ['region'] }],
    ['late labels', { requests: ['knownAtMs'], table: ['knownAtMs'] }],
    ['flipped labels', { requests: ['told'], table: ['told'] }],
    ['duplicated day', { requests: [], table: [] }],
    ['time zone', { requests: ['hour'], table: ['hour'] }],
    ['frozen', { requests: ['x1'], table: ['x1'] }],
    ['lost join', { requests: ['x2'], table: ['x2'] }],
    ['fraud wave', { requests: [], table: [] }],
    ['serving bug', { requests: [], table: [] }],
    ['poisoned slice', { requests: [], table: [] }],
  ])('%s', (name, expected) => {
    const { requests, table } = played(name)
    expect({ requests: changed(requests), table: changed(table) }).toEqual(expected)
    // The true outcome is never changed.
    const wrong = [...requests, ...table].filter(({ id, label }) => label !== (byId.get(id)?.label ?? label))
    expect(wrong).toEqual([])
  })

  it('a unit multiplies, null empties all, a lost join three in ten', () => {
    expect(played('unit').table[0]!.features['x1']).toBe(1_000 * Number(rows[0]!.features['x1']))
    expect(played('null').requests.every(({ features }) => features['x2'] === null)).toBe(true)
    const lost = played('lost join').table.filter(({ features }) => features['x2'] === null)
    expect(lost.length / rows.length).toBeCloseTo(0.3, 1)
  })

  it('labels are flipped in its regions alone, and in the table only', () => {
    for (const { features, label, told } of played('flipped labels').table)
      expect(told).toBe(['north', 'east', 'south'].includes(String(features['region'])) ? 1 - label : label)
  })

  it('a day is five times in the table and once among the requests', () => {
    const { requests, table } = played('duplicated day')
    expect(requests).toHaveLength(rows.length)
    const counts = new Map<string, number>()
    for (const { id } of table) counts.set(id, (counts.get(id) ?? 0) + 1)
    expect(new Set(counts.values())).toEqual(new Set([1, 5]))
    expect(table.length - rows.length).toBe(4 * 100)
  })

  it('a wave adds requests that are true, poison adds rows to the table alone that are not', () => {
    const wave = played('fraud wave')
    const added = wave.requests.filter(({ id }) => !byId.has(id))
    expect(added.length / rows.length).toBeCloseTo(0.15, 1)
    expect(
      added.every(({ label, told, features }) => label === 1 && told === 1 && features['region'] === 'east'),
    ).toBe(true)
    const poisoned = played('poisoned slice')
    expect(poisoned.requests).toHaveLength(rows.length)
    const extra = poisoned.table.filter(({ id }) => !byId.has(id))
    expect(extra.length / rows.length).toBeCloseTo(0.1, 1)
    expect(extra.every(({ told, features }) => told === 0 && features['region'] === 'south')).toBe(true)
  })

  it('the bug swaps two numbers of a request, for the version of its week', () => {
    const { bug } = incidents.find(({ name }) => name === 'serving bug')!
    const { features } = rows[0]!
    expect(bug!(features, sea)).toEqual({ ...features, x1: features['x3'], x3: features['x1'] })
    expect(incidents.filter((each) => each.bug !== undefined)).toHaveLength(1)
  })
})

it('each incident has a week of its own, four weeks apart, and no week has two', () => {
  const weeks = incidents.map((_, place) => weekOfIncident(place, 52))
  expect(weeks).toEqual([3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47])
  expect(weeks.map((week) => incidentOf(week, 52)?.name)).toEqual(incidents.map(({ name }) => name))
  expect(incidentOf(4, 52)).toBeUndefined()
})
