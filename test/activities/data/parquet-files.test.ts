/** Tests that the Parquet files of one pattern are read with one type a column, which holds the values of all, or are refused with both. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { openSourceFiles } from '../../../activities/data/source-files.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import type { DeclaredKind } from '../../../domain/validation/source-issue.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-parquet-'))
beforeEach(() => {
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

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
