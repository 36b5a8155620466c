/** Tests which days of a batch have ended, and the placeholders of a day. */
import { expect, it } from 'vitest'
import {
  batchWith,
  endedDays,
  isDay,
  isEnded,
  markerOf,
  maxDays,
  partitionNameOf,
  valuesOfFiring,
  type BatchDefinition,
} from '../../../domain/triggers/partitions.ts'

const at = (time: string) => Date.parse(time)

it('a day has ended at midnight in UTC, or later by its delay', () => {
  const partition = { from: '2026-02-27', afterMs: 0 }
  expect(endedDays(partition, at('2026-02-27T23:59:59Z'))).toEqual([])
  expect(endedDays(partition, at('2026-03-01T00:00:00Z'))).toEqual(['2026-02-27', '2026-02-28'])
  const later = { ...partition, afterMs: 7_200_000 }
  expect(endedDays(later, at('2026-03-01T01:59:59Z'))).toEqual(['2026-02-27'])
  expect(endedDays(later, at('2026-03-01T02:00:00Z'))).toHaveLength(2)
})

it('a day that is scored ahead is complete before its end, and may be asked for then', () => {
  const ahead = { from: '2026-02-27', afterMs: -30 * 3_600_000 }
  expect(endedDays(ahead, at('2026-02-27T17:59:59Z'))).toEqual(['2026-02-27'])
  expect(endedDays(ahead, at('2026-02-27T18:00:00Z'))).toEqual(['2026-02-27', '2026-02-28'])
  expect(isEnded('2026-02-28', ahead, at('2026-02-27T18:00:00Z'))).toBe(true)
  expect(isEnded('2026-02-28', ahead, at('2026-02-27T17:59:59Z'))).toBe(false)
  // A day that is late is asked for as soon as it has ended.
  expect(isEnded('2026-02-27', { from: '2026-02-27', afterMs: 7_200_000 }, at('2026-02-28T00:00:00Z'))).toBe(
    true,
  )
})

it('days that are long gone are not looked for', () => {
  const days = endedDays({ from: '2001-01-01', afterMs: 0 }, at('2026-03-01T00:00:00Z'))
  expect([days.length, days.at(-1)]).toEqual([maxDays, '2026-02-28'])
})

it('replaces {date} in the paths and the query by the day', () => {
  const batch = {
    name: 'daily',
    input: { kind: 'sql', query: "select '{date}'" } as const,
    output: { kind: 'file', path: 'out/{date}/{date}.parquet' } as const,
    key: ['id'],
    partition: { from: '2026-01-01', afterMs: 0 },
  }
  expect(batchWith('iris', batch, { date: '2026-01-02' })).toEqual({
    model: 'iris',
    input: { kind: 'sql', query: "select '2026-01-02'" },
    output: { kind: 'file', path: 'out/2026-01-02/2026-01-02.parquet' },
    key: ['id'],
  })
  expect(markerOf(batch, '2026-01-02')).toBeUndefined()
})

it('a firing is identified by its day and its parameters, and attempts at the same partition replace each other', () => {
  const batch = (path: string): BatchDefinition => ({
    name: 'a',
    input: { kind: 'file', path },
    output: { kind: 'table' },
    key: [],
  })
  const firing = { evidence: { region: 'eu', epochs: 3, file: 'b' }, firedAt: '2026-11-22T23:59:59Z' }
  const nameOf = (path: string) => partitionNameOf(valuesOfFiring(batch(path), firing))
  expect(nameOf('in.csv')).toBe('all')
  expect(nameOf('{date}.csv')).toBe('2026-11-22')
  expect(nameOf('{region}/{epochs}.csv')).toBe('epochs=3,region=eu')
  expect(nameOf('{region}/{date}.csv')).toBe('2026-11-22,region=eu')
  expect(batchWith('iris', batch('{region}/{other}.csv'), { region: 'eu' }).input).toEqual({
    kind: 'file',
    path: 'eu/{other}.csv',
  })
})

it.each([
  ['2026-02-28', true],
  ['2026-02-30', false],
  ['2026-2-3', false],
  [20_260_228, false],
])('%s is a day: %s', (text, is) => expect(isDay(text)).toBe(is))
