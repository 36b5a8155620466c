/** Tests that the Parquet files of one pattern are read with one type a column, which holds the values of all, or are refused with both. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { openFiles } from '../../../activities/data/open-rows.ts'
import { openSourceFiles } from '../../../activities/data/source-files.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { renameColumn } from '../../support/rename-column.ts'
import type { DeclaredKind } from '../../../domain/values/readings.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-parquet-'))
beforeEach(() => {
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A column `v` of decimal(39, 2) with the value 5.38, as Arrow writes it; DuckDB writes no such type. */
const longDecimal = Buffer.from(
  [
    'UEFSMRUAFS4VLiwVAhUAFQYVBhwAAAACAAAAAgEAAAAAAAAAAAAAAAAAAAACGhUEGSw1ABgGc2NoZW1hFQIAFQ4VIhUCGAF2JQoVBBVOLFwVBB',
    'VOAAAAFgIZHBkcJgAcFQ4ZJQYAGRgBdhUAFgIWVBZUJghJHBUAFQAVAgA8KQYZJgACAAAAFlQWAiYIFlQAKCBwYXJxdWV0LWNwcC1hcnJvdyB2',
    'ZXJzaW9uIDI2LjAuMRkcHAAAAIoAAABQQVIx',
  ].join(''),
  'base64',
)
/** The schema of Arrow with a whole number `id`, and the durations `wait` in milliseconds and `v` in seconds. */
const arrowSchema = [
  '/////9gAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAMAAAB0AAAANAAAAAQAAACo////AAABEhAAAAAYAA',
  'AABAAAAAAAAAABAAAAdgAGAAgABgAGAAAAAAAAANT///8AAAESEAAAABwAAAAEAAAAAAAAAAQAAAB3YWl0AAAAAAQABAAEAAAAEAAUAAgABgAH',
  'AAwAAAAQABAAAAAAAAECEAAAABwAAAAEAAAAAAAAAAIAAABpZAAACAAMAAgABwAIAAAAAAAAAUAAAAA=',
].join('')

/** Writes one file for each value of the column `v`, and reads them as one source. */
const read = (values: readonly string[], declared: Record<string, DeclaredKind> = {}) =>
  withDuck(async (duck) => {
    for (const [at, value] of values.entries())
      await duck.run(
        `copy (select ${at} as id, ${value} as v) to ${textLiteral(join(root, `${at}.parquet`))} (format parquet)`,
      )
    const source = {
      kind: 'parquet' as const,
      files: { source: join(root, '*.parquet') },
      rows: 'select * from source',
    }
    await openSourceFiles(duck, source, { declared })
    const rows = await duck.rows<{ v: string | null; type: string }>(
      'select cast(v as varchar) as v, typeof(v) as type from source order by id',
    )
    return { values: rows.map(({ v }) => v), type: rows[0]!.type }
  }).catch((error: Error) => error.message.replaceAll(`${root}/`, ''))

it.each<[string[], string, (string | null)[]]>([
  [['2::bigint', '1.5::double', 'true'], 'DOUBLE', ['2.0', '1.5', '1.0']],
  [['true', '0.25::float'], 'DOUBLE', ['1.0', '0.25']],
  [['true', '7::utinyint', '-1::tinyint'], 'SMALLINT', ['1', '7', '-1']],
  [
    ['1::bigint', '3::int', '18446744073709551615::ubigint'],
    'DECIMAL(20,0)',
    ['1', '3', '18446744073709551615'],
  ],
  [['1.5::decimal(5,2)', '0.00017::decimal(12,5)'], 'DECIMAL(12,5)', ['1.50000', '0.00017']],
  [['1::decimal(38,0)', '0.5::decimal(38,19)'], 'DOUBLE', ['1.0', '0.5']],
  [['12::int', '0.25::decimal(5,2)'], 'DECIMAL(12,2)', ['12.00', '0.25']],
  [['1.25::decimal(5,2)', '1.125::double'], 'DOUBLE', ['1.25', '1.125']],
  [
    [`date '2026-01-03'`, `timestamp '2026-01-03 13:05:00'`, `timestamp_ns '2026-01-04 00:00:00.000001'`],
    'TIMESTAMP',
    ['2026-01-03 00:00:00', '2026-01-03 13:05:00', '2026-01-04 00:00:00.000001'],
  ],
  [[`'a'`, `'{}'::json`], 'VARCHAR', ['a', '{}']],
  [['[1]', '[2]'], 'INTEGER[]', ['[1]', '[2]']],
])('reads files with %j as %s', async (written, type, values) =>
  expect(await read(written)).toEqual({ values, type }),
)

const both = 'export both with one type, or narrow the pattern'
it.each<[string[], string]>([
  [
    ['9007199254740993::bigint', '1.5::double'],
    `0.parquet, row 1, column "v": \`9007199254740993\` would become \`9007199254740992.0\`, because 1.parquet has numbers (DOUBLE): ${both}`,
  ],
  [
    ['1.5::double', '0.1234567890123456789::decimal(20,19)'],
    `1.parquet, row 1, column "v": \`0.1234567890123456789\` would become \`0.12345678901234568\`, because 0.parquet has numbers (DOUBLE): ${both}`,
  ],
  [
    [`timestamp_ns '2026-01-01 00:00:00.000000001'`, `timestamp '2026-01-01'`],
    `0.parquet, row 1, column "v": \`2026-01-01 00:00:00.000000001\` would become \`2026-01-01 00:00:00\`, because 1.parquet has times without a zone (TIMESTAMP): ${both}`,
  ],
  [['1', `'1'`], `1.parquet, column "v": has texts (VARCHAR), and 0.parquet has numbers (INTEGER): ${both}`],
  [
    [`timestamp '2026-01-01'`, `timestamptz '2026-01-01'`],
    `1.parquet, column "v": has times with a zone (TIMESTAMP WITH TIME ZONE), and 0.parquet has times without a zone (TIMESTAMP): ${both}`,
  ],
  [
    [`date '2026-01-01'`, 'true'],
    `1.parquet, column "v": has truth values (BOOLEAN), and 0.parquet has dates (DATE): ${both}`,
  ],
])('refuses files with %j', async (written, message) => expect(await read(written)).toBe(message))

it.each<[string[], string]>([
  [['2', '2.5::double'], '`2` would become `2.0`'],
  [['1.5::decimal(3,1)', '1.25::decimal(3,2)'], '`1.5` would become `1.50`'],
  [['true', '2'], '`true` would become `1`'],
  [[`date '2026-01-03'`, `timestamp '2026-01-03'`], '`2026-01-03` would become `2026-01-03 00:00:00`'],
])(
  'refuses files with %j where the column is a text, which is read as it is written',
  async (written, change) => expect(await read(written, { v: 'text' })).toContain(change),
)

it('reads columns of another order and case', async () => {
  const put = (name: string, query: string) =>
    withDuck((duck) => duck.run(`copy (${query}) to ${textLiteral(join(root, name))} (format parquet)`))
  await put('a.parquet', 'select 1 as id, 2 as Size')
  await put('b.parquet', 'select 2.5::double as size, 2 as id')
  const source = { kind: 'parquet' as const, files: { source: join(root, '*') }, rows: '' }
  const rows = await withDuck(async (duck) => {
    await openSourceFiles(duck, source, { declared: {} })
    return duck.rows('select id, size as v from source order by id')
  })
  expect(rows).toEqual([
    { id: 1, v: 2 },
    { id: 2, v: 2.5 },
  ])
})

const source = { kind: 'parquet' as const, files: { source: join(root, 'a.parquet') }, rows: '' }
const put = (query: string, options = '') =>
  withDuck((duck) =>
    duck.run(`copy (${query}) to ${textLiteral(source.files.source)} (format parquet${options})`),
  )
/** Loads a query over the file. */
const load = (rows = 'select * from source', declared: Record<string, DeclaredKind> = {}) =>
  withDuck(async (duck) => {
    const opened = await openFiles(duck, { ...source, rows }, { declared, needed: {} })
    await opened.load(rows)
    return duck.rows('select * from known order by all')
  }).catch((error: Error) => error.message.replaceAll(`${root}/`, ''))

it('refuses decimals of more than 38 digits by the footer', async () => {
  writeFileSync(source.files.source, longDecimal)
  expect(await load()).toBe(
    'a.parquet, column "v": decimal(39, 2) has more than 38 digits: export it with fewer, or as a double, or leave the column out in `rows` of the source',
  )
  expect(await load('select 1 as one from source')).toEqual([{ one: 1 }])
})

it('refuses durations, which Parquet writes as whole numbers without a unit', async () => {
  await put('select 1 as id, 2::bigint as wait', `, kv_metadata {'ARROW:schema': '${arrowSchema}'}`)
  expect(await load()).toBe(
    'a.parquet, column "wait": a duration is not a number: export it as the number of its seconds, or leave the column out in `rows` of the source',
  )
  expect(await load('select id from source')).toEqual([{ id: 1 }])
  await put('select interval 2 days as v')
  expect(await load()).toContain('a duration is not a number')
})

it('reads bytes without a mark as texts, and refuses those that are no UTF-8 by row and value', async () => {
  await put(`select unnest([encode('München'), encode('a\\b'), null, '7'::blob]) as v`)
  expect(await load()).toEqual([{ v: '7' }, { v: 'München' }, { v: 'a\\b' }, { v: null }])
  expect(await load(`select v from source where v = 'München'`)).toEqual([{ v: 'München' }])
  await put(`select unnest([encode('München'), '\\xFF'::blob, '\\xFE'::blob]) as v, 1 as id`)
  expect(await load()).toBe(
    'a.parquet, row 2, column "v": `\\xFF` is not a text: encode it as UTF-8, or leave the column out (1 more such row)',
  )
  expect(await load('select id from source limit 1')).toEqual([{ id: 1 }])
})

it.each([
  ['amount', 'two columns are named "amount"'],
  ['Amount', 'two columns are named "amount" and "Amount"'],
])('refuses a column beside amount that is named %s', async (name, message) => {
  await put('select 1 as amount, 2 as "_mount"')
  renameColumn(source.files.source, '_mount', name)
  expect(await load()).toContain(message)
})

it.each([
  ['timestamp', 'infinity'],
  ['timestamptz', '-infinity'],
  ['date', 'infinity'],
  ['varchar', '2026-06-01 00:00:00 BST'],
  ['varchar', '2026-10-25 02:30:00 Europe/Berlin'],
])('refuses a %s %s where a time is declared', async (type, value) => {
  await put(`select unnest(['2026-01-03'::${type}, '${value}'::${type}]) as v`)
  expect(await load('select * from source', { v: 'time' })).toContain(
    `a.parquet, row 2, column "v": \`${value}\` is not a time: `,
  )
  await put(`select unnest(['2026-01-03'::${type}, null]) as v`)
  expect(await load('select * from source', { v: 'time' })).toHaveLength(2)
})
