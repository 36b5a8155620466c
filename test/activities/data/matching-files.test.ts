/** Tests sources whose pattern matches many files: one view of all of them, with the columns that their folders name. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { listMatching } from '../../../activities/data/matching-files.ts'
import { digestOfSource } from '../../../activities/data/source-digest.ts'
import { openSourceFiles } from '../../../activities/data/source-files.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import type { DeclaredKind } from '../../../domain/values/readings.ts'
import { iris } from '../../../models/iris.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-patterns-'))
beforeEach(() => rmSync(root, { recursive: true, force: true }))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const put = (place: string, text: string): void => {
  mkdirSync(dirname(join(root, place)), { recursive: true })
  writeFileSync(join(root, place), text)
}
const putParquet = (place: string, query: string): Promise<void> => {
  mkdirSync(dirname(join(root, place)), { recursive: true })
  return withDuck((duck) => duck.run(`copy (${query}) to ${textLiteral(join(root, place))} (format parquet)`))
}
const read = (
  pattern: string,
  { kind = 'csv', declared = {} }: { kind?: 'csv' | 'parquet'; declared?: Record<string, DeclaredKind> } = {},
) =>
  withDuck(async (duck) => {
    const source = { kind, files: { source: join(root, pattern) }, rows: 'select * from source' }
    await openSourceFiles(duck, source, { declared })
    return duck.rows<Record<string, unknown>>('select * from source order by all')
  })

describe('a pattern', () => {
  it('is all of its files, in every folder that it names', async () => {
    put('2026/01.csv', 'id,size\n1,2.5\n')
    put('2026/02.csv', 'id,size\n2,3.5\n')
    put('2025/12.csv', 'id,size\n3,4.5\n')
    put('2025/notes.txt', 'no rows')
    const declared = { id: 'text', size: 'number' } as const
    expect(await read('*/*.csv', { declared })).toMatchObject([
      { id: '1', size: 2.5 },
      { id: '2' },
      { id: '3' },
    ])
    expect(await read('2026/*.csv', { declared })).toHaveLength(2)
    expect(await read('**/1*.csv', { declared })).toMatchObject([{ id: '3' }])
  })

  it('gives the columns that its folders name, of the declared type', async () => {
    put('plot=north%20field/year=2025/a.csv', 'id,size\n1,2.5\n')
    put('plot=__HIVE_DEFAULT_PARTITION__/year=2026/a.csv', 'size,id\n3.5,2\n')
    expect(await read('*/*/*.csv', { declared: { year: 'number', id: 'text' } })).toEqual([
      { plot: 'north field', year: 2025, id: '1', size: 2.5 },
      { plot: null, year: 2026, id: '2', size: 3.5 },
    ])
  })

  it('gives them for Parquet too', async () => {
    await putParquet('day=2026-01-01/a.parquet', `select 1 as id`)
    await putParquet('day=2026-01-02/a.parquet', `select 2 as id`)
    const rows = await read('*/*.parquet', { kind: 'parquet', declared: { day: 'time' } })
    expect(rows.map((row) => [row['id'], String(row['day'])])).toEqual([
      [1, String(Date.UTC(2026, 0, 1))],
      [2, String(Date.UTC(2026, 0, 2))],
    ])
    await putParquet('day=2026-01-02/b.parquet', `select 2.5::double as id`)
    const more = await read('*/*.parquet', { kind: 'parquet', declared: { day: 'time' } })
    expect(more.map((row) => [row['id'], Number(row['day'])])).toEqual([
      [1, Date.UTC(2026, 0, 1)],
      [2, Date.UTC(2026, 0, 2)],
      [2.5, Date.UTC(2026, 0, 2)],
    ])
    await putParquet('2026/a.parquet', `select 1 as id`)
    expect(await read('2026/*.parquet', { kind: 'parquet' })).toEqual([{ id: 1 }])
  })

  it('has one digest, which names each file and its bytes', async () => {
    put('01.csv', 'id\n1\n')
    put('02.csv', 'id\n2\n')
    const digest = async () => {
      const path = join(root, '*.csv')
      const source = await digestOfSource({ ...iris.definition.source, files: { source: path } })
      return (source['files'] as Record<string, { digest: string; files: object }>)['source']!
    }
    const before = await digest()
    expect(Object.keys(before.files)).toEqual(['01.csv', '02.csv'])
    put('02.csv', 'id\n3\n')
    expect((await digest()).digest).not.toBe(before.digest)
  })
})

describe('a pattern is refused', () => {
  it('when no file matches', async () => {
    put('01.csv', 'id\n1\n')
    await expect(read('*.parquet')).rejects.toThrow(
      /\*\.parquet: no file matches: put the files there, or correct/,
    )
    await expect(read('none/*.csv')).rejects.toThrow(/none: there is no such file/)
  })

  it('when a file lacks a column', async () => {
    put('01.csv', 'id,size\n1,2\n')
    put('02.csv', 'id\n2\n')
    await expect(read('*.csv')).rejects.toThrow(/02\.csv: has no column "size", which .*01\.csv has/)
    await putParquet('01.parquet', `select 1 as id, 2 as size`)
    await putParquet('02.parquet', `select 1 as id`)
    await expect(read('*.parquet', { kind: 'parquet' })).rejects.toThrow(/size/)
  })

  it('when its folders name different columns, or a value of another type', async () => {
    put('year=2025/a.csv', 'id\n1\n')
    put('month=1/a.csv', 'id\n1\n')
    await expect(read('*/*.csv')).rejects.toThrow(/its folders name other columns than those of/)
    rmSync(join(root, 'month=1'), { recursive: true })
    put('year=last/a.csv', 'id\n1\n')
    await expect(read('*/*.csv', { declared: { year: 'number' } })).rejects.toThrow(
      /year is declared as a number, and its folder says "last"/,
    )
    rmSync(join(root, 'year=last'), { recursive: true })
    await expect(read('*/*.csv', { declared: { year: 'time' } })).resolves.toHaveLength(1)
    put('year=soon/a.csv', 'id\n1\n')
    await expect(read('*/*.csv', { declared: { year: 'time' } })).rejects.toThrow(
      /year is declared as a time, as in 2026-03-01, and its folder says "soon"/,
    )
  })

  it('with more files than the limit', async () => {
    put('01.csv', 'id\n1\n')
    put('02.csv', 'id\n2\n')
    await expect(listMatching(join(root, '*.csv'), 1)).rejects.toThrow(/^2 files match .*, limit 1: remove/)
  })
})
