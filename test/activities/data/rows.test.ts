/** Tests that rows are read into columns without an object per row. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { readCells, readDoubles, readPart } from '../../../activities/data/rows.ts'
import { listCells, rowReader } from '../../../domain/model/columns.ts'
import type { Features } from '../../../domain/model/features.ts'
import { columnsOfExpectation } from '../../../domain/validation/columns-of-expectation.ts'
import type { Expectation } from '../../../domain/validation/expectations.ts'
import { judgeValidation } from '../../../domain/validation/validate.ts'
import { checkout, launcher } from '../../../temporal.config.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const output: Output = { kind: 'number' }
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-rows-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const write = (name: string, query: string): Promise<string> =>
  withDuck(async (duck) => {
    const path = join(folder, name)
    await duck.run(`copy (${query}) to ${textLiteral(path)} (format parquet)`)
    return path
  })

describe('the columns of a snapshot', () => {
  const kinds = {
    double: `case when i % 3 = 0 then null when i % 3 = 1 then 'nan'::double else i / 7 end`,
    whole: 'i * 10000000001',
    small: 'cast(case when i % 2 = 0 then i end as smallint)',
    flag: 'case when i < 5000 then i % 2 = 0 end',
    text: `case when i % 4 > 0 then chr(97 + cast(i % 20 as int)) || repeat('é', cast(i % 3 as int)) end`,
    empty: `''`,
    none: 'cast(null as varchar)',
    many: `'value ' || (i % 300)`,
    decimal: 'cast(i as decimal(18, 2))',
    long: 'cast(i as decimal(38, 0))',
    moment: `timestamp '2001-01-01' + to_seconds(i)`,
    __proto__x: 'i',
  }
  it('are those of the file, in its order, over several chunks', async () => {
    const listed = Object.entries(kinds).map(([name, expression]) => `${expression} as "${name}"`)
    const path = await write(
      'kinds.parquet',
      `select ${listed.join(', ')}, cast(i % 2 as double) as _label, if(i % 5 = 0, 'test', 'train') as _part from range(6000) as t(i)`,
    )
    const found = await readPart(path, 'train', { names: Object.keys(kinds), output })
    const wanted = await withDuck((duck) =>
      duck.table(
        `select * replace (decimal::double as decimal) from ${textLiteral(path)} where _part = 'train'`,
      ),
    )
    expect(found.rows).toBe(wanted.rows)
    for (const name of Object.keys(kinds))
      expect(listCells(found.columns[name]!), name).toEqual(
        Array.from(wanted.columns[name]!, (cell) => (typeof cell === 'boolean' ? Number(cell) : cell)),
      )
    expect(rowReader(found, ['flag', 'text'])(1)).toEqual({ flag: 1, text: 'céé' })
  })

  it('are judged as lists of their values are', async () => {
    const listed = Object.entries(kinds).map(([name, expression]) => `${expression} as "${name}"`)
    const path = await write('judged.parquet', `select ${listed.join(', ')} from range(3000) as t(i)`)
    const names = Object.keys(kinds)
    const severity = 'warn' as const
    const reference = { name: 'small', kind: 'number' as const, edges: [0, 1, 2], counts: [1, 1, 1, 1, 0] }
    const expectations: Expectation[] = [
      ...(['number', 'text', 'time', 'flag'] as const).map((kind) => ({
        check: 'schema' as const,
        columns: Object.fromEntries(names.map((name) => [name, kind])),
        severity,
      })),
      { check: 'complete', columns: names, severity },
      { check: 'finite', columns: names, severity },
      { check: 'unique', columns: ['many', 'flag'], severity },
      { check: 'complete_when', column: 'small', when: 'flag', is: true, severity },
      { check: 'ordered', low: 'small', high: 'whole', severity },
      { check: 'fresh', withinMs: 1, severity },
      { check: 'quantile', column: 'double', q: 0.3, severity },
      { check: 'not_swapped', references: [reference, { ...reference, name: 'whole' }], severity },
      ...names.flatMap((column): Expectation[] => [
        { check: 'unique', columns: [column], severity },
        { check: 'in_set', column, values: ['', 7, 'value 9'], severity },
        { check: 'between', column, min: 3, max: 900, severity },
        { check: 'length', column, min: 2, max: 4, severity },
        { check: 'matches', column, pattern: '^[a-z0]', severity },
        { check: 'distinct', column, max: 5, severity },
        { check: 'mean', column, min: 1, severity },
        { check: 'std', column, min: 1, severity },
        { check: 'share', column, min: 0.1, severity },
        { check: 'every_class', column, classes: [0, 'value 9'], min: 1, severity },
        { check: 'as_trained', column, reference, severity },
      ]),
    ]
    const context = { asOfMs: Date.parse('2020-01-01'), eventAt: 'moment', earlierRows: [] }
    const [cells, lists] = await withDuck(async (duck) => [
      await readCells(duck, textLiteral(path), [...names, 'absent']),
      await duck.table(`select * replace (decimal::double as decimal) from ${textLiteral(path)}`),
    ])
    expect(judgeValidation(expectations, cells, context)).toEqual(
      judgeValidation(expectations, lists, context),
    )
    expect(new Set(expectations.flatMap((each) => columnsOfExpectation(each, context)))).toEqual(
      new Set(names),
    )
  })

  it('are named when the snapshot lacks one, and left out when they are optional', async () => {
    const path = await write('few.parquet', `select 1 as a, 1.0 as _label, 'test' as _part`)
    await expect(readPart(path, 'test', { names: ['a', 'wings'], output })).rejects.toThrow('no column wings')
    const { columns, rows } = await readPart(path, 'test', {
      names: ['a'],
      optional: ['wings', 'toString'],
      output,
    })
    expect({ names: Object.keys(columns), rows }).toEqual({ names: ['a', '_label'], rows: 1 })
    expect((await readPart(path, 'train', { names: ['a'], output })).rows).toBe(0)
  })

  it('are read from a query as doubles', async () =>
    expect(await withDuck((duck) => readDoubles(duck, 'select i > 1 from range(4) as t(i)'))).toEqual(
      Float64Array.of(0, 0, 1, 1),
    ))
})

it('reads, fits and encodes 1,000,000 rows in a heap that their objects would fill', async () => {
  const features: Features = {
    origin: { kind: 'category' },
    distance: { kind: 'number' },
    share: { kind: 'number', missing: 'fill' },
  }
  const path = await write(
    'large.parquet',
    `select 'airport ' || (i % 20) as origin, i / 3 as distance, case when i % 9 > 0 then hash(i) % 1000 end as share,
      cast(i % 2 as double) as _label, 'train' as _part from range(1000000) as t(i)`,
  )
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      '--max-old-space-size=64',
      launcher,
      'test/support/training/columns-child.ts',
      path,
      JSON.stringify(features),
    ],
    { cwd: checkout },
  )
  // One category per row, and scaled numbers with a mean of 0.
  expect(JSON.parse(stdout)).toEqual({ rows: 1_000_000, sum: 1_000_000 })
})
