/**
 * Tests that an erasure leaves nothing of a person, by whichever road the person came in, and everything of persons whose keys look alike. The persons
 * and the types that hold them are drawn: each road takes one kind of key, and with TENURE_TEST_TABLES=20 it takes 20 persons of every kind. The roads are those of the types of the product, so that a new
 * one does not compile until it is here; the stores are the tables of information_schema and the files of snapshots.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { scoreBatch } from '../../../activities/batch/batch.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { withCopiedFiles, withSourceCopies } from '../../../activities/data/source-copies.ts'
import { ingestViewUntil } from '../../../activities/features/ingest-view.ts'
import { dropErasedSnapshots } from '../../../activities/privacy/data-subjects.ts'
import { eraseStage } from '../../../activities/privacy/erase.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { runSourceProgram } from '../../../activities/trainers/source-program.ts'
import { streamCountOf } from '../../../api/streams/counts.ts'
import { createAnswering } from '../../../api/streams/predictions.ts'
import { createStoring, eventRecords, outcomeRecords } from '../../../api/streams/storing.ts'
import type { StreamBatch } from '../../../api/streams/stream.ts'
import type { BatchInput } from '../../../domain/model/batch-spec.ts'
import type { ViewSource } from '../../../domain/model/feature-view.ts'
import type { ModelDefinition, SourceDefinition } from '../../../domain/model-definition.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import {
  category,
  csv,
  defineModel,
  direct,
  number,
  parquet,
  postgres,
  program,
  random,
  served,
  view,
  yesNo,
} from '../../../models/define.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { getErasure, insertErasure } from '../../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../../store/privacy/hashed-subject.ts'
import { insertBatch } from '../../../store/serving/batches.ts'
import { openSubjectKey, type SubjectKey } from '../../../store/signing/subject-hash.ts'
import { insertSnapshot } from '../../../store/training/snapshots.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { valueDraws } from '../../support/draws.ts'
import { randomLayer, seeded } from '../../support/serving/artifact.ts'
import {
  askLater,
  servingFixtureOn,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const environment = environmentWith({})
const times = Number(environment['TENURE_TEST_TABLES'] ?? 0)
const { oneOf } = valueDraws(Number(environment['TENURE_TEST_SEED'] ?? 1))

/** A source is a file of the project. */
const folder = join('node_modules', '.cache', `tenure-erased-roads-${process.pid}`)
let deps: ActivityDeps
let fixture: ServingFixture
let api: TestApi
let key: string
let subjectKey: SubjectKey
beforeAll(async () => {
  deps = await openActivityDeps()
  const { databaseUrl, artifactRoot, signing, batchDir } = deps.config
  for (const path of [folder, batchDir]) mkdirSync(path, { recursive: true })
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  key = await fixture.key()
  api = await startApi(fixture)
  subjectKey = await openSubjectKey(signing.subjectKey)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
  await deps.close()
  rmSync(folder, { recursive: true })
})

/** One person, others whose keys look alike, and the types that hold all of them. Each has digits of its own, so that no case meets another. */
interface People {
  person: string
  /** How a program may write the person in the request of the erasure. */
  asked: readonly string[]
  isNumber?: true
  others: readonly string[]
  inParquet: readonly string[]
  inPostgres: readonly string[]
}

let drawn = 0
const digits = () => 4_711_000 + 10 * drawn++
const texts = { inParquet: ['VARCHAR', 'BLOB'], inPostgres: ['text', 'varchar(40)', 'char(40)'] } as const
const kinds: Record<string, () => People> = {
  'an address': () => {
    const person = `anna-${digits()}@example.org`
    return { person, asked: [person], others: [person.toUpperCase(), `b${person}`], ...texts }
  },
  'digits with zeros before them, as a text': () => {
    const name = digits()
    return {
      person: `00${name}`,
      asked: [`00${name}`],
      others: [`${name}`, `0${name}`, `00${name}.0`],
      ...texts,
    }
  },
  'a number with a decimal, as a text': () => {
    const name = digits()
    return { person: `${name}.0`, asked: [`${name}.0`], others: [`${name}`, `${name}.00`], ...texts }
  },
  'a composed letter': () => {
    const name = `René ${digits()}`
    const [person, other] = [name.normalize('NFC'), name.normalize('NFD')]
    return { person, asked: [person], others: [other], ...texts }
  },
  'a decomposed letter and a quote': () => {
    const name = `d'Ouré "${digits()}", x`
    const [other, person] = [name.normalize('NFC'), name.normalize('NFD')]
    return { person, asked: [person], others: [other], ...texts }
  },
  'a number': () => {
    const name = digits()
    return {
      person: `${name}`,
      isNumber: true,
      asked: [`${name}`, `${name}.0`, `${name}.00`, `+${name}`, `0${name}`, `${name / 10}e1`],
      others: [`${name + 1}`, `${name * 10}`],
      inParquet: ['INTEGER', 'BIGINT', 'DOUBLE', 'DECIMAL(12,2)', 'DECIMAL(20,0)'],
      inPostgres: ['integer', 'bigint', 'numeric', 'numeric(20,2)', 'double precision'],
    }
  },
  'a number of 18 digits': () => {
    const name = 123_456_789_010_000_000n + BigInt(digits())
    return {
      person: `${name}`,
      isNumber: true,
      asked: [`${name}`, `${name}.0`],
      others: [`${name + 1n}`, `${name - 1n}`],
      inParquet: ['BIGINT', 'UBIGINT', 'DECIMAL(20,0)', 'DECIMAL(24,3)'],
      inPostgres: ['bigint', 'numeric', 'numeric(20,0)', 'numeric(24,3)'],
    }
  },
}

/** Rows of a table as a file or a table of Postgres; a column `person` and others that are written as they stand. */
interface Rows {
  people: People
  /** Without the column `person`. */
  columns: Record<string, (row: number) => string>
}
const keysOf = ({ person, others }: People) => [person, ...others]
const personsOf = ({ people }: Rows) => Array.from({ length: 8 }, () => keysOf(people)).flat()

const put = {
  csv(rows: Rows, path: string): void {
    const quote = (value: string) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
    const lines = personsOf(rows).map((person, row) =>
      [quote(person), ...Object.values(rows.columns).map((of) => of(row))].join(','),
    )
    writeFileSync(path, [['person', ...Object.keys(rows.columns)].join(','), ...lines, ''].join('\n'))
  },
  async parquet(rows: Rows, path: string, type = oneOf(rows.people.inParquet)): Promise<void> {
    const cells = personsOf(rows).map((person, row) => {
      const others = Object.entries(rows.columns).map(([, of]) => literal(of(row)))
      const given = textLiteral(person)
      return `(${[type === 'BLOB' ? `encode(${given})` : `${given}::${type}`, ...others].join(', ')})`
    })
    const names = ['person', ...Object.keys(rows.columns)].map((name) => `"${name}"`).join(', ')
    await withDuck((duck) =>
      duck.run(
        `copy (select * from (values ${cells.join(', ')}) as t (${names})) to ${textLiteral(path)} (format parquet)`,
      ),
    )
  },
  async postgres(rows: Rows, path: string): Promise<void> {
    const type = oneOf(rows.people.inPostgres)
    const cells = personsOf(rows).map((person, row) => {
      const others = Object.values(rows.columns).map((of) => literal(of(row)))
      return `(${[`${textLiteral(person)}::${type}`, ...others].join(', ')})`
    })
    const names = ['person', ...Object.keys(rows.columns)].map((name) => `"${name}"`).join(', ')
    const table = raw(`"${basename(path)}"`)
    await deps.store.query(
      sql`create table ${table} as select * from (values ${raw(cells.join(', '))}) as t (${raw(names)})`,
    )
    await deps.store.query(sql`grant select on ${table} to tenure_reader`)
    sources.add(basename(path))
  },
}
const literal = (value: string) =>
  /^\d{4}-/.test(value) ? `timestamp ${textLiteral(value)}` : /^\d+$/.test(value) ? value : textLiteral(value)
/** The tables of callers, which no erasure changes. */
const sources = new Set<string>()

/** What a road has stored; `again` brings the rows of the road once more. */
interface Stored {
  model: string
  again?: () => Promise<void>
}
type Road = (people: People) => Promise<Stored>

const ofModel = (model: string, source: ReturnType<typeof csv>, change: object = {}): ModelDefinition =>
  defineModel({
    name: model,
    features: { size: number() },
    label: yesNo({ column: 'late', positive: 'late' }),
    source,
    split: random({ test: 0.3 }),
    subject: 'person',
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
    ...change,
  } as Parameters<typeof defineModel>[0]).definition

/** Registers the model and takes a snapshot of its rows. */
async function takenFrom(
  source: ReturnType<typeof csv>,
  {
    model = uniqueName('people'),
    asOf = '2026-06-01T00:00:00Z',
    ...change
  }: { model?: string; asOf?: string } = {},
): Promise<Stored> {
  const definition = ofModel(model, source, change)
  const known = await deps.store.query(sql`select from models where name = ${model}`)
  if (known.length === 0) await fixture.register({ ...spec, model })
  await deps.store.query(
    sql`update models set definition = ${JSON.stringify(definition)} where name = ${model}`,
  )
  const again = () =>
    withSourceCopies(
      deps,
      {
        source: definition.source,
        writeRows: async (into) => {
          const { signal } = new AbortController()
          await runSourceProgram(deps, { definition, folder: into, asOf, signal, models: modelsDirectory })
        },
      },
      async (copies) => {
        const { digest, bytes, columns, subjects, subjectIsNumber } = await writeSnapshot({
          definition: { ...definition, source: withCopiedFiles(definition.source, copies) },
          asOf,
          store: deps.store,
          artifacts: deps.artifacts,
          subjectKey,
        })
        await insertSnapshot(deps.store, {
          digest,
          model,
          asOf,
          rows: 1,
          bytes,
          columns,
          source: { subjects, subjectIsNumber },
        })
      },
    )
  await again()
  return { model, again }
}

const tableOf = (people: People): Rows => ({
  people,
  columns: { size: (row) => String(row), late: (row) => String(row % 2) },
})
const keyed = { key: ['person', 'size'] }
const pathOf = (kind: string) => join(folder, `${uniqueName('rows')}.${kind}`)

/** The roads of training rows: those of every kind of source. */
const ofSources: Record<SourceDefinition['kind'] | 'parts' | 'program', Road> = {
  csv: async (people) => {
    const path = pathOf('csv')
    put.csv(tableOf(people), path)
    return takenFrom(csv(path, keyed))
  },
  parquet: async (people) => {
    const path = pathOf('parquet')
    await put.parquet(tableOf(people), path)
    return takenFrom(parquet(path, keyed))
  },
  parts: async (people) => {
    const parts = pathOf('parts')
    mkdirSync(parts)
    const types = [people.inParquet[0], people.inParquet[1]]
    for (const [at, type] of types.entries())
      await put.parquet(tableOf(people), join(parts, `${at}.parquet`), type)
    return takenFrom(parquet(`${parts}/*.parquet`, keyed))
  },
  postgres: async (people) => {
    const path = pathOf('rows')
    await put.postgres(tableOf(people), path)
    return takenFrom(postgres({ rows: `select * from "${basename(path)}"`, ...keyed }))
  },
  program: async (people) => {
    const path = resolve(pathOf('parquet'))
    await put.parquet(tableOf(people), path)
    return takenFrom(
      program(['sh', '-c', `cp ${path} "$(sed 's/.*"output":"\\([^"]*\\)".*/\\1/')/rows.parquet"`], keyed),
    )
  },
  served: async (people) => {
    const { model } = await answering(people)
    await askAll(model, people)
    // A category is a text, whose spelling counts.
    people.asked = people.asked.slice(0, 1)
    return takenFrom(served({ minRows: 1, matured: '1 min' }), {
      model,
      asOf: new Date(Date.now() + 3_600_000).toISOString(),
      features: { size: number(), person: category() },
      label: yesNo({ column: 'outcome', positive: 'late' }),
    } as object)
  },
}

/** The roads of feature views, whose entities are persons. */
const ofViews: Record<ViewSource['kind'], Road> = {
  csv: (people) => throughView('csv', people),
  parquet: (people) => throughView('parquet', people),
  postgres: (people) => throughView('postgres', people),
}

async function throughView(kind: ViewSource['kind'], people: People): Promise<Stored> {
  const path = pathOf(kind)
  // An entity has one value a moment.
  const at = (row: number) => `2026-01-01 00:${String(row).padStart(2, '0')}:00`
  await put[kind]({ people, columns: { size: (row) => String(row), at } }, path)
  const rows = kind === 'postgres' ? `select * from "${basename(path)}"` : 'select * from source'
  const options = { rows, eventTime: 'at' }
  const { definition } = view(uniqueName('view'), {
    entity: 'person',
    source:
      kind === 'csv' ? csv(path, options) : kind === 'parquet' ? parquet(path, options) : postgres(options),
    knownAt: 'at',
    values: { size: number() },
    timeToLive: '36500 d',
  })
  // A model with the same persons tells the type of their keys.
  const { model, again: takeSnapshot } = await ofSources[kind](people)
  await deps.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ views: [{ name: definition.name }] })} where name = ${model}`)
  const ingest = async () => {
    await deps.store.query(sql`update feature_views set watermark = null where name = ${definition.name}`)
    await ingestViewUntil(deps.store, [definition], { asOfMs: Date.now(), subjectKey })
  }
  await ingest()
  return {
    model,
    async again() {
      await ingest()
      await takeSnapshot?.()
    },
  }
}

const preprocessing: FeatureFit[] = [
  { name: 'size', kind: 'number', mean: 1, std: 100, fill: 3 },
  { name: 'person', kind: 'category', vocabulary: ['unlisted'] },
]
const spec = {
  features: { size: { kind: 'number' as const }, person: { kind: 'category' as const } },
  output: { kind: 'probability' as const, positive: 'late', threshold: 0.5 },
  preprocessing,
  layers: [randomLayer(3, 1, 'sigmoid', seeded(3))],
  golden: [{ size: 1, person: 'unlisted' }],
}

/** Serves a model whose requests name a person; of numbers, its rows tell so. */
async function answering(people: People): Promise<Stored & { version: string }> {
  const model = uniqueName('people')
  const version = await fixture.register({ ...spec, model })
  let again: Stored['again']
  if (people.isNumber === true) {
    const path = pathOf('parquet')
    await put.parquet(tableOf(people), path)
    again = (await takenFrom(parquet(path, keyed), { model })).again
  }
  await deps.store.query(sql`
    update models set definition = definition || '{"subject": "person"}' where name = ${model}`)
  await deps.store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify({ preprocessing, output: spec.output })} where version = ${version}`)
  await api.follows(await fixture.route(model, { proven: version }))
  return { model, version, again }
}

/** Asks about every person, by a feature and by the routing key, and sends the outcomes. */
async function askAll(model: string, people: People): Promise<void> {
  for (const person of keysOf(people)) {
    const own = { instances: [{ size: 1, person }], reference: `order of ${person}` }
    const byKey = {
      instances: [{ size: 2, person: 'unlisted' }],
      routing_key: person,
      reference: `visit of ${person}`,
    }
    for (const body of [own, byKey]) {
      const { predictions } = await askLater(api, model, body)
      await api.serving.log.flush()
      const [{ id } = { id: '' }] = predictions
      await sendOutcomes('prediction_id', [{ prediction_id: id, value: true, observed_at }])
      await sendOutcomes('reference', [{ reference: body.reference, value: false, observed_at }], model)
      await sendEvents([{ prediction_id: id, name: 'bought', value: 1, occurred_at: observed_at }])
    }
    await sendEvents([{ model, routing_key: person, name: 'bought', value: 1, occurred_at: observed_at }])
  }
}

const observed_at = new Date().toISOString()

async function sendOutcomes(_by: string, rows: object[], model?: string): Promise<void> {
  const answer = await api.request(
    'POST',
    `/v1/outcomes/bulk${model === undefined ? '' : `?model=${model}`}`,
    {
      key,
      body: rows.map((row) => JSON.stringify(row)).join('\n'),
      headers: { 'content-type': 'application/x-ndjson' },
    },
  )
  expect(answer.json).toMatchObject({ refused: 0, stored: rows.length })
}

async function sendEvents(events: object[]): Promise<void> {
  const body = { events: events.map((event) => ({ id: randomUUID(), ...event })) }
  expect((await api.request('POST', '/v1/events', { key, body })).json).toMatchObject({
    received: events.length,
  })
}

/** Requests with a routing key or a feature, and what hangs on them: outcomes by id and by reference, and events. */
const ofRequests: Record<'http' | 'stream', Road> = {
  http: async (people) => {
    const { model, again } = await answering(people)
    await askAll(model, people)
    return { model, again }
  },
  stream: async (people) => {
    const { model, again } = await answering(people)
    const count = streamCountOf('in')
    const topics = { group: 'group', dead: 'dead', count, stopping: () => false }
    const ask = createAnswering({ serving: api.serving, model, to: 'out', ...topics })
    const bodies = keysOf(people).flatMap((person) => [
      { instances: [{ size: 1, person }], reference: `order of ${person}` },
      { instances: [{ size: 2, person: 'unlisted' }], routing_key: person },
    ])
    const answered = await ask(batchOf(bodies), 'stream')
    expect(answered).toMatchObject({ dead: 0 })
    await api.serving.log.flush()
    const ids = answered!.sent.map(
      ({ value }) => (JSON.parse(String(value)) as { predictions: [{ id: string }] }).predictions[0].id,
    )
    const actor = { id: 'stream', name: 'stream', role: 'labeller' as const }
    const outcomes = createStoring(outcomeRecords(api.store, api.serving.wall), topics)
    const told = [
      ...ids.map((id) => ({ prediction_id: id, value: true, observed_at })),
      ...keysOf(people).map((person) => ({
        model,
        reference: `order of ${person}`,
        value: false,
        observed_at,
      })),
    ]
    expect(await outcomes(batchOf(told), actor)).toMatchObject({ dead: 0 })
    const events = createStoring(
      eventRecords({ store: api.store, subjects: subjectKey }, api.serving.wall),
      topics,
    )
    const seen = keysOf(people).map((person) => ({
      id: randomUUID(),
      model,
      routing_key: person,
      name: 'bought',
      value: 1,
      occurred_at: observed_at,
    }))
    expect(await events(batchOf(seen), actor)).toMatchObject({ dead: 0 })
    return { model, again }
  },
}

const batchOf = (values: unknown[]): StreamBatch => ({
  records: values.map((value, place) => ({
    key: undefined,
    value: Buffer.from(JSON.stringify(value)),
    place: `in/0/${place}`,
    atMs: Date.now(),
    headerOf: () => undefined,
  })),
  isLost: () => false,
})

/** The roads of batches: their rows have the person as a key, and as a feature in the log. */
const ofBatches: Record<BatchInput['kind'] | 'parquet file', Road> = {
  file: (people) => throughBatch('csv', people),
  'parquet file': (people) => throughBatch('parquet', people),
  sql: (people) => throughBatch('postgres', people),
}

async function throughBatch(kind: keyof typeof put, people: People): Promise<Stored> {
  const { model, version, again: takeSnapshot } = await answering(people)
  const path = `${uniqueName('input')}.${kind}`
  await put[kind](tableOf(people), join(deps.config.batchDir, path))
  const input: BatchInput =
    kind === 'postgres' ? { kind: 'sql', query: `select * from "${path}"` } : { kind: 'file', path }
  const score = async () => {
    const id = uniqueName('bat')
    const output = { kind: 'table' as const, key: ['person'], log: 1_000 }
    await insertBatch(deps.store, { id, model, version, input, output, requestedBy: 'olga' })
    await new MockActivityEnvironment().run(scoreBatch(deps), { id })
  }
  await score()
  return {
    model,
    async again() {
      await score()
      await takeSnapshot?.()
    },
  }
}

const roads: Record<string, Road> = {
  ...prefixed('rows of a source', ofSources),
  ...prefixed('a feature view', ofViews),
  ...prefixed('requests', ofRequests),
  ...prefixed('a batch', ofBatches),
}
function prefixed(prefix: string, of: Record<string, Road>): Record<string, Road> {
  return Object.fromEntries(Object.entries(of).map(([name, road]) => [`${prefix}: ${name}`, road]))
}

/** The places that hold a key: tables, and the files of snapshots. `isNumber`: every spelling of the number names the person. */
async function placesWith(person: string, isNumber: boolean): Promise<string[]> {
  const columns = await deps.store.query<{ table: string; column: string; type: string }>(sql`
    select table_name as table, column_name as column, data_type as type
    from information_schema.tables join information_schema.columns using (table_schema, table_name)
    where table_schema = 'public' and table_type = 'BASE TABLE' and data_type in ('text', 'character varying', 'bytea', 'jsonb', 'ARRAY')`)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(Buffer.byteLength(person))
  const bytes = Buffer.concat([length, Buffer.from(person)]).toString('hex')
  const [name, number] = [textLiteral(person), `canonical_number(${textLiteral(person)})`]
  const holds: Record<string, (at: string) => string> = {
    bytea: (at) => `strpos(encode(${at}, 'hex'), '${bytes}') > 0`,
    jsonb: (at) =>
      `jsonb_path_exists(${at}, 'strict $.** ? (@ == $key || ($number != null && @ == $number))', jsonb_build_object('key', ${name}::text, 'number', ${number}::numeric))`,
    ARRAY: (at) => `${name} = any(${at}::text[])`,
    text: (at) =>
      `${at} in (${name}, ${textLiteral(`order of ${person}`)}, ${textLiteral(`visit of ${person}`)})${isNumber ? ` or canonical_number(${at}) = ${number}` : ''}`,
  }
  const searched = columns
    .filter(({ table }) => !sources.has(table))
    .map(({ table, column, type }) => {
      const at = `"${column}"`
      return `select ${textLiteral(table)} as name where exists (select from "${table}" where ${(holds[type] ?? holds['text']!)(at)})`
    })
  const found = await deps.store.query<{ name: string }>(sql`${raw(searched.join(' union '))}`)
  const names = new Set(found.map((each) => each.name.replace(/_\d{8}$/, '')))
  // Frozen inputs go within two days; until then, the receipt names their batches.
  const frozen = await deps.store.query<{ digest: string }>(sql`select input_digest as digest from batches`)
  await withDuck(async (duck) => {
    for await (const { digest } of deps.artifacts.list('snapshots')) {
      if (frozen.some((each) => each.digest === digest)) continue
      const file = textLiteral(await deps.artifacts.locate('snapshots', digest))
      const described = await duck.rows<{ name: string; type: string }>(
        `select column_name as name, column_type as type from (describe select * from ${file})`,
      )
      const type = described.find((each) => each.name === 'person')?.type
      if (type === undefined) continue
      const same = type === 'VARCHAR' ? `person = ${name}` : `person = try_cast(${name} as ${type})`
      const rows = await duck.rows(`select 1 from ${file} where ${same} limit 1`)
      if (rows.length > 0) names.add('a snapshot')
    }
  })
  return [...names].sort()
}

/** Runs an erasure to its end, as its workflow does, and lets the snapshots that it names go. */
async function erase(model: string, subject: string) {
  const id = uniqueName('era')
  const hashes = await findSubjectHash(deps.store, subjectKey, { model, subject })
  const by = { keyDigest: subjectKey.digest, predictionIds: [], requestedBy: 'olga' }
  await insertErasure(deps.store, { id, model, ...hashes, ...by })
  for (;;) {
    const stage = await new MockActivityEnvironment().run(eraseStage(deps, { replicaTimeoutMs: 60_000 }), {
      id,
    })
    if (stage !== 'done' && stage !== 'nothing_found') continue
    await deps.store.query(
      sql`update erasure_snapshots set drop_after = now() where erasure_id = ${id} and holds = 'yes'`,
    )
    await dropErasedSnapshots(deps)
    return getErasure(deps.store, id)
  }
}

/** Every road with every kind of key; or once, each with the next kind. */
const cases = Object.keys(roads).flatMap((road, at) =>
  Object.keys(kinds)
    .filter((_, of, { length }) => times > 0 || of === at % length)
    .map((kind) => ({ road, kind })),
)

it.each(cases)(
  '$road: an erasure of $kind leaves nothing of the person, and everything of others',
  async ({ road, kind }) => {
    for (let at = 0; at < Math.max(1, times); at++) {
      const people = kinds[kind]!()
      const { person, others, isNumber = false } = people
      const { model, again } = await roads[road]!(people)
      const placesOf = (persons: readonly string[]) =>
        Promise.all(persons.map((each) => placesWith(each, isNumber)))
      expect(await placesOf([person]), `${person} is stored`).not.toEqual([[]])
      const before = await placesOf(others)
      const asked = oneOf(people.asked)
      const { stage, notes } = await erase(model, asked)
      expect(stage, `${asked} is found`).toBe('done')
      const batches = await deps.store.query<{ id: string }>(
        sql`select id from batches where model = ${model}`,
      )
      for (const { id } of batches) expect(notes.join()).toContain(id)
      expect(await placesOf([person]), `${person} is erased as ${asked}`).toEqual([[]])
      await again?.()
      expect(await placesOf([person]), `${person} stays erased`).toEqual([[]])
      expect(await placesOf(others), `${others.join(', ')} stay`).toEqual(before)
    }
  },
)
