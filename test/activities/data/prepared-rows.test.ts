import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { issueOfPrepare, openPreparer, prepareRows } from '../../../activities/data/prepared-rows.ts'
import type { Features } from '../../../domain/model/features.ts'
import { loadModel, modelsDirectory } from '../../../models/index.ts'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf } from '../../support/docs/markdown.ts'

const sent: Features = {
  charges: { kind: 'number' },
  months: { kind: 'number', use: 'prepare', missing: 'fill' },
  plan: { kind: 'category', use: 'prepare', missing: 'fill' },
}
const withSql = (sql: string, kind: 'number' | 'category' = 'number'): Features => ({
  ...sent,
  made: { kind, sql },
})

it.each([
  ['charges / nullif(months, 0)', 'number'],
  ["coalesce(upper(trim(plan)), 'none') || '!'", 'category'],
  ['case when charges > 3 and months is not null then ln(charges) else -1 end -- a comment', 'number'],
  ['CHARGES * 2', 'number'],
  ['try_cast(plan as double)', 'number'],
  ['charges > months', 'number'],
  ["date_part('dow', try_cast(plan as date))", 'number'],
  ['greatest(charges, months, 1) between 1 and 3', 'number'],
  ["regexp_extract(plan, '[a-z]+')", 'category'],
  ['fmod(charges, 7)', 'number'],
  ["replace(plan, 'ß', 'ss')", 'category'],
  ["date_part('year', age(try_cast(plan as timestamp), timestamp '2026-01-01'))", 'number'],
  ['pi() * charges', 'number'],
] as const)('takes %s, which is computed from one row', async (sql, kind) => {
  expect(await issueOfPrepare(withSql(sql, kind))).toBeUndefined()
})

it.each([
  ['sum(charges)', 'calls sum(), which reads more than one row'],
  ['row_number() over ()', 'has a window'],
  ['charges / sum(charges) over ()', 'has a window'],
  ['(select 1)', 'has a subquery'],
  ['charges in (select 1)', 'has a subquery'],
  ["(select max(x) from read_csv('/etc/passwd') as t(x))", 'has a subquery'],
  ['random()', 'calls random(), whose value changes from call to call'],
  ["date_diff('day', try_cast(plan as timestamp), now()::timestamp)", 'calls now(), whose value changes'],
  ['year(current_date)', '"current_date" is no field of the row'],
  ['year(today())', 'calls today(), whose value changes'],
  ["current_setting('threads')::int", 'calls current_setting(), whose value changes'],
  ["nextval('a')", 'calls nextval(), whose value changes'],
  ['amount * 2', '"amount" is no field of the row: name one of charges, months, plan'],
  ['made + 1', '"made" is no field of the row'],
  ['given.charges', '"given.charges" is no field of the row'],
  ['charges, months', 'gives STRUCT'],
  ['charges) from (select 1', 'is more than one expression'],
  ['charges); drop table x; select (1', 'is no expression of DuckDB'],
  ['charges) from (values (1)) as t(charges) where (true', 'is more than one expression'],
  ['charges +', 'is no expression of DuckDB'],
  ['*', 'has a star'],
  ['$1', 'has a parameter'],
  ['nothere(charges)', 'calls nothere(), which is no function of one row in DuckDB'],
  ['main.random()', 'calls random(), whose value changes'],
  ['plan', 'gives VARCHAR, and the feature is a number()'],
  ['charges + plan', 'prepare.columns.made: '],
  ["getenv('HOME')", 'calls getenv()'],
  ["date_part('year', age(try_cast(plan as timestamp)))", 'calls age(), whose value changes'],
  ["date_part('hour', current_localtime())", 'calls current_localtime(), whose value changes'],
  ['hash(plan)', 'calls hash(), whose value changes'],
  ['length(repeat(plan, cast(charges as integer)))', 'calls repeat(), which may take the memory'],
  ["length(LPAD(plan, cast(charges as integer), 'x'))", 'which may take the memory or the time'],
  ["length(format('{:1000000d}', cast(charges as integer)))", 'calls format(), which may take'],
  ["length(replace(plan, 'x', plan))", 'calls replace(), which may take'],
  ["levenshtein(plan, 'fibre')", 'calls levenshtein(), which may take'],
  ['unnest([1, 2])', 'calls unnest()'],
  ['list_sum([x + 1 for x in [charges]])', 'has a lambda'],
])('refuses %s', async (sql, issue) => {
  expect(await issueOfPrepare(withSql(sql))).toContain(issue)
})

it('refuses a number for a category', async () => {
  expect(await issueOfPrepare(withSql('charges', 'category'))).toContain(
    'gives DOUBLE, and the feature is a category()',
  )
})

it('computes rows at once, and names the row and the reason of a failure', async () => {
  const features: Features = {
    ...sent,
    ratio: { kind: 'number', sql: 'charges / nullif(months, 0)', missing: 'fill' },
    root: { kind: 'number', sql: 'sqrt(charges)' },
    label: { kind: 'category', sql: `coalesce(plan, '–') || ' é'` },
  }
  const preparer = await openPreparer(features)
  const rows = [
    { charges: 9, months: 2, plan: 'ß' },
    { charges: 1, months: 0, plan: null },
    { charges: 0.1, months: null, plan: '' },
  ]
  expect(await prepareRows(preparer, rows)).toEqual([
    { ...rows[0], ratio: 4.5, root: 3, label: 'ß é' },
    { ...rows[1], ratio: null, root: 1, label: '– é' },
    { ...rows[2], ratio: null, root: Math.sqrt(0.1), label: ' é' },
  ])
  await expect(
    prepareRows(preparer, [rows[0]!, { charges: -1, months: 1, plan: 'a' }]),
  ).rejects.toMatchObject({
    code: 'prepare_failed',
    message: expect.stringMatching(/^instance 1: .*"root".*square root of a negative/),
  })
  preparer.close()
})

it('computes concurrent calls one after the other, each with its own rows', async () => {
  const preparer = await openPreparer(withSql('charges * 2'))
  const found = await Promise.all(
    Array.from({ length: 20 }, (_, at) => prepareRows(preparer, [{ charges: at, months: 1, plan: '' }])),
  )
  expect(found.map(([row]) => row!['made'])).toEqual(Array.from({ length: 20 }, (_, at) => at * 2))
  preparer.close()
})

it('computes more rows than one query takes, and ends a query that takes too much', async () => {
  const long = await openPreparer(withSql('charges * 2'))
  const rows = Array.from({ length: 10_001 }, (_, at) => ({ charges: at, months: 1, plan: '' }))
  const made = await prepareRows(long, rows)
  expect(made.map((row) => row['made'])).toEqual(rows.map(({ charges }) => charges * 2))
  await expect(
    prepareRows(await openPreparer(withSql('sqrt(charges)')), [...rows, { ...rows[0]!, charges: -1 }]),
  ).rejects.toThrow(/^instance 10001: /)
  long.close()
  const eager = await openPreparer(
    withSql(
      `length(${Array.from({ length: 9 }, () => 'plan').reduce((text) => `concat(${text}, ${text})`)})`,
    ),
  )
  await expect(
    eager.compute(() => Array.from({ length: 5_000 }, () => 'x'.repeat(1_000)), 5_000),
  ).rejects.toThrow('the expressions of prepare fail')
  expect(await prepareRows(eager, [{ charges: 2, months: 3, plan: 'a' }])).toMatchObject([{ made: 256 }])
  eager.close()
})

it('the model file of the page computes what the page says, and its refusals are those of the check', async () => {
  const page = readFileSync(join(checkout, 'docs', 'computed-features.md'), 'utf8')
  const blocks = blocksOf(page)
  const textOf = (language: string) => blocks.find((block) => block.language === language)!.text
  const folder = mkdtempSync(join(tmpdir(), 'tenure-prepare-'))
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  writeFileSync(join(folder, 'churn.ts'), textOf('ts').replace("'tenure'", `'${modelsDirectory}define.ts'`))
  const { definition } = await loadModel('churn', folder)
  rmSync(folder, { recursive: true })
  expect(await issueOfPrepare(definition.features)).toBeUndefined()
  const preparer = await openPreparer(definition.features)
  const { instances } = JSON.parse(textOf('json')) as { instances: { charges: number; months: number }[] }
  expect(await prepareRows(preparer, instances)).toEqual([
    { ...instances[0], ratio: 29.85 / 12, plan: 'fibre' },
  ])
  preparer.close()
  const refused = { mean: 'avg(charges)', age: 'year(today()) - months', code: 'plan' }
  const issues = Object.entries(refused).map(([name, sql]) =>
    issueOfPrepare({ ...sent, [name]: { kind: 'number', sql } }),
  )
  expect((await Promise.all(issues)).join('\n')).toBe(textOf('text').trim())
})
