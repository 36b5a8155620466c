/**
 * Tests that one table gives one snapshot, whatever holds it: a CSV, Parquet files of many types, several of different types, or Postgres.
 * The tables are drawn: TENURE_TEST_TABLES=300 draws 300 of them, TENURE_TEST_SEED draws others.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { valueDraws } from '../../support/draws.ts'
import {
  category,
  csv,
  defineModel,
  direct,
  number,
  parquet,
  postgres,
  random,
  yesNo,
} from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const environment = environmentWith({})
const tables = Number(environment['TENURE_TEST_TABLES'] ?? 6)
const seed = Number(environment['TENURE_TEST_SEED'] ?? 1)

const root = mkdtempSync(join(tmpdir(), 'tenure-equal-'))
const artifacts = openArtifacts(root)
/** A source is a file of the project. */
const folder = join('node_modules', '.cache', `tenure-equal-${process.pid}`)
let store: Store
beforeAll(async () => {
  mkdirSync(folder, { recursive: true })
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store.close()
  for (const path of [root, folder]) rmSync(path, { recursive: true })
})

const { chance, whole, oneOf } = valueDraws(seed)

/** How the values of a column are drawn, and the types that hold all of them alike. */
interface Kind {
  draw: () => string
  inParquet: readonly string[]
  inPostgres: readonly string[]
}

const wholeNumbers: Kind = {
  draw: () => String(whole(1_000) - 500),
  inParquet: ['INTEGER', 'BIGINT', 'DECIMAL(12,0)', 'VARCHAR', 'BLOB'],
  inPostgres: ['integer', 'bigint', 'numeric', 'numeric(12,0)', 'text'],
}
const cents: Kind = {
  draw: () => (whole(100_000) / 100 - 500).toFixed(2),
  inParquet: ['DECIMAL(12,2)', 'VARCHAR', 'BLOB'],
  inPostgres: ['numeric', 'numeric(12,2)', 'text'],
}
/** Without whole digits. */
const shares: Kind = {
  draw: () => (whole(100) / 100).toFixed(2),
  inParquet: ['DECIMAL(2,2)', 'DECIMAL(12,2)', 'VARCHAR', 'BLOB'],
  inPostgres: ['numeric', 'numeric(2,2)', 'text'],
}
const truth: Kind = {
  draw: () => oneOf(['true', 'false']),
  inParquet: ['BOOLEAN', 'VARCHAR'],
  inPostgres: ['boolean', 'text'],
}
const numbers: readonly Kind[] = [
  { ...wholeNumbers, inParquet: [...wholeNumbers.inParquet, 'SMALLINT', 'DOUBLE', 'FLOAT', 'DECIMAL(12,3)'] },
  {
    ...cents,
    inParquet: [...cents.inParquet, 'DOUBLE', 'DECIMAL(20,5)'],
    inPostgres: ['numeric', 'double precision'],
  },
  {
    draw: () => `${whole(1_000)}.${1_000_000_000 + whole(9_000_000_000)}`,
    inParquet: ['DECIMAL(30,10)', 'DECIMAL(38,12)', 'VARCHAR'],
    inPostgres: ['numeric', 'numeric(30,10)', 'text'],
  },
  {
    draw: () => String((chance() - 0.5) * 10 ** whole(9)),
    inParquet: ['DOUBLE', 'VARCHAR'],
    inPostgres: ['double precision', 'numeric', 'text'],
  },
  {
    // The numbers that floats hold, as they are widened to doubles.
    draw: () => String(Math.fround(chance() * 50)),
    inParquet: ['FLOAT', 'DOUBLE', 'VARCHAR'],
    inPostgres: ['real', 'double precision', 'numeric', 'text'],
  },
  truth,
]
const words = [
  'München',
  'a,b',
  'say "hi"',
  'two\nlines',
  '007',
  '1.10',
  'yes',
  'Ñandú 🦩',
  'a\\b',
  '2026-01-03',
]
const categories: readonly Kind[] = [
  { draw: () => oneOf(words), inParquet: ['VARCHAR', 'BLOB'], inPostgres: ['text', 'varchar(40)'] },
  wholeNumbers,
  cents,
  shares,
  truth,
  {
    draw: () => `2025-0${1 + whole(9)}-1${whole(10)}`,
    inParquet: ['DATE', 'VARCHAR'],
    inPostgres: ['date', 'text'],
  },
]
const naive = ['TIMESTAMP', 'TIMESTAMP_NS', 'TIMESTAMP_S']
const columns: Record<string, () => Kind> = {
  n: () => oneOf(numbers),
  m: () => oneOf(numbers),
  c: () => oneOf(categories),
  d: () => oneOf(categories),
}
const fixed: Record<string, Omit<Kind, 'draw'>> = {
  id: { inParquet: ['INTEGER', 'BIGINT', 'VARCHAR', 'BLOB'], inPostgres: ['integer', 'bigint', 'text'] },
  at: {
    inParquet: [...naive, 'TIMESTAMP WITH TIME ZONE', 'VARCHAR'],
    inPostgres: ['timestamp', 'timestamptz'],
  },
  y: { inParquet: ['BOOLEAN', 'INTEGER', 'VARCHAR', 'BLOB'], inPostgres: ['boolean', 'integer', 'text'] },
}
const names = ['id', 'at', 'n', 'm', 'c', 'd', 'y'] as const

type Types = Record<string, string>
interface Table {
  kinds: Record<string, Omit<Kind, 'draw'>>
  rows: (string | null)[][]
}

function drawTable(): Table {
  const drawn = Object.fromEntries(Object.entries(columns).map(([name, draw]) => [name, draw()]))
  const first = Date.UTC(2026, 0, 1)
  // In the first of three files, this column has no value.
  const empty = oneOf([...Object.keys(columns), 'none'])
  const rows = Array.from({ length: 30 + whole(30) }, (_, row) => {
    const at = new Date(first + whole(4_000_000) * 1_000).toISOString().replace('T', ' ').slice(0, 19)
    const features = Object.entries(drawn).map(([name, { draw }]) =>
      (whole(10) === 0 && row > 8) || (name === empty && row % 3 === 0) ? null : draw(),
    )
    return [String(row), at, ...features, String(whole(2))]
  })
  return { kinds: { ...fixed, ...drawn }, rows }
}

/** One type for each column. */
const typesIn = ({ kinds }: Table, container: 'inParquet' | 'inPostgres'): Types =>
  Object.fromEntries(names.map((name) => [name, oneOf(kinds[name]![container])]))

const model = (source: ReturnType<typeof parquet>) =>
  defineModel({
    name: 'equal',
    features: {
      n: number({ missing: 'fill' }),
      m: number({ missing: 'fill' }),
      c: category({ missing: 'fill' }),
      sum: number({ missing: 'fill' }),
      word: category({ missing: 'fill' }),
    },
    prepare: {
      fields: { d: category({ missing: 'fill' }) },
      columns: { sum: 'n * 3 + coalesce(m, 0.1)', word: `c || '/' || coalesce(upper(d), '–')` },
    },
    label: yesNo({ column: 'y', positive: 'yes' }),
    source,
    split: random({ test: 0.3 }),
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
  })

/** The digest of what a model reads from its snapshot; or the message of a refusal. */
async function digestOf(source: ReturnType<typeof parquet>): Promise<string> {
  const { definition } = model(source)
  const taken = await writeSnapshot({ definition, asOf: '2026-03-01T00:00:00Z', store, artifacts }).catch(
    (error: Error & { code?: string }) => {
      if (error.code !== 'source_unreadable') throw error
      return error.message
    },
  )
  if (typeof taken === 'string') return taken
  const path = await artifacts.locate('snapshots', taken.digest)
  const read = await withDuck((duck) =>
    duck.rows(
      `select cast(id as varchar) as id, _part, _key, _event_at, _known_at, _label, n, m, c, d, sum, word from ${textLiteral(path)} order by cast(id as int)`,
    ),
  )
  return createHash('sha256').update(JSON.stringify(read)).digest('hex')
}

const keys = { key: ['id'], eventTime: 'at' }

function csvOf({ rows }: Table): Promise<string> {
  const newline = oneOf(['\n', '\r\n'])
  const [delimiter, mark] = [oneOf([',', ';', '\t']), oneOf(['', '\ufeff'])]
  const flags = oneOf([
    ['no', 'yes'],
    ['0', '1'],
    ['False', 'True'],
    ['f', 't'],
  ])
  const inZone = (at: string, zone: string) =>
    zone === '+02:00'
      ? `${new Date(Date.parse(`${at}Z`) + 7_200_000).toISOString().slice(0, 19)}${zone}`
      : `${at}${zone}`
  const zone = oneOf(['', 'Z', ' UTC', '+02:00'])
  const quote = (value: string) => (/[",;\t\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
  const lines = rows.map((row) =>
    row
      .map((value, at) =>
        value === null
          ? ''
          : names[at] === 'y'
            ? flags[Number(value)]!
            : quote(names[at] === 'at' ? inZone(value, zone) : value),
      )
      .join(delimiter),
  )
  const path = join(folder, 'table.csv')
  writeFileSync(path, mark + [names.join(delimiter), ...lines, ''].join(newline))
  return digestOf(csv(path, keys))
}

/** Writes the rows as a Parquet file of these types. */
const put = (path: string, rows: Table['rows'], types: Types) =>
  withDuck(async (duck) => {
    await duck.run(`create temp table t (${names.map((name) => `"${name}" varchar`).join(', ')})`)
    const cells = rows.map(
      (row) => `(${row.map((cell) => (cell === null ? 'null' : textLiteral(cell))).join(', ')})`,
    )
    await duck.run(`insert into t values ${cells.join(', ')}`)
    const casts = names.map((name) =>
      types[name] === 'BLOB'
        ? `encode("${name}") as "${name}"`
        : `cast("${name}" as ${types[name]}) as "${name}"`,
    )
    const options = [
      `compression ${oneOf(['snappy', 'zstd', 'uncompressed'])}`,
      `parquet_version ${oneOf(['v1', 'v2'])}`,
      `dictionary_size_limit ${oneOf([1, 100_000])}`,
    ]
    await duck.run(
      `copy (select ${casts.join(', ')} from t) to ${textLiteral(path)} (format parquet, ${options.join(', ')})`,
    )
  })

async function parquetOf(table: Table): Promise<string> {
  const path = join(folder, 'table.parquet')
  await put(path, table.rows, typesIn(table, 'inParquet'))
  return digestOf(parquet(path, keys))
}

/** Three files. Numbers differ in type from file to file; `odd`: the last one has texts where the others have numbers. */
async function partsOf(table: Table, odd: boolean): Promise<string> {
  const parts = join(folder, 'parts')
  rmSync(parts, { recursive: true, force: true })
  mkdirSync(parts)
  const same = typesIn(table, 'inParquet')
  const isText = (type: string) => type === 'VARCHAR' || type === 'BLOB'
  const times = naive.includes(same['at']!) ? naive : [same['at']!]
  for (let part = 0; part < 3; part++) {
    const types: Types = { ...same, at: oneOf(times), id: oneOf(['INTEGER', 'BIGINT']) }
    for (const name of ['n', 'm'])
      types[name] = oneOf(table.kinds[name]!.inParquet.filter((type) => !isText(type)))
    if (odd && part === 2) types['n'] = 'VARCHAR'
    const rows = table.rows.filter((_, row) => row % 3 === part)
    for (const [at, name] of names.entries()) {
      if (['c', 'd', 'y'].includes(name) && isText(same[name]!)) types[name] = oneOf(['VARCHAR', 'BLOB'])
      if (rows.every((row) => row[at] === null)) types[name] = oneOf(['VARCHAR', 'INTEGER', 'DATE'])
    }
    await put(join(parts, `${part}.parquet`), rows, types)
  }
  return digestOf(parquet(`${parts}/*.parquet`, keys))
}

async function postgresOf(table: Table): Promise<string> {
  const types = typesIn(table, 'inPostgres')
  await store.query(sql`drop table if exists equal_rows`)
  const casts = names.map((name) => `${name}::${types[name]} as ${name}`).join(', ')
  await store.query(sql`
    create table equal_rows as select ${raw(casts)}
    from jsonb_to_recordset(${JSON.stringify(table.rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at]]))))}::jsonb)
      as t(${raw(names.map((name) => `${name} text`).join(', '))})`)
  await store.query(sql`grant select on equal_rows to tenure_reader`)
  return digestOf(postgres({ rows: 'select * from equal_rows', ...keys }))
}

it(`${tables} drawn tables are one snapshot from CSV, Parquet, several Parquet files and Postgres (seed ${seed})`, async () => {
  for (let at = 0; at < tables; at++) {
    const table = drawTable()
    const wanted = await csvOf(table)
    expect(wanted, `table ${at} as a CSV`).toMatch(/^[0-9a-f]{64}$/)
    expect(await parquetOf(table), `table ${at} as Parquet`).toBe(wanted)
    expect(await parquetOf(table), `table ${at} as Parquet of other types`).toBe(wanted)
    expect(await partsOf(table, false), `table ${at} as three Parquet files`).toBe(wanted)
    expect(await partsOf(table, true), `table ${at} as three files, of numbers and texts`).toMatch(
      /parts\/2\.parquet, column "n": has texts .* and .*parts\/[01]\.parquet has (numbers|truth values)/,
    )
    expect(await postgresOf(table), `table ${at} in Postgres`).toBe(wanted)
  }
})
