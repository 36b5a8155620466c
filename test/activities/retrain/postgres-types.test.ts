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
import { ingestViewUntil } from '../../../activities/features/ingest-view.ts'
import type { Deps } from '../../../activities/deps.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { readingsOf, typeSamples, type TypeSample } from '../data/type-table.ts'
import {
  category,
  defineModel,
  direct,
  number,
  postgres,
  random,
  yesNo,
  view,
} from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Batch } from '../../../store/serving/batches.ts'
import type { Store } from '../../../store/postgres.ts'
import { declaring, readingIn } from '../../support/training/declaring.ts'
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

const readings = typeSamples.filter(({ container }) => container === 'Postgres')

const select = 'select id, x, value, y from typed'

async function table(type: string, { values }: Pick<TypeSample, 'values'>): Promise<void> {
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

it.each(readings)(
  'a $type of Postgres is one text in snapshots and in batches with any key',
  async (sample) => {
    await table(sample.type, sample)
    const texts = byRow(readingsOf(sample, 'text')!)
    expect(await snapshotValues(category({ missing: 'fill' }))).toEqual(texts)
    expect(await batchValues('category', ['id'])).toEqual(texts)
    expect(await batchValues('category', ['id', 'value'])).toEqual(texts)
  },
)

it.each(readings)(
  'a $type of Postgres is one number in snapshots and in batches with any key, or is refused with its value',
  async (sample) => {
    await table(sample.type, sample)
    const expected = readingsOf(sample, 'number')
    if (expected === undefined) {
      await expect(snapshotValues(number({ missing: 'fill' }))).rejects.toThrow(/value/)
      await expect(batchValues('number', ['id'])).rejects.toThrow(/value/)
      return
    }
    const numbers = byRow(expected)
    expect(await snapshotValues(number({ missing: 'fill' }))).toEqual(numbers)
    expect(await batchValues('number', ['id'])).toEqual(numbers)
    expect(await batchValues('number', ['id', 'value'])).toEqual(numbers)
  },
)

it.each(readings)(
  'a $type of Postgres is one time and one truth value of a label, or is refused',
  async (sample) => {
    const { type, values } = sample
    await store.query(sql`drop table if exists typed`)
    await store.query(sql`
      create table typed as select i as id, i::float8 as x, i % 3 = 0 as y, timestamp '2026-01-01' as at,
        case when i % 2 = 0 then ${values[0]} else ${values[1]} end::${raw(type)} as value
      from generate_series(0, 59) as i`)
    await store.query(sql`grant select on typed to tenure_reader`)
    for (const declared of ['time', 'flag'] as const) {
      const expected = readingsOf(sample, declared)
      const eventTime = declared === 'time' ? 'value' : 'at'
      const source = postgres({ rows: 'select * from typed', key: ['id'], eventTime })
      const artifacts = openArtifacts(root)
      const asOf = new Date().toISOString()
      const taken = writeSnapshot({ ...declaring(declared, source), asOf, store, artifacts }).then(
        async ({ digest }) => readingIn(await artifacts.locate('snapshots', digest), declared),
      )
      if (expected !== undefined) expect(await taken).toEqual(expected)
      else if (declared === 'flag') await expect(taken).rejects.toThrow(/column "value": `/)
      else await expect(taken).rejects.toThrow(/column "value": .+ is no type of a time/)
    }
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

const infinite = ['date', 'timestamp', 'timestamptz'].flatMap((type) =>
  ['infinity', '-infinity'].map((value) => ({ type, value })),
)

it.each(infinite)(
  'the $type $value of an event, or of its label, is refused, also where a window leaves out older events',
  async ({ type, value }) => {
    await store.query(sql`drop table if exists typed`)
    await store.query(sql`
    create table typed as select i as id, i::float8 as x, i % 3 = 0 as y, timestamp '2026-01-01' as at,
      case i when 7 then ${value} else '2026-01-03' end::${raw(type)} as value from generate_series(0, 59) as i`)
    await store.query(sql`grant select on typed to tenure_reader`)
    const rows = 'select * from typed'
    const artifacts = openArtifacts(root)
    const asOf = new Date().toISOString()
    const { definition } = declaring('time', postgres({ rows, key: ['id'], eventTime: 'value' }))
    const learned = {
      ...definition,
      source: { ...definition.source, eventTime: 'at' },
      label: { ...definition.label, knownAt: 'value' },
    }
    const split = { kind: 'time', trainMs: 2_592_000_000, testMs: 864_000_000, maturedMs: 0 } as const
    for (const each of [definition, learned, { ...definition, split }])
      await expect(writeSnapshot({ definition: each, asOf, store, artifacts })).rejects.toThrow(
        `column "value": \`${value}\` is not a time`,
      )
  },
)

it.each([
  ["timestamptz '-infinity'", 'column "at": `-infinity` is not a time'],
  ["timestamptz 'infinity'", 'column "at": `infinity` is not a time'],
  ["'2026-01-03'::text", 'column "at": text is no type of a time: select it as a timestamptz in `rows`'],
])('a feature view over Postgres refuses the time %s by its column', async (time, message) => {
  const rows = `select 'oslo' as place, ${time} as at, 1.5::float8 as height`
  const { definition } = view('timeless', {
    entity: 'place',
    source: postgres({ rows, eventTime: 'at' }),
    knownAt: 'at',
    values: { height: number() },
    timeToLive: '1 h',
  })
  const ingest = () => ingestViewUntil(store, [definition], { asOfMs: Date.now(), subjectKey: undefined })
  await expect(ingest()).rejects.toThrow(message)
  // A later ingestion reads only what is new.
  await store.query(
    sql`update feature_views set watermark = now() - interval '1 hour' where name = 'timeless'`,
  )
  await expect(ingest()).rejects.toThrow(message)
})
