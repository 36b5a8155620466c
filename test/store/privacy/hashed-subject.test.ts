/** Tests that a subject whose column is a number is found in every spelling of the number, and texts only as they are written. */
import { mkdir, rm } from 'node:fs/promises'
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { readKeys } from '../../../activities/batch/read-keys.ts'
import { eraseStage } from '../../../activities/privacy/erase.ts'
import { findSnapshotsOf } from '../../../activities/privacy/data-subjects.ts'
import { writeSnapshot, type WrittenSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { canonicalNumber, canonicalNumberSql, entityColumn } from '../../../domain/values/names.ts'
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { defineModel, direct, number, parquet, postgres, random, yesNo } from '../../../models/define.ts'
import type { Artifacts } from '../../../store/artifacts.ts'
import { eraseBatchRows, eraseRest, eraseSpan } from '../../../store/privacy/delete-subject.ts'
import { findErasureFilter, getErasure, insertErasure } from '../../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../../store/privacy/hashed-subject.ts'
import { insertBatch } from '../../../store/serving/batches.ts'
import { openSubjectKey, type SubjectKey } from '../../../store/signing/subject-hash.ts'
import { insertSnapshot, insertValidation } from '../../../store/training/snapshots.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { servingFixtureOn, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

/** A source is a file of the project. */
const folder = `.tenure/people-${process.pid}`
let deps: ActivityDeps
let fixture: ServingFixture
let artifacts: Artifacts
let subjectKey: SubjectKey
beforeAll(async () => {
  await mkdir(folder, { recursive: true })
  deps = await openActivityDeps()
  artifacts = deps.artifacts
  const { databaseUrl, artifactRoot, signing } = deps.config
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  subjectKey = await openSubjectKey(signing.subjectKey)
})
afterAll(async () => {
  await fixture.close()
  await deps.close()
  await rm(folder, { recursive: true })
})

it.each<[type: string, value: string, expected: string | null]>([
  ['bigint', '4711', '4711'],
  ['bigint', '-4711', '-4711'],
  ['bigint', '9007199254740993', '9007199254740993'],
  ['ubigint', '18446744073709551615', '18446744073709551615'],
  ['decimal(38,0)', '12345678901234567890123456789012345678', '12345678901234567890123456789012345678'],
  ['decimal(18,2)', '4711.00', '4711'],
  ['decimal(18,2)', '-0.50', '-0.5'],
  ['double', '4711.0', '4711'],
  ['double', '100', '100'],
  ['double', '-0.0', '0'],
  ['double', '0.1', '0.1'],
  ['double', '1e21', '1000000000000000000000'],
  ['double', '-1.2345678901234568e17', '-123456789012345680'],
  ['double', '1e-7', '0.0000001'],
  ['double', '-1.5e-7', '-0.00000015'],
  ['double', '9007199254740991', '9007199254740991'],
  ['double', '9007199254740992', '9007199254740992'],
  ['double', '9007199254740993', '9007199254740992'],
  ['double', '9007199254740994', '9007199254740994'],
  ['double', '1e16', '10000000000000000'],
  ['double', '5e-324', `0.${'0'.repeat(323)}5`],
  ['float', '16777216', '16777216'],
  ['float', '0.1', '0.1'],
  ['double', 'nan', null],
  ['double', 'infinity', null],
  ['double', '-infinity', null],
  ['double', null!, null],
  // As Postgres writes its numerics, which DuckDB keeps as texts.
  ['varchar', '4711.50', '4711.5'],
  ['varchar', 'NaN', null],
  ['varchar', '007', '7'],
  ['varchar', '+7.', '7'],
  ['varchar', '-.50', '-0.5'],
  ['varchar', '-0.00', '0'],
  ['varchar', '4.711E3', '4711'],
  ['varchar', '4711e-2', '47.11'],
  ['varchar', '47110e-1', '4711'],
  ['varchar', '12345678901234567890123.450', '12345678901234567890123.45'],
  ['varchar', 'e5', null],
  ['varchar', '.', null],
  ['varchar', '7 ', null],
  ['varchar', 'a-4711', null],
])('a %s of %s has the same text in DuckDB, TypeScript and Postgres', async (type, value, expected) => {
  const [row] = await withDuck((duck) =>
    duck.rows<{ given: string | null; number: string | null }>(
      `select cast(x as varchar) as given, ${canonicalNumberSql('x')} as number
       from (select cast(${value === null ? 'null' : textLiteral(value)} as ${type}) as x)`,
    ),
  )
  expect(row!.number).toBe(expected)
  expect(row!.given === null ? null : (canonicalNumber(row!.given) ?? null)).toBe(expected)
  // A key of a batch is JSON, and a routing key is the text of a number of JavaScript.
  const json = type === 'double' && expected !== null ? Number(value) : row!.given
  const [stored] = await fixture.store.query(sql`
    select canonical_number(${row!.given}) as duck, canonical_number(${json === null ? null : String(json)}) as script,
      canonical_number(${JSON.stringify({ json })}::jsonb ->> 'json') as json`)
  expect(stored).toEqual({ duck: expected, script: expected, json: expected })
})

it.each(['', ' 7', '7 ', '0x10', '1_000', '1e9999', '--7', '.', 'e5', '٤٧', '1'.repeat(401)])(
  'the text %j is no number',
  async (text) => {
    expect(canonicalNumber(text)).toBeUndefined()
    expect(await fixture.store.query(sql`select canonical_number(${text}) as number`)).toEqual([
      { number: null },
    ])
  },
)

it.each(['7.', '+7', '007', '.7e1', '700E-2', '7.000'])('the text %j is the number 7', async (text) => {
  expect(canonicalNumber(text)).toBe('7')
  expect(await fixture.store.query(sql`select canonical_number(${text}) as number`)).toEqual([
    { number: '7' },
  ])
})

/** A model of which everything is stored that names persons: the text in `persons` is cast to the type. */
async function scene(type: string, persons: readonly string[], routingKeys: readonly string[]) {
  const { store } = fixture
  const model = uniqueName('people')
  const inPostgres = /^(numeric|char|real|float8|int8)/.test(type)
  const table = model.replace('-', '_')
  if (inPostgres)
    await store.pool.query(`
      create table ${table} as select person::${type}, size from unnest(array['${persons.join("', '")}']) as person, generate_series(1, 6) as size;
      grant select on ${table} to tenure_reader`)
  const version = await fixture.register(irisSpec(model))
  const path = `${folder}/${model}.parquet`
  const { definition } = defineModel({
    name: model,
    features: { size: number() },
    label: yesNo({ column: 'late', positive: 'late' }),
    source: inPostgres
      ? postgres({ rows: `select person, size, size % 2 as late from ${table}`, key: ['person', 'size'] })
      : parquet(path, { key: ['person', 'size'] }),
    split: random({ test: 0.3 }),
    subject: 'person',
    evaluation: { floors: { auc: 0.5 } },
    release: direct(),
  })
  const views = [{ name: model }]
  // Another view has other names for the keys.
  const visits = `${model} visits`
  const features = {
    ...definition.features,
    seen: { kind: 'number', from: { digest: visits, by: ['shop', 'person'] } },
  }
  await store.query(sql`
    update models set definition = ${JSON.stringify({ ...definition, features, views })} where name = ${model}`)
  const keep = ({ digest, bytes, columns, subjects, subjectIsNumber }: WrittenSnapshot) =>
    insertSnapshot(store, {
      digest,
      model,
      asOf: '2026-01-01T00:00:00Z',
      rows: 1,
      bytes,
      columns,
      source: { subjects, subjectIsNumber },
    })
  const take = () => writeSnapshot({ definition, asOf: '2026-01-01T00:00:00Z', store, artifacts, subjectKey })
  const { keys, entities } = await withDuck(async (duck) => {
    const values = persons.map((person) => `(${textLiteral(person)})`).join(', ')
    await duck.run(`copy (
      select cast(person as ${type}) as person, size, size % 2 as late, ${textLiteral(model)} as model from (values ${values}) as given (person), range(6) as sizes (size)
    ) to ${textLiteral(path)} (format parquet)`)
    const found = await duck.rows<{ entity: string }>(
      `select distinct ${entityColumn(['person'])} as entity from ${textLiteral(path)} order by 1`,
    )
    const range = { shard: 0, from: 0, to: persons.length * 6 }
    return {
      keys: await readKeys(duck, path, ['person'], range),
      entities: found.map(({ entity }) => entity),
    }
  })
  await keep(await take())
  const output = { kind: 'table' as const, key: ['person'] }
  const input = { kind: 'sql' as const, query: '' }
  const batch = await insertBatch(store, {
    id: uniqueName('bat'),
    model,
    version,
    input,
    output,
    requestedBy: 'olga',
  })
  await store.query(sql`
    insert into batch_predictions (batch_id, row, key)
    select ${batch.id}, at, key from jsonb_array_elements(${JSON.stringify(keys)}) with ordinality as given (key, at)`)
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
    select gen_random_uuid(), now(), ${model}, ${fallbackName(model)}, 'champion', 1, routing_key, 1, '', '{0}', 1
    from unnest(${[...routingKeys]}::text[]) as routing_key`)
  await store.query(sql`
    insert into feature_views (name, digest, definition)
    values (${model}, ${model}, '{"entity":["person"]}'), (${visits}, ${visits}, '{"entity":["place","customer"]}')`)
  await store.query(sql`
    insert into feature_latest (view_id, entity, event_at, known_at, features)
    select id, case name when ${model} then entity else 'berlin' || chr(31) || entity end, now(), now(), '{}'
    from feature_views, unnest(${entities}::text[]) as entity where name in (${model}, ${visits})`)
  const texts = (query: ReturnType<typeof sql>) =>
    store.query<{ text: string }>(query).then((rows) => rows.map(({ text }) => text).toSorted())
  const request = async (subject: string): Promise<string> => {
    const id = uniqueName('era')
    const hashes = await findSubjectHash(store, subjectKey, { model, subject })
    const by = { keyDigest: subjectKey.digest, predictionIds: [], requestedBy: 'olga' }
    await insertErasure(store, { id, model, ...hashes, ...by })
    return id
  }
  return {
    model,
    request,
    /** Erases a person; returns whether the snapshot holds the person. */
    async erase(subject: string): Promise<boolean> {
      const id = await request(subject)
      const { key } = subjectKey
      const span = { fromAt: '2000-01-01T00:00:00Z', toAt: '2100-01-01T00:00:00Z' }
      await eraseSpan(store, { id, key, ...span })
      await eraseBatchRows(store, { id, key })
      await eraseRest(store, { id, key })
      const hashed = await getErasure(store, id)
      const held = await findSnapshotsOf({ store, artifacts }, { model, subject: hashed, isDeclared: true })
      // The model has a snapshot without a list, of its first version.
      return held.some(({ holds }) => holds === 'yes')
    },
    /** The persons in each place. */
    async persons() {
      const { digest } = await take()
      const snapshot = textLiteral(await artifacts.locate('snapshots', digest))
      const rows = await withDuck((duck) =>
        duck.rows<{ text: string }>(
          `select distinct cast(person as varchar) as text from ${snapshot} order by 1`,
        ),
      )
      return {
        snapshot: rows.map(({ text }) => text),
        batch: [
          ...new Set(
            await texts(sql`
          select key ->> 'person' as text from batch_predictions where batch_id = ${batch.id} and key is not null`),
          ),
        ],
        log: await texts(sql`select routing_key as text from predictions where model = ${model}`),
        features: await texts(sql`
          select distinct regexp_replace(entity, '^berlin.', '') as text from feature_latest join feature_views on id = view_id
          where name in (${model}, ${visits})`),
      }
    },
    /** How many of these rows of a returning replica are kept out of the log. */
    async filtered(keys: readonly string[]): Promise<number> {
      const removeErased = (await findErasureFilter(store, subjectKey))!
      const client = await store.pool.connect()
      try {
        await client.query('begin; create temporary table arrived (like predictions) on commit drop')
        await client.query(
          `insert into arrived (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
           select gen_random_uuid(), now(), $1, $1, 'champion', 1, routing_key, 1, '', '{0}', 1 from unnest($2::text[]) as routing_key`,
          [model, keys],
        )
        return await removeErased(client)
      } finally {
        await client.query('rollback')
        client.release()
      }
    },
  }
}

describe('the erasure of a number', () => {
  const spellings = ['4711', '4711.0', '4711.00', '4.711e3']
  const left = { batch: ['4712'], log: ['4712.0'], features: ['4712'] }
  const cents = ['4712.00']
  const ofDecimals = { batch: cents, log: left.log, features: cents, snapshot: cents }
  it.each([
    ['double', '4711.0', { ...left, snapshot: ['4712.0'] }],
    ['float', '4711', { ...left, snapshot: ['4712.0'] }],
    ['decimal(18,2)', '4711.00', ofDecimals],
    ['decimal(18,2)', '4711', ofDecimals],
    ['bigint', '4711.0', { ...left, snapshot: ['4712'] }],
    // From Postgres, whose numerics are kept as texts.
    ['numeric(18,2)', '4711', ofDecimals],
    ['real', '4711', { ...left, snapshot: ['4712.0'] }],
    ['float8', '4711.00', { ...left, snapshot: ['4712.0'] }],
    ['int8', '4711.0', { ...left, snapshot: ['4712'] }],
  ])('of a %s as %s finds each of its spellings, and no other number', async (type, subject, persons) => {
    const { erase, filtered, persons: found } = await scene(type, ['4711', '4712'], [...spellings, '4712.0'])
    expect(await erase(subject)).toBe(true)
    expect(await found()).toEqual(persons)
    expect(await filtered(['4711', '4711.000', '4712'])).toBe(2)
  })

  it('of a double above 2⁵³ or with decimals finds its spellings with and without an exponent', async () => {
    const { erase, persons } = await scene(
      'double',
      ['1e21', '1e-7', '0.1'],
      ['1e+21', '1e-7', '1000000000000000000000'],
    )
    expect(await erase('1e+21')).toBe(true)
    expect(await erase('0.0000001')).toBe(true)
    expect(await persons()).toEqual({ snapshot: ['0.1'], batch: ['0.1'], log: [], features: ['0.1'] })
  })

  it('of a float with decimals finds the digits of the float', async () => {
    const { erase, persons } = await scene('float', ['0.1', '0.2'], ['0.1'])
    expect(await erase('0.10')).toBe(true)
    expect(await persons()).toEqual({ snapshot: ['0.2'], batch: ['0.2'], log: [], features: ['0.2'] })
  })

  it('of a bigint above 2⁵³ erases none of its neighbours', async () => {
    const near = ['9007199254740992', '9007199254740993', '9007199254740994']
    const { erase, persons } = await scene('bigint', near, near)
    expect(await erase('9007199254740993')).toBe(true)
    const left = near.filter((_, at) => at !== 1)
    expect(await persons()).toEqual({ snapshot: left, batch: left, log: left, features: left })
  })
})

it.each(['varchar', 'char(8)'])(
  'the erasure of a %s that looks like a number leaves other texts of the same number',
  async (type) => {
    const given = ['007', '7', '7.5', '7.50', '1001']
    const { erase, filtered, persons } = await scene(type, given, given)
    expect(await erase('7')).toBe(true)
    expect(await erase('7.5')).toBe(true)
    expect(await erase('1001.0')).toBe(false)
    const left = ['007', '1001', '7.50']
    expect(await persons()).toEqual({ snapshot: left, batch: left, log: left, features: left })
    expect(await filtered(['7', '7.0', '007', '7.50'])).toBe(1)
  },
)

describe('the erasure of a number whose column was a text before', () => {
  /** Stores a newer snapshot with a number in the column, whose list is lost. */
  const becomesNumber = (model: string) =>
    fixture.store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
      select digest || '-number', model, as_of, rows, bytes, columns,
        ${JSON.stringify({ subjects: `sha256:${'0'.repeat(64)}`, subjectIsNumber: true })}, created_at + interval '1 hour'
      from snapshots where model = ${model} and source ? 'subjects'`)

  it.each(['4711', '4711.00', '4.711e3'])(
    'as %s finds the snapshot with the text 4711.00',
    async (subject) => {
      const { model, erase, persons } = await scene('varchar', ['4711.00', '4712', 'none'], [])
      await becomesNumber(model)
      expect(await erase('4713')).toBe(false)
      expect(await erase(subject)).toBe(true)
      expect((await persons()).snapshot).toEqual(['4712', 'none'])
    },
  )

  it('does not know whether a list that was stored without numbers holds it', async () => {
    const { store } = fixture
    const { model, request } = await scene('varchar', ['4712'], [])
    const draft = await artifacts.draft('.parquet')
    await withDuck((duck) =>
      duck.run(`copy (select 'a hash' as subject) to ${textLiteral(draft)} (format parquet)`),
    )
    const { digest } = await artifacts.take('snapshots', draft)
    await store.query(sql`
      update snapshots set source = jsonb_set(source, '{subjects}', to_jsonb(${digest}::text))
      where model = ${model} and source ? 'subjects'`)
    await becomesNumber(model)
    const subject = await getErasure(store, await request('4711'))
    const held = await findSnapshotsOf({ store, artifacts }, { model, subject, isDeclared: false })
    expect(held.map(({ holds }) => holds)).toEqual(['unknown', 'unknown'])
  })
})

describe('the erasure of a text that writes a number', () => {
  it.each([
    ['decimal(18,2)', '4712.00'],
    ['double', '4712.0'],
    ['bigint', '4712'],
  ])('keeps the person out once the column is a %s', async (type, left) => {
    const { model, erase, persons } = await scene('varchar', ['4711.0', '4712'], [])
    expect(await erase('4711.0')).toBe(true)
    await withDuck((duck) =>
      duck.run(`copy (
        select cast(person as ${type}) as person, size, size % 2 as late from (values (4711), (4712)) as given (person), range(6) as sizes (size)
      ) to ${textLiteral(`${folder}/${model}.parquet`)} (format parquet)`),
    )
    expect((await persons()).snapshot).toEqual([left])
  })

  it.each([
    ['4711.0', true],
    ['4713.0', false],
  ])('as %s finds the snapshot from when the column was a number: %s', async (subject, isFound) => {
    const { model, erase } = await scene('double', ['4711', '4712'], [])
    await fixture.store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
      select digest || '-text', model, as_of, rows, bytes, columns, source || '{"subjectIsNumber": false}', created_at + interval '1 hour'
      from snapshots where model = ${model} and source ? 'subjects'`)
    expect(await erase(subject)).toBe(isFound)
  })
})

it('logged requests do not decide whether the column holds numbers, because routing keys are texts', async () => {
  const { model } = await scene('double', ['4711', '4712'], [])
  await fixture.store.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
    select digest || '-requests', model, as_of, rows, bytes, columns,
      source || '{"kind": "logged requests", "subjectIsNumber": false}', created_at + interval '1 hour'
    from snapshots where model = ${model} and source ? 'subjects'`)
  const { isNumber } = await findSubjectHash(fixture.store, subjectKey, { model, subject: '4711.0' })
  expect(isNumber).toBe(true)
})

it('an erasure of a model that names no subject any more finds the lists of earlier snapshots', async () => {
  const { store } = fixture
  const { model, request } = await scene('bigint', ['4711'], [])
  await store.query(sql`update models set definition = definition - 'subject' where name = ${model}`)
  // The list of another snapshot is lost, and a third one is from before the model named a subject.
  const sources = [{ subjects: `sha256:${'0'.repeat(64)}`, subjectIsNumber: true }, {}]
  for (const [at, source] of sources.entries())
    await store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
      select digest || ${`-${at}`}, model, as_of, rows, bytes, columns, ${JSON.stringify(source)}, created_at - interval '1 hour'
      from snapshots where model = ${model} and source ? 'subjects' order by created_at desc limit 1`)
  const id = await request('4711')
  await store.query(sql`update erasures set stage = 'snapshots' where id = ${id}`)
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('done')
  const { snapshots, notes } = await getErasure(store, id)
  expect(snapshots.map(({ holds }) => holds).toSorted()).toEqual(['unknown', 'yes'])
  expect(notes).toEqual([expect.stringContaining('declares no `subject`')])
})

it('an erasure finds the snapshot that another model had taken of equal rows before', async () => {
  const { store } = fixture
  const { model, request } = await scene('bigint', ['4711'], [])
  const other = uniqueName('other')
  await fixture.register(irisSpec(other))
  const facts = { asOf: '2026-01-01T00:00:00Z', rows: 1, bytes: 1, columns: {}, source: {} }
  const [shared, foreign] = [`sha256:shared-${model}`, `sha256:foreign-${model}`]
  for (const digest of [shared, foreign]) {
    await insertSnapshot(store, { ...facts, digest, model: other })
    const validation = { id: uniqueName('val'), snapshotDigest: digest, verdict: 'pass' as const, report: {} }
    await insertValidation(store, { ...validation, model: digest === shared ? model : other })
  }
  const id = await request('4711')
  await store.query(sql`update erasures set stage = 'snapshots' where id = ${id}`)
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('done')
  const { snapshots } = await getErasure(store, id)
  expect(snapshots).toContainEqual(expect.objectContaining({ digest: shared, holds: 'unknown' }))
  expect(snapshots.map(({ digest }) => digest)).not.toContain(foreign)
})

it('an erasure of a model whose snapshot another model had taken before finds each spelling of a number', async () => {
  const { store } = fixture
  const { model, erase, persons } = await scene('bigint', ['7', '8'], ['7.0', '8'])
  const other = uniqueName('other')
  await fixture.register(irisSpec(other))
  const [taken] = await store.query<{ digest: string }>(sql`
    update snapshots set model = ${other} where model = ${model} and source ? 'subjects' returning digest`)
  const validation = { id: uniqueName('val'), verdict: 'pass' as const, report: {} }
  await insertValidation(store, { ...validation, model, snapshotDigest: taken!.digest })
  await erase('7.00')
  expect(await persons()).toEqual({ snapshot: ['8'], batch: ['8'], log: ['8'], features: ['8'] })
})
