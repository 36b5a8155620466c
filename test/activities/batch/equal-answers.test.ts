/**
 * Tests that one row gets one prediction, whatever brings it: a JSON request, a batch of a CSV, of Parquet or of a query, or a feature view.
 * The rows are drawn: TENURE_TEST_TABLES=50 draws 50 tables, TENURE_TEST_SEED draws others.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { scoreBatch } from '../../../activities/batch/batch.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { ingestViewUntil } from '../../../activities/features/ingest-view.ts'
import type { BatchInput } from '../../../domain/model/batch-spec.ts'
import type { Features } from '../../../domain/model/features.ts'
import { unreadFits } from '../../../domain/model/preprocessing.ts'
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { valueDraws } from '../../support/draws.ts'
import { category, csv, number, parquet, postgres, view } from '../../../models/define.ts'
import { greyPng } from '../../../packages/predictors/test/support/png-writer.ts'
import { insertBatch } from '../../../store/serving/batches.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { randomLayer, seeded, type ArtifactSpec } from '../../support/serving/artifact.ts'
import {
  askLater,
  servingFixtureOn,
  startReplica,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const environment = environmentWith({})
const tables = Number(environment['TENURE_TEST_TABLES'] ?? 1)
const seed = Number(environment['TENURE_TEST_SEED'] ?? 1)

/** A source of a feature view is a file of the project. */
const folder = join('node_modules', '.cache', `tenure-answers-${process.pid}`)
let deps: ActivityDeps
let fixture: ServingFixture
let replica: TestReplica
beforeAll(async () => {
  deps = await openActivityDeps()
  const { databaseUrl, artifactRoot, batchDir } = deps.config
  for (const path of [folder, batchDir]) mkdirSync(path, { recursive: true })
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  replica = await startReplica(fixture)
})
afterAll(async () => {
  await replica.stop()
  await fixture.close()
  await deps.close()
  rmSync(folder, { recursive: true })
})

const { chance, whole, oneOf } = valueDraws(seed)

/** How the values of a feature are drawn, and the types that hold all of them alike. */
interface Kind {
  kind: 'number' | 'category'
  draw: () => string
  inParquet: readonly string[]
  inPostgres: readonly string[]
}

const words = ['007', '7', '1.10', '1.1', 'yes', 'no', 'true', 'München', 'a,b', 'Ñandú 🦩', '2026-01-03']
const longIds = ['9007199254740992', '9007199254740993', '123456789012345678', '123456789012345679']
const kinds: Record<string, Kind> = {
  count: {
    kind: 'number',
    draw: () => String(whole(1_000) - 500),
    inParquet: ['SMALLINT', 'BIGINT', 'DOUBLE', 'FLOAT', 'DECIMAL(12,3)', 'VARCHAR', 'BLOB'],
    inPostgres: ['smallint', 'bigint', 'numeric', 'real', 'double precision', 'text', 'char(8)'],
  },
  price: {
    kind: 'number',
    draw: () => (whole(100_000) / 100 - 500).toFixed(2),
    inParquet: ['DOUBLE', 'DECIMAL(12,2)', 'VARCHAR', 'BLOB'],
    inPostgres: ['double precision', 'numeric(12,2)', 'numeric', 'text'],
  },
  ratio: {
    kind: 'number',
    draw: () => `${whole(1_000)}.${1_000_000_000 + whole(9_000_000_000)}`,
    inParquet: ['DECIMAL(30,10)', 'DECIMAL(38,12)', 'DOUBLE', 'VARCHAR'],
    inPostgres: ['numeric', 'numeric(30,10)', 'text'],
  },
  warmth: {
    kind: 'number',
    draw: () => String(Math.fround(chance() * 50)),
    inParquet: ['FLOAT', 'DOUBLE', 'VARCHAR'],
    inPostgres: ['real', 'double precision', 'numeric', 'text'],
  },
  flag: {
    kind: 'number',
    draw: () => oneOf(['true', 'false']),
    inParquet: ['BOOLEAN', 'VARCHAR'],
    inPostgres: ['boolean', 'text'],
  },
  code: {
    kind: 'category',
    draw: () => oneOf(words),
    inParquet: ['VARCHAR', 'BLOB'],
    inPostgres: ['text', 'varchar(40)', 'char(20)'],
  },
  long: {
    kind: 'category',
    draw: () => oneOf(longIds),
    inParquet: ['BIGINT', 'UBIGINT', 'DECIMAL(20,0)', 'VARCHAR'],
    inPostgres: ['bigint', 'numeric', 'numeric(20,0)', 'text', 'char(20)'],
  },
  shop: {
    kind: 'category',
    draw: () => String(whole(5)),
    inParquet: ['TINYINT', 'INTEGER', 'BIGINT', 'DECIMAL(9,0)', 'VARCHAR', 'BLOB'],
    inPostgres: ['integer', 'bigint', 'numeric', 'numeric(9,0)', 'text', 'char(3)'],
  },
  member: {
    kind: 'category',
    draw: () => oneOf(['true', 'false']),
    inParquet: ['BOOLEAN', 'VARCHAR'],
    inPostgres: ['boolean', 'text'],
  },
  rate: {
    kind: 'category',
    draw: () => oneOf(['2.00', '-0.50', '10.25', '3.10']),
    inParquet: ['DECIMAL(12,2)', 'VARCHAR'],
    inPostgres: ['numeric', 'numeric(12,2)', 'text'],
  },
  day: {
    kind: 'category',
    draw: () => `2025-01-0${1 + whole(5)}`,
    inParquet: ['DATE', 'VARCHAR'],
    inPostgres: ['date', 'text'],
  },
}
/** Entities of the feature view; drawn for each table. */
const ids: readonly (Omit<Kind, 'kind' | 'draw'> & { of: (row: number) => string })[] = [
  {
    of: (row) => String(row),
    inParquet: ['INTEGER', 'BIGINT', 'VARCHAR', 'DOUBLE'],
    inPostgres: ['integer', 'numeric', 'text', 'double precision'],
  },
  {
    of: (row) => `00${row}`,
    inParquet: ['VARCHAR', 'BLOB'],
    inPostgres: ['text', 'char(12)', 'varchar(12)'],
  },
  {
    of: (row) => String(9_007_199_254_740_993n + BigInt(row)),
    inParquet: ['BIGINT', 'DECIMAL(20,0)', 'VARCHAR'],
    inPostgres: ['bigint', 'numeric', 'text'],
  },
]
const names = ['id', ...Object.keys(kinds)]

/** What a version has learned of each category: some of the texts that are drawn. */
const vocabularies: Record<string, string[]> = {
  code: ['007', '1.1', '1.10', '7', 'München', 'a,b', 'true', 'yes'],
  long: longIds.slice(0, 3),
  shop: ['0', '1', '3', '4'],
  member: ['false', 'true'],
  rate: ['-0.50', '2.00', '3.10'],
  day: ['2025-01-01', '2025-01-02', '2025-01-04'],
}
const preprocessing = Object.entries(kinds).map(([name, { kind }]): FeatureFit =>
  kind === 'number'
    ? { name, kind, mean: 1, std: 100, fill: 3 }
    : { name, kind, vocabulary: vocabularies[name]! },
)
const inputs = preprocessing.reduce(
  (sum, fit) => sum + (fit.kind === 'number' ? 1 : fit.vocabulary.length + 1),
  0,
)
const layer = randomLayer(inputs, 1, 'linear', seeded(7))
const plain: Features = Object.fromEntries(
  Object.entries(kinds).map(([name, { kind }]) => [name, { kind, missing: 'fill' as const }]),
)
const specOf = (features: Features): ArtifactSpec => ({
  model: uniqueName('answers'),
  features,
  output: { kind: 'number' },
  preprocessing,
  layers: [layer],
  golden: [
    Object.fromEntries(preprocessing.map(({ name, kind }) => [name, kind === 'number' ? 1 : 'other'])),
  ],
})

/** Registers a version and serves it. */
async function serve(spec: ArtifactSpec): Promise<{ model: string; version: string }> {
  const version = await fixture.register(spec)
  await replica.follows(await fixture.route(spec.model, { proven: version }))
  return { model: spec.model, version }
}

interface Table {
  id: (typeof ids)[number]
  rows: (string | null)[][]
}

function drawTable(): Table {
  const id = oneOf(ids)
  const rows = Array.from({ length: 60 }, (_, row) => [
    id.of(row),
    ...Object.values(kinds).map(({ draw }) => (whole(10) === 0 ? null : draw())),
  ])
  return { id, rows }
}

const typesIn = ({ id }: Table, container: 'inParquet' | 'inPostgres'): string[] =>
  [id, ...Object.values(kinds)].map((each) => oneOf(each[container]))

/** Every feature is computed from a field, which has the name of its drawn column. */
function computedOf(fields: Features): ArtifactSpec {
  const made = Object.entries(fields).map(([name, { kind }]): [string, Features[string]] => [
    `${name}Made`,
    {
      kind: kind === 'number' ? kind : 'category',
      missing: 'fill',
      sql: kind === 'number' ? `${name} / 1` : `substr(${name}, 1)`,
    },
  ])
  const spec = specOf({
    ...Object.fromEntries(made),
    ...Object.fromEntries(
      Object.entries(fields).map(([name, field]) => [name, { ...field, use: 'prepare' as const }]),
    ),
  })
  const fits = preprocessing.map((fit) => ({ ...fit, name: `${fit.name}Made` }))
  spec.preprocessing = [...fits, ...unreadFits(spec.features)]
  spec.golden = spec.golden.map((row) => ({
    ...row,
    ...Object.fromEntries(Object.entries(row).map(([name, value]) => [`${name}Made`, value])),
  }))
  return spec
}

/** The predictions of JSON requests. */
async function requested(model: string, instances: object[]): Promise<number[]> {
  const { predictions } = await askLater(replica, model, { instances })
  return predictions.map(({ value }) => Math.fround(value!))
}

/** A value of a request: a number, true and false as such or as a number, and every category as a text. */
function sent(name: string, text: string | null): unknown {
  if (text === null) return null
  if (text === 'true' || text === 'false') return oneOf([text === 'true', sentFlag(name, text)])
  return kinds[name]?.kind === 'number' ? Number(text) : text
}
const sentFlag = (name: string, text: string) =>
  kinds[name]!.kind === 'number' ? Number(text === 'true') : text

/** The predictions of a batch, or why rows have none. Its key has columns of every type. */
async function scored(
  { model, version }: { model: string; version: string },
  input: BatchInput,
  columns: readonly string[],
): Promise<unknown[]> {
  const id = uniqueName('bat')
  const key = columns.filter(() => whole(2) === 0)
  const output = { kind: 'table' as const, key }
  await insertBatch(deps.store, { id, model, version, input, output, requestedBy: 'olga' })
  await new MockActivityEnvironment().run(scoreBatch(deps), { id })
  const rows = await deps.store.query<{ outputs: number[] | null; problem: string | null }>(
    sql`select outputs, problem from batch_predictions where batch_id = ${id} order by row`,
  )
  return rows.map(({ outputs, problem }) => (outputs === null ? problem : Math.fround(outputs[0]!)))
}

/** The table in the place of a file. */
const tableAt = (path: string) => `"${basename(path)}"`
const quote = (value: string) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)

/** Writes rows as a file or a table, with types that hold them. */
const roads = {
  async csv(table: Table, columns: readonly string[], path: string): Promise<void> {
    const lines = table.rows.map((row) =>
      columns.map((name) => quote(row[names.indexOf(name)] ?? '')).join(','),
    )
    writeFileSync(path, [columns.join(','), ...lines, ''].join('\n'))
  },
  async parquet(table: Table, columns: readonly string[], path: string): Promise<void> {
    const types = typesIn(table, 'inParquet')
    await withDuck(async (duck) => {
      await duck.run(`create temp table t (${names.map((name) => `"${name}" varchar`).join(', ')})`)
      const cells = table.rows.map(
        (row) => `(${row.map((cell) => (cell === null ? 'null' : textLiteral(cell))).join(', ')})`,
      )
      await duck.run(`insert into t values ${cells.join(', ')}`)
      const casts = columns.map((name) => {
        const type = types[names.indexOf(name)]!
        return type === 'BLOB' ? `encode("${name}") as "${name}"` : `cast("${name}" as ${type}) as "${name}"`
      })
      await duck.run(`copy (select ${casts.join(', ')} from t) to ${textLiteral(path)} (format parquet)`)
    })
  },
  async postgres(table: Table, columns: readonly string[], path: string): Promise<void> {
    const types = typesIn(table, 'inPostgres')
    const casts = columns.map((name) => `"${name}"::${types[names.indexOf(name)]} as "${name}"`).join(', ')
    const rows = table.rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at]])))
    await deps.store.query(sql`
      create table ${raw(tableAt(path))} as select ${raw(casts)} from (
        select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(${raw(names.map((name) => `"${name}" text`).join(', '))})) as rows`)
    await deps.store.query(sql`grant select on ${raw(tableAt(path))} to tenure_reader`)
  },
}

/** Writes rows as the input of a batch. */
async function inputOf(road: keyof typeof roads, table: Table, columns = names): Promise<BatchInput> {
  const path = `${uniqueName('input')}.${road}`
  await roads[road](table, columns, join(deps.config.batchDir, path))
  return road === 'postgres'
    ? { kind: 'sql', query: `select * from ${tableAt(path)}` }
    : { kind: 'file', path }
}

/** Stores rows as the values of a feature view. */
async function viewOf(road: keyof typeof roads, table: Table): Promise<FeatureView> {
  const name = uniqueName('view')
  const path = join(folder, `${name}.${road}`)
  await roads[road](table, names, path)
  const rows = `select *, timestamp '2026-01-01 00:00:00' as at from ${road === 'postgres' ? tableAt(path) : 'source'}`
  const options = { rows, eventTime: 'at' }
  const { definition } = view(name, {
    entity: 'id',
    source:
      road === 'csv' ? csv(path, options) : road === 'parquet' ? parquet(path, options) : postgres(options),
    knownAt: 'at',
    values: Object.fromEntries(
      Object.entries(kinds).map(([column, { kind }]) => [column, kind === 'number' ? number() : category()]),
    ),
    timeToLive: '36500 d',
  })
  await ingestViewUntil(deps.store, [definition], { asOfMs: Date.now(), subjectKey: undefined })
  return definition
}

/** Features that are looked up in a view. */
const lookedUpIn = ({ name, digest }: FeatureView): Features =>
  Object.fromEntries(
    Object.entries(plain).map(([value, feature]) => [
      value,
      {
        ...feature,
        from: {
          view: name,
          digest,
          value,
          by: ['id'],
          timeToLiveMs: 1e13,
          freshMs: 600_000,
          withinMs: 15_000,
        },
      },
    ]),
  )

it(`drawn tables get one prediction per row from requests, batches and feature views (${tables} from seed ${seed})`, async () => {
  const own = await serve(specOf(plain))
  const computing = await serve(computedOf(plain))
  for (let at = 0; at < tables; at++) {
    const table = drawTable()
    const [, ...features] = names
    const instances = table.rows.map(([, ...values]) =>
      Object.fromEntries(features.map((name, column) => [name, sent(name, values[column]!)])),
    )
    const wanted = await requested(own.model, instances)
    expect(new Set(wanted).size).toBeGreaterThan(50)
    expect(await requested(computing.model, instances), `table ${at}, with computed columns`).toEqual(wanted)
    for (const road of ['csv', 'parquet', 'postgres'] as const)
      expect(
        await scored(computing, await inputOf(road, table), names),
        `table ${at} as a batch with computed columns: ${road}`,
      ).toEqual(wanted)
    for (const road of ['csv', 'parquet', 'parquet', 'postgres', 'postgres'] as const)
      expect(await scored(own, await inputOf(road, table), names), `table ${at} as a batch: ${road}`).toEqual(
        wanted,
      )
    for (const road of ['csv', 'parquet', 'postgres'] as const) {
      const looking = await serve(specOf(lookedUpIn(await viewOf(road, table))))
      const asked = table.rows.map(([id]) => ({ id }))
      expect(await requested(looking.model, asked), `table ${at} in a feature view: ${road}`).toEqual(wanted)
      const by = oneOf(['csv', 'parquet', 'postgres'] as const)
      expect(
        await scored(looking, await inputOf(by, table, ['id']), ['id']),
        `table ${at} in a feature view: ${road}, by a batch: ${by}`,
      ).toEqual(wanted)
    }
  }
})

it('a vector gets one prediction from requests and batches, and one of another length none', async () => {
  const own = await serve({
    model: uniqueName('vectors'),
    features: { place: { kind: 'vector', length: 3 }, count: { kind: 'number' } },
    output: { kind: 'number' },
    preprocessing: [
      { name: 'place', kind: 'category', vocabulary: [], encoding: 'elements', length: 3 },
      { name: 'count', kind: 'number', mean: 1, std: 100, fill: null },
    ],
    layers: [randomLayer(4, 1, 'linear', seeded(7))],
    golden: [{ place: '[1,2,3]', count: 1 }],
  })
  const rows = Array.from({ length: 300 }, () => ({
    place: Array.from({ length: 3 }, () => chance() * 10 ** whole(9)),
    count: whole(100),
  }))
  const wanted = await requested(own.model, rows)
  expect(new Set(wanted).size).toBeGreaterThan(50)
  const list = rows.map(({ place, count }, id) => `(${id}, '${JSON.stringify(place)}', ${count})`)
  const short = [...list.slice(0, -1), "(300, '[1, 2]', 3)"]
  for (const [type, format] of [
    ['double[]', 'parquet'],
    ['varchar', 'parquet'],
    ['double[]', 'csv'],
    ['varchar', 'csv'],
  ] as const)
    for (const values of [list, short]) {
      const path = `${uniqueName('input')}.${format}`
      const to = textLiteral(join(deps.config.batchDir, path))
      await withDuck((duck) =>
        duck.run(
          `copy (select id, place::${type} as place, count from (values ${values.join(', ')}) as t(id, place, count)) to ${to} (format ${format})`,
        ),
      )
      const found = await scored(own, { kind: 'file', path }, ['id'])
      expect(found.slice(0, -1), `${format} of ${type}`).toEqual(wanted.slice(0, -1))
      if (values === list) expect(found).toEqual(wanted)
      else expect(String(found.at(-1))).toContain('is no list of 3 finite numbers')
    }
})

it('an image gets one prediction from requests and batches, and one of another size none', async () => {
  const own = await serve({
    model: uniqueName('images'),
    features: { scan: { kind: 'image' }, count: { kind: 'number' } },
    output: { kind: 'number' },
    preprocessing: [
      {
        name: 'scan',
        kind: 'category',
        vocabulary: [],
        encoding: 'pixels',
        image: { height: 2, width: 2, channels: 1, order: 'CHW' },
      },
      { name: 'count', kind: 'number', mean: 1, std: 100, fill: null },
    ],
    layers: [randomLayer(5, 1, 'linear', seeded(7))],
    golden: [{ scan: greyPng(2, [1, 2, 3, 4]), count: 1 }],
  })
  const rows = Array.from({ length: 300 }, () => ({
    scan: greyPng(
      2,
      Array.from({ length: 4 }, () => whole(256)),
    ),
    count: whole(100),
  }))
  const wanted = await requested(own.model, rows)
  expect(new Set(wanted).size).toBeGreaterThan(50)
  const list = rows.map(({ scan, count }, id) => `(${id}, '${scan}', ${count})`)
  const path = `${uniqueName('input')}.parquet`
  const values = [...list.slice(0, -1), `(300, '${greyPng(1, [1, 2])}', 3)`].join(', ')
  await withDuck((duck) =>
    duck.run(
      `copy (select * from (values ${values}) as t(id, scan, count)) to ${textLiteral(join(deps.config.batchDir, path))} (format parquet)`,
    ),
  )
  const found = await scored(own, { kind: 'file', path }, ['id'])
  expect(found.slice(0, -1)).toEqual(wanted.slice(0, -1))
  expect(String(found.at(-1))).toContain('has 1 × 2 pixels, and the model takes 2 × 2 pixels')
})

it('a row for which an expression fails is refused in a batch with the name of the feature, and the others are scored', async () => {
  const spec = computedOf(plain)
  spec.features['countMade'] = { ...spec.features['countMade']!, sql: 'sqrt(count)' }
  const failing = await serve(spec)
  const table = drawTable()
  const fails = table.rows.map(([, count]) => Number(count) < 0)
  const problems = await scored(failing, await inputOf('csv', table), names)
  const why = 'the expression of "countMade" in prepare fails for the row, or gives no finite number'
  expect(problems.map((each) => each === why)).toEqual(fails)
  expect(new Set(fails).size).toBe(2)
})
