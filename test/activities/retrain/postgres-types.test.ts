/**
 * Tests one reading of each declared type over the types of Postgres, on a real one: in a snapshot, and in batches whose keys are the row
 * alone or the row and the column.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freezeBatch } from '../../../activities/batch/freeze-input.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { Deps } from '../../../activities/deps.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { category, defineModel, direct, number, postgres, random, yesNo } from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Batch } from '../../../store/serving/batches.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let root: string
let store: Store
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-known-'))
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store.close()
  await rm(root, { recursive: true })
})

interface Reading {
  values: string[]
  /** Absent where the texts are the values themselves. */
  texts?: string[]
  /** Absent where a value is no number. */
  numbers?: number[]
}

const longIds = ['123456789012345678', '123456789012345679']
const nullOf = '2.50'

/** Every type that a column with a category or a number may have. */
const readings: Record<string, Reading> = {
  smallint: { values: ['2', '-3'], numbers: [2, -3] },
  integer: { values: ['2', '30'], numbers: [2, 30] },
  bigint: { values: longIds, numbers: longIds.map(Number) },
  numeric: { values: ['2', nullOf], numbers: [2, 2.5] },
  'numeric(10,0)': { values: ['2', '0'], numbers: [2, 0] },
  'numeric(12,2)': { values: ['2.00', '-0.50'], numbers: [2, -0.5] },
  'numeric(20,0)': { values: longIds, numbers: longIds.map(Number) },
  'numeric(50,4)': { values: [`${'9'.repeat(44)}.1000`, '1.0000'], numbers: [1e44, 1] },
  real: { values: ['0.1', '2.5'], numbers: [0.1, 2.5] },
  'double precision': { values: ['0.1', '-2.5'], numbers: [0.1, -2.5] },
  boolean: { values: ['true', 'false'], numbers: [1, 0] },
  date: { values: ['2026-01-03', '1999-12-31'] },
  timestamp: { values: ['2026-01-03 00:00:00', '2026-01-03 12:30:00.5'] },
  timestamptz: {
    values: ['2026-01-03 01:00:00+01', '2026-01-03 12:30:00+00'],
    texts: ['2026-01-03 00:00:00+00', '2026-01-03 12:30:00+00'],
  },
  time: { values: ['12:30:00', '00:00:01'] },
  uuid: { values: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'] },
  text: { values: ['München', ' a '] },
  'varchar(10)': { values: ['007', '7.50'], numbers: [7, 7.5] },
  'char(10)': { values: ['4711', 'München'] },
  'char(8)': { values: ['4711', '7.5'], numbers: [4711, 7.5] },
  bytea: { values: ['\\x4dc3bc6e6368656e', '\\x37'], texts: ['München', '7'] },
}

const select = 'select id, x, value, y from typed'

async function table(type: string, { values }: Reading): Promise<void> {
  await store.query(sql`drop table if exists typed`)
  await store.query(sql`
    create table typed as select i as id, sin(i)::float8 as x, (i % 3 = 0) as y,
      case when i % 7 < 3 then ${values[0]} when i % 7 < 6 then ${values[1]} end::${raw(type)} as value
    from generate_series(1, 60) as i`)
  await store.query(sql`grant select on typed to tenure_reader`)
}

/** The values of the table by the residue of the row. */
const byRow = (pair: readonly unknown[]) =>
  Array.from({ length: 60 }, (_, at) => ((at + 1) % 7 < 3 ? pair[0] : (at + 1) % 7 < 6 ? pair[1] : null))

const modelOf = (feature: ReturnType<typeof category> | ReturnType<typeof number>) =>
  defineModel({
    name: 'typed',
    features: { value: feature, x: number() },
    label: yesNo({ column: 'y', positive: 'yes' }),
    source: postgres({ rows: select, key: ['id'] }),
    split: random({ test: 0.3 }),
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
  })

async function snapshotValues(feature: Parameters<typeof modelOf>[0]): Promise<unknown[]> {
  const artifacts = openArtifacts(root)
  const { definition } = modelOf(feature)
  const { digest } = await writeSnapshot({ definition, asOf: new Date().toISOString(), store, artifacts })
  return valuesOf(await artifacts.locate('snapshots', digest))
}

async function batchValues(kind: 'number' | 'category', key: string[]): Promise<unknown[]> {
  const manifest = {
    features: { value: { kind, missing: 'fill' }, x: { kind: 'number' } },
    preprocessing: [],
  } as unknown as Manifest
  const batch = {
    id: 'b',
    input: { kind: 'sql', query: select },
    output: { kind: 'file', key },
  } as unknown as Batch
  const frozen = { store: { ...store, query: () => Promise.resolve([]) }, artifacts: openArtifacts(root) }
  return withDuck(async (duck) => {
    const deps = frozen as unknown as Deps
    return valuesOf((await freezeBatch(deps, duck, { batch, manifest, subjectKey: undefined })).path, kind)
  })
}

/** The values as training and batches take them from the file. */
const valuesOf = (path: string, kind?: 'number' | 'category'): Promise<unknown[]> =>
  withDuck(async (duck) => {
    const cast = kind === undefined ? 'value' : `cast(value as ${kind === 'number' ? 'double' : 'varchar'})`
    const rows = await duck.rows<{ value: unknown }>(
      `select ${cast} as value from ${textLiteral(path)} order by cast(id as bigint)`,
    )
    return rows.map(({ value }) => value)
  })

it.each(Object.entries(readings))(
  'a %s of Postgres is one text in snapshots and in batches with any key',
  async (type, reading) => {
    await table(type, reading)
    const texts = byRow(reading.texts ?? reading.values)
    expect(await snapshotValues(category({ missing: 'fill' }))).toEqual(texts)
    expect(await batchValues('category', ['id'])).toEqual(texts)
    expect(await batchValues('category', ['id', 'value'])).toEqual(texts)
  },
)

it.each(Object.entries(readings))(
  'a %s of Postgres is one number in snapshots and in batches with any key, or is refused with its value',
  async (type, reading) => {
    await table(type, reading)
    if (reading.numbers === undefined) {
      await expect(snapshotValues(number({ missing: 'fill' }))).rejects.toThrow(/value/)
      await expect(batchValues('number', ['id'])).rejects.toThrow(/value/)
      return
    }
    const numbers = byRow(reading.numbers)
    expect(await snapshotValues(number({ missing: 'fill' }))).toEqual(numbers)
    expect(await batchValues('number', ['id'])).toEqual(numbers)
    expect(await batchValues('number', ['id', 'value'])).toEqual(numbers)
  },
)

it('bytes that are no text, infinite times and years before Christ are refused with their column and value', async () => {
  await table('bytea', { values: ['\\xff', '\\x37'] })
  await expect(snapshotValues(category())).rejects.toThrow(/column "value": `\\xff` is not a text/)
  await table('date', { values: ['0044-03-15 BC', '2026-01-03'] })
  await expect(snapshotValues(category())).rejects.toThrow(/column "value": `0044-03-15 BC` is not a time/)
  for (const type of ['date', 'timestamp', 'timestamptz'])
    for (const value of ['infinity', '-infinity']) {
      await table(type, { values: [value, '2026-01-03'] })
      await expect(snapshotValues(category())).rejects.toThrow(`column "value": \`${value}\` is not a time`)
    }
})
