/**
 * Tests on the real store that an erasure leaves nothing of a person in any table or snapshot, and that one whose key is written otherwise
 * ends as `nothing_found`. The tables are those of the schema: a new one with personal data must be filled here.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { dropErasedSnapshots } from '../../../activities/privacy/data-subjects.ts'
import { eraseStage } from '../../../activities/privacy/erase.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { defineModel, direct, number, parquet, random, yesNo } from '../../../models/define.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { getErasure, insertErasure } from '../../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../../store/privacy/hashed-subject.ts'
import { openSubjectKey, type SubjectKey } from '../../../store/signing/subject-hash.ts'
import { insertSnapshot } from '../../../store/training/snapshots.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { servingFixtureOn, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

/** A source is a file of the project. */
const folder = `.tenure/erased-${process.pid}`
let deps: ActivityDeps
let fixture: ServingFixture
let subjectKey: SubjectKey
beforeAll(async () => {
  await mkdir(folder, { recursive: true })
  deps = await openActivityDeps()
  const { databaseUrl, artifactRoot, signing } = deps.config
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  subjectKey = await openSubjectKey(signing.subjectKey)
})
afterAll(async () => {
  await fixture.close()
  await deps.close()
  await rm(folder, { recursive: true })
})

/** Every table, and whether its columns tell that it holds rows of persons. */
const listTables = () =>
  deps.store.query<{ name: string; isPersonal: boolean }>(sql`
    select table_name as name, bool_or(column_name in ('routing_key', 'features', 'prediction_id', 'request_id', 'reference')
      or (column_name, data_type) in (('entity', 'text'), ('key', 'jsonb'))) as "isPersonal"
    from information_schema.tables join information_schema.columns using (table_schema, table_name)
    where table_schema = 'public' and table_type = 'BASE TABLE' group by 1 order by 1`)

/** The tables with one of these texts; bytes are searched as well. */
async function tablesWith(texts: readonly string[]): Promise<string[]> {
  const sought = texts.flatMap((text) => [text, Buffer.from(text).toString('hex')])
  const found: string[] = []
  for (const { name } of await listTables()) {
    const rows = await deps.store.query(sql`
      select from ${raw(`"${name}"`)} as row_of where exists (
        select from unnest(${sought}::text[]) as text where strpos(row_of::text, text) > 0) limit 1`)
    if (rows.length > 0) found.push(name)
  }
  return found
}

/** How many files of snapshots on disk hold the person. */
async function snapshotsWith(person: string): Promise<number> {
  let found = 0
  for await (const { digest } of deps.artifacts.list('snapshots')) {
    const file = textLiteral(await deps.artifacts.locate('snapshots', digest))
    const rows = await withDuck((duck) =>
      duck.rows(
        `select 1 from read_parquet(${file}) as row_of where contains(cast(row_of as varchar), ${textLiteral(person)}) limit 1`,
      ),
    )
    found += rows.length
  }
  return found
}

interface Person {
  key: string
  /** Of the requests. */
  ids: string[]
}

/** Stores something of both persons in each place. `type`: that of the subject column. */
async function fill(type: string, keys: readonly [string, string]) {
  const { store, artifacts } = deps
  const model = uniqueName('people')
  const version = await fixture.register(irisSpec(model))
  const path = `${folder}/${model}.parquet`
  const { definition } = defineModel({
    name: model,
    features: { size: number() },
    label: yesNo({ column: 'late', positive: 'late' }),
    source: parquet(path, { key: ['person', 'size'] }),
    split: random({ test: 0.3 }),
    subject: 'person',
    evaluation: { floors: { auc: 0.5 } },
    release: direct(),
  })
  await store.query(sql`
    update models set definition = ${JSON.stringify({ ...definition, views: [{ name: model }] })} where name = ${model}`)
  const fits = [
    { name: 'size', kind: 'number' },
    { name: 'person', kind: 'category' },
  ]
  await store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify({ preprocessing: fits })} where version = ${version}`)
  await withDuck((duck) =>
    duck.run(`copy (
      select cast(person as ${type}) as person, size, size % 2 as late, ${textLiteral(model)} as model
      from (values ${keys.map((key) => `(${textLiteral(key)})`).join(', ')}) as given (person), range(6) as sizes (size)
    ) to ${textLiteral(path)} (format parquet)`),
  )
  const takeSnapshot = async () => {
    const asOf = '2026-01-01T00:00:00Z'
    const { digest, bytes, columns, ...subjects } = await writeSnapshot({
      definition,
      asOf,
      store,
      artifacts,
      subjectKey,
    })
    const source = { subjects: subjects.subjects, subjectIsNumber: subjects.subjectIsNumber }
    await insertSnapshot(store, { digest, model, asOf, rows: 1, bytes, columns, source })
  }
  await takeSnapshot()
  const view = uniqueName('view')
  await store.query(sql`
    insert into feature_views (name, digest, definition) values (${model}, ${view}, '{"entity":["person"]}')`)
  const batch = uniqueName('bat')
  await store.query(sql`
    insert into batches (id, model, version, input, output, requested_by, status, ended_at)
    values (${batch}, ${model}, ${version}, '{}', '{"kind":"table"}', 'olga', 'done', now())`)
  await store.query(sql`insert into batch_shards (batch_id, shard, rows, refused) values (${batch}, 0, 2, 0)`)
  const persons: Person[] = []
  for (const [row, key] of keys.entries()) {
    const [byKey, byFeature, failed, early] = Array.from({ length: 4 }, () =>
      randomUUID().replace(/.{4}$/, '0000'),
    )
    persons.push({ key, ids: [byKey!, byFeature!, failed!] })
    const features = Buffer.concat([
      Buffer.from(Float32Array.of(1).buffer),
      Buffer.from(Uint32Array.of(key.length).buffer),
      Buffer.from(key),
    ])
    await store.query(sql`
      insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us, reference)
      values (${byKey}, now(), ${model}, ${version}, 'champion', 1, ${key}, 1, ${features}, '{0}', 1, ${`order of ${key}`}),
        -- Before the first day, so in the default partition.
        (${byFeature}, now() - interval '30 hours', ${model}, ${version}, 'champion', 1, null, 1, ${features}, '{0}', 1, ${`order of ${key}`})`)
    await store.query(sql`
      insert into failed_requests (id, at, model, version, arm, replica, code, message, instances, features, latency_us)
      values (${failed}, now(), ${model}, ${version}, 'champion', 'r', 'internal', 'm', 1, ${features}, 1)`)
    await store.query(sql`
      insert into outcomes (prediction_id, value, observed_at)
      select id, '1', now() from unnest(${[byKey, byFeature]}::uuid[]) as id`)
    await store.query(sql`
      insert into reviews (prediction_id, model, value, reviewed_by) values (${byKey}, ${model}, '1', 'olga')`)
    await store.query(sql`
      insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, entity)
      values (${model}, 'rel_x', ${byFeature}, ${version}, ${version}, '{}', '{}', 1)`)
    await store.query(sql`
      insert into events (id, digest, model, prediction_id, routing_key, name, value, occurred_at, source)
      values (${uniqueName('event')}, '', ${model}, ${byFeature}, null, 'bought', 1, now(), 'test'),
        (${uniqueName('event')}, '', null, null, ${key}, 'bought', 1, now(), 'test')`)
    await store.query(sql`
      insert into batch_predictions (batch_id, row, key, answer, prediction_id)
      values (${batch}, ${row}, ${JSON.stringify({ person: key })}, '1', ${early})`)
    await store.query(sql`
      insert into feature_latest (view_id, entity, event_at, known_at, features)
      select id, ${key}, now(), now(), '{}' from feature_views where digest = ${view}`)
    await store.query(sql`
      insert into feature_history (view_id, entity, event_at, known_at, usable_at, features)
      select id, ${key}, '2026-01-01', '2026-01-01', '2026-01-01', '{}' from feature_views where digest = ${view}`)
  }
  return { model, persons: persons as [Person, Person], takeSnapshot }
}

/** Runs an erasure to its end, as its workflow does. */
async function erase(model: string, subject: string) {
  const id = uniqueName('era')
  const hashes = await findSubjectHash(deps.store, subjectKey, { model, subject })
  const by = { keyDigest: subjectKey.digest, predictionIds: [], requestedBy: 'olga' }
  await insertErasure(deps.store, { id, model, ...hashes, ...by })
  return endOf(id)
}

async function endOf(id: string) {
  for (;;) {
    const stage = await new MockActivityEnvironment().run(eraseStage(deps), { id })
    if (stage === 'done' || stage === 'nothing_found') return getErasure(deps.store, id)
  }
}

const alertsOf = (model: string) => listAlerts(deps.store, { model, open: true })
const auditOf = (id: string) =>
  deps.store.query<{ action: string }>(sql`select action from audit where subject = ${id}`)

it('an erasure leaves nothing of the person in any table and snapshot, and everything of another person', async () => {
  const [anna, bob] = ['anna@example.org', 'bob@example.org']
  const { model, persons, takeSnapshot } = await fill('varchar', [anna, bob])
  const textsOf = ({ key, ids }: Person) => [key, ...ids]
  const personal = (await listTables()).filter(({ isPersonal }) => isPersonal).map(({ name }) => name)
  const isDay = (name: string) => /^predictions_\d{8}$/.test(name)
  for (const person of persons) {
    const filled = await tablesWith(textsOf(person))
    expect(personal.filter((name) => !isDay(name) && !filled.includes(name))).toEqual([])
  }
  const before = await tablesWith(textsOf(persons[1]))
  expect(await snapshotsWith(anna)).toBe(1)

  const { id, stage, counts } = await erase(model, anna)
  expect(stage).toBe('done')
  expect(counts).toEqual({
    requests: 2,
    outcomes: 2,
    reviews: 1,
    shadow_pairs: 1,
    events: 2,
    batch_rows: 1,
    feature_values: 2,
    failed_requests: 1,
  })
  await deps.store.query(
    sql`update erasure_snapshots set drop_after = now() where erasure_id = ${id} and holds = 'yes'`,
  )
  await dropErasedSnapshots(deps)
  await takeSnapshot()
  // Which requests were erased is remembered, to keep out what arrives later.
  expect(await tablesWith(textsOf(persons[0]))).toEqual(['erased_requests'])
  expect(await snapshotsWith(anna)).toBe(0)
  expect(await tablesWith(textsOf(persons[1]))).toEqual(before)
  expect(await snapshotsWith(bob)).toBe(1)
  expect(await alertsOf(model)).toEqual([])
  expect(await auditOf(id)).toEqual([{ action: 'erasure.done' }])
})

describe('an erasure whose key is written otherwise', () => {
  const ofTexts = /`subject` is the column `person` of texts: keys are compared as texts/
  const ofNumbers = /`subject` is the column `person` of numbers: 7 and 7/
  it.each([
    ['varchar', '7', '7.0', ofTexts],
    ['varchar', '7', ' 7', ofTexts],
    ['bigint', '7', '7 ', ofNumbers],
    ['double', '7', 'seven', ofNumbers],
  ])(
    'in a %s with %j as %j ends as nothing_found and says why; the right key is erased',
    async (type, stored, wrong, why) => {
      const { model } = await fill(type, [stored, '8'])
      // An event of every model is erased with the first, so the cases have it once.
      await deps.store.query(sql`delete from events where model is null`)
      const first = await erase(model, wrong)
      expect(first.stage).toBe('nothing_found')
      expect(first.endedAt).toBeDefined()
      expect(first.notes).toContainEqual(expect.stringMatching(why))
      expect(await alertsOf(model)).toMatchObject([
        {
          kind: 'erasure_nothing_found',
          message: expect.stringMatching(why),
          evidence: { erasure: first.id },
        },
      ])
      expect(await auditOf(first.id)).toEqual([{ action: 'erasure.nothing_found' }])
      expect((await erase(model, stored)).stage).toBe('done')
    },
  )
})

describe('an erasure counts as found by', () => {
  const places = [
    'predictions',
    'failed_requests',
    'events',
    'batch_predictions',
    'feature_latest',
    'feature_history',
  ]
  it.each([...places, 'a snapshot'])('%s alone', async (place) => {
    const { store } = deps
    const person = randomUUID()
    const { model } = await fill('varchar', [person, randomUUID()])
    for (const other of places)
      if (other !== place)
        await store.query(sql`delete from ${raw(other)} as row_of where strpos(row_of::text, ${person}) > 0
        or strpos(row_of::text, ${Buffer.from(person).toString('hex')}) > 0`)
    if (place !== 'a snapshot')
      await store.query(sql`update snapshots set dropped_at = now() where model = ${model}`)
    const { stage, counts, snapshots } = await erase(model, person)
    expect({ stage, counts, snapshots }).toMatchObject({ stage: 'done' })
  })

  it('no snapshot that cannot be searched, and no row of another model', async () => {
    const { store } = deps
    const [{ model }, other] = [await fill('varchar', ['a', 'b']), await fill('varchar', ['c', 'd'])]
    const id = uniqueName('era')
    const hashes = await findSubjectHash(store, subjectKey, { model, subject: 'e' })
    const predictionIds = [other.persons[0].ids[0]!]
    await insertErasure(store, {
      id,
      model,
      ...hashes,
      keyDigest: subjectKey.digest,
      predictionIds,
      requestedBy: 'olga',
    })
    await store.query(sql`update snapshots set source = '{}' where model = ${model}`)
    const ended = await endOf(id)
    expect(ended).toMatchObject({ stage: 'nothing_found', counts: { of_other_models: 1 } })
    expect(ended.snapshots).not.toEqual([])
  })
})

it('an erasure of a key that was erased before says so, and raises no alert', async () => {
  const person = randomUUID()
  const { model } = await fill('varchar', [person, randomUUID()])
  const first = await erase(model, person)
  await deps.store.query(sql`update snapshots set dropped_at = now() where model = ${model}`)
  const second = await erase(model, person)
  expect(second).toMatchObject({ stage: 'nothing_found', notes: [expect.stringContaining(first.id)] })
  expect(await alertsOf(model)).toEqual([])
})

it('an erasure whose rows another model has erased with a shared snapshot is done, and names that erasure', async () => {
  const { store } = deps
  const person = randomUUID()
  const { model } = await fill('varchar', [person, randomUUID()])
  const { model: second } = await fill('varchar', [randomUUID(), randomUUID()])
  await store.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    select digest || ${second}, ${second}, digest, 'pass', '{}' from snapshots where model = ${model}`)
  const first = await erase(model, person)
  await store.query(sql`update snapshots set dropped_at = now() where model = ${model}`)
  expect(await erase(second, person)).toMatchObject({
    stage: 'done',
    notes: [expect.stringContaining(`${first.id} of ${model}`)],
  })
  expect(await alertsOf(second)).toEqual([])
  // Another key was erased nowhere.
  expect(await erase(second, randomUUID())).toMatchObject({ stage: 'nothing_found' })
})
