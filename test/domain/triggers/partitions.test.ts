/** Tests which days of a batch have ended, and what a day stands for. */
import { expect, it } from 'vitest'
import { batchOfDay, endedDays, isDay, markerOf, maxDays } from '../../../domain/triggers/partitions.ts'

const at = (time: string) => Date.parse(time)

it('a day has ended at midnight in UTC, or later by its delay', () => {
  const partition = { from: '2026-02-27', afterMs: 0 }
  expect(endedDays(partition, at('2026-02-27T23:59:59Z'))).toEqual([])
  expect(endedDays(partition, at('2026-03-01T00:00:00Z'))).toEqual(['2026-02-27', '2026-02-28'])
  const later = { ...partition, afterMs: 7_200_000 }
  expect(endedDays(later, at('2026-03-01T01:59:59Z'))).toEqual(['2026-02-27'])
  expect(endedDays(later, at('2026-03-01T02:00:00Z'))).toHaveLength(2)
})

it('days that are long gone are not looked for', () => {
  const days = endedDays({ from: '2001-01-01', afterMs: 0 }, at('2026-03-01T00:00:00Z'))
  expect([days.length, days.at(-1)]).toEqual([maxDays, '2026-02-28'])
})

it('a day stands for {date} in the paths and the query', () => {
  const batch = {
    name: 'daily',
    input: { kind: 'sql', query: "select '{date}'" } as const,
    output: { kind: 'file', path: 'out/{date}/{date}.parquet' } as const,
    key: ['id'],
    partition: { from: '2026-01-01', afterMs: 0 },
  }
  expect(batchOfDay('iris', batch, '2026-01-02')).toEqual({
    model: 'iris',
    input: { kind: 'sql', query: "select '2026-01-02'" },
    output: { kind: 'file', path: 'out/2026-01-02/2026-01-02.parquet' },
    key: ['id'],
  })
  expect(markerOf(batch, '2026-01-02')).toBeUndefined()
})

it.each([
  ['2026-02-28', true],
  ['2026-02-30', false],
  ['2026-2-3', false],
  [20_260_228, false],
])('%s is a day: %s', (text, is) => expect(isDay(text)).toBe(is))
