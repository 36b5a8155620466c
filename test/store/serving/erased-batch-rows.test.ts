/** Tests the rows of erased subjects in batches that are written to a table, before and after the erasure. */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { shardRows } from '../../../domain/model/batch-spec.ts'
import { eraseBatchRows } from '../../../store/privacy/delete-subject.ts'
import { uuidText } from '../../../activities/runtime/uuid-text.ts'
import { findErased } from '../../../store/privacy/erased-subjects.ts'
import { findErasureFilter, getErasure } from '../../../store/privacy/erasures.ts'
import {
  storeShard,
  type BatchRow,
  findBatch,
  insertBatch,
  listShards,
  type Batch,
} from '../../../store/serving/batches.ts'
import { insertPartition } from '../../../store/triggers/firings.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const subjectKey = 'secret'
const model = uniqueName('iris')
let fixture: ServingFixture
let version: string
beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec(model))
  await fixture.store.query(
    sql`update models set definition = definition || '{"subject":"who"}' where name = ${model}`,
  )
})
afterAll(() => fixture.close())

const begin = (): Promise<Batch> =>
  insertBatch(fixture.store, {
    id: uniqueName('bat'),
    model,
    version,
    input: { kind: 'sql', query: 'select 1' },
    output: { kind: 'table', key: ['who'] },
    requestedBy: 'olga',
  })
/**
 * Stores a part with a row of Anna, one of hers that was refused, and one of Bob. All answers are for review and in the log. `isFile`: of a
 * batch that writes a file.
 */
const storePart = (batch: Batch, shard: number, { isFile = false, store = fixture.store } = {}) => {
  const rows = ['anna', 'anna', 'bob'].map((who, index): BatchRow => {
    const problem = index === 1 ? 'x is missing' : null
    const answered = problem === null ? { outputs: [1], answer: 'a', review: true } : undefined
    const key = { who, number: index }
    const blank = { outputs: null, answer: null, review: null }
    const predictionId = answered && idOf(batch, shard, index)
    return { row: shard * shardRows + index, key, problem, predictionId, ...(answered ?? blank) }
  })
  const logged = ['anna', 'bob'].map((who, index) => ({
    id: idOf(batch, shard, index * 2),
    routingKey: who,
    features: new Uint8Array(),
    outputs: Float32Array.of(1),
  }))
  const counted = { shard, rows: 3, refused: 1, forReview: 2 }
  return storeShard(store, {
    batch,
    subjectKey,
    shard: counted,
    rows: isFile ? undefined : rows,
    logged: { rows: logged, counts: [] },
    findErasureFilter: () =>
      findErasureFilter(fixture.store, { key: subjectKey, digest: '', hashOf: String }, batch.id),
  })
}
/** A UUID v7; the same row of another batch has another id. */
const idOf = (batch: Batch, shard: number, index: number) => {
  const digits = createHash('sha256').update(`${batch.id} ${shard} ${index}`).digest('hex')
  return Buffer.from(`0190000000007000${digits.slice(0, 12)}0000`, 'hex')
}
const erase = async (): Promise<string> => {
  const id = uniqueName('era')
  await fixture.store.query(sql`
    insert into erasures (id, model, subject_hash, key_digest, requested_by)
    values (${id}, ${model}, subject_hash_of(${subjectKey}, 'anna'), 'd', 'olga')`)
  return id
}
const end = (id: string) =>
  fixture.store.query(sql`update erasures set stage = 'done', ended_at = now() where id = ${id}`)
const namesOf = async ({ id }: Batch) =>
  (
    await fixture.store.query<{ who: string | null }>(
      sql`select coalesce(key ->> 'who', problem) as who from batch_predictions where batch_id = ${id} order by row`,
    )
  ).map(({ who }) => who)
/** The routing keys of the rows in the prediction log, and the answers that name one there. */
const loggedOf = async ({ id }: Batch) => {
  const rows = await fixture.store.query<{ routing_key: string }>(sql`
    select routing_key from batch_predictions join predictions on predictions.id = prediction_id
    where batch_id = ${id} order by row`)
  const [count] = await fixture.store.query<{ named: number; all: number }>(sql`
    select (select count(prediction_id) from batch_predictions where batch_id = ${id}) as named,
      (select count(*) from predictions where model = ${model}) as all`)
  return { ...count, keys: rows.map((row) => row.routing_key) }
}

it('are blanked by the erasure and in parts that are stored after it, and counted as refused', async () => {
  const batch = await begin()
  await storePart(batch, 0)
  const id = await erase()
  const [prediction, foreign] = [0, 2].map((index) => uuidText(idOf(batch, 0, index)))
  await fixture.store.query(sql`
    insert into outcomes (prediction_id, value, observed_at)
    select id, 'true', now() from unnest(${[prediction, foreign]}::uuid[]) as id`)
  await eraseBatchRows(fixture.store, { id, key: subjectKey })
  // What hung on her logged row goes with it, and does not come back.
  expect(
    await fixture.store.query(
      sql`select prediction_id from outcomes where prediction_id = any(${[prediction, foreign]}::uuid[])`,
    ),
  ).toEqual([{ prediction_id: foreign }])
  expect(await findErased(fixture.store, [prediction!, foreign!])).toEqual(new Set([prediction]))
  expect(await namesOf(batch)).toEqual(['erased', 'erased', 'bob'])
  await end(id)
  await storePart(batch, 1)
  expect(await namesOf(batch)).toEqual(['erased', 'erased', 'bob', 'erased', 'erased', 'bob'])
  expect(await loggedOf(batch)).toEqual({ named: 2, all: 2, keys: ['bob', 'bob'] })
  expect((await listShards(fixture.store, batch.id)).map(({ refused }) => refused)).toEqual([2, 2])
  expect(await findBatch(fixture.store, batch.id)).toMatchObject({ refused: 4, forReview: 2 })
  expect((await getErasure(fixture.store, id)).counts).toEqual({
    batch_rows: 4,
    requests: 1,
    outcomes: 1,
    reviews: 0,
    shadow_pairs: 0,
    events: 0,
  })
})

it('are blanked in a batch of the day of the erasure or an earlier one, also when it is scored later', async () => {
  await end(await erase())
  await fixture.store.query(
    sql`update erasures set requested_at = '2026-01-02T10:00:00Z' where model = ${model}`,
  )
  for (const [partition, first] of [
    ['2026-01-01', 'erased'],
    ['2026-01-02,region=eu', 'erased'],
    ['2026-01-03', 'anna'],
    ['region=eu', 'anna'],
  ] as const) {
    const batch = await begin()
    const daily = {
      model,
      batch: 'daily',
      partition,
      attempt: 1,
      id: batch.id,
      request: {},
      reason: 'due',
    } as const
    await insertPartition(fixture.store, daily)
    const { all: before = 0 } = await loggedOf(batch)
    await storePart(batch, 0)
    expect(await namesOf(batch), partition).toEqual([first, first, 'bob'])
    const logged = first === 'anna' ? 2 : 1
    expect((await loggedOf(batch)).all, partition).toBe(before + logged)
    await storePart(batch, 1, { isFile: true })
    expect((await loggedOf(batch)).all, partition).toBe(before + 2 * logged)
  }
})

it('stay in a batch that begins later', async () => {
  await end(await erase())
  await fixture.store.query(
    sql`update erasures set requested_at = now() - interval '1 hour' where model = ${model}`,
  )
  const batch = await begin()
  await storePart(batch, 0)
  expect(await namesOf(batch)).toEqual(['anna', 'anna', 'bob'])
  expect(await loggedOf(batch)).toMatchObject({ named: 2, keys: ['anna', 'bob'] })
})

it('a request that names an erased person in one of its instances is left out of the log', async () => {
  const { store } = fixture
  await store.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
    select 'naming', model, snapshot_digest, 1, 'c', 'd', 'done' from trainings limit 1`)
  await store.query(sql`
    insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage, created_by)
    select model || '_v1.1.0', model, 1, 1, 0, 'a', '{"preprocessing":[{"name":"x","kind":"number"},{"name":"who","kind":"category"}]}',
      evaluation_id, 'naming', '{}', 'test' from versions where version = ${version}`)
  await store.query(sql`
    insert into erasures (id, model, subject_hash, key_digest, requested_by)
    values ('era_naming', ${model}, subject_hash_of(${subjectKey}, 'dora'), 'd', 'olga')`)
  const removeErased = await findErasureFilter(store, { key: subjectKey, digest: '', hashOf: String })
  const text = (value: string) =>
    Buffer.concat([Buffer.from(Uint32Array.of(value.length).buffer), Buffer.from(value)])
  const features = (...names: string[]) =>
    Buffer.concat([Buffer.from(Float32Array.of(1, 2).buffer), ...names.map(text)])
  const client = await store.pool.connect()
  await client.query('begin')
  await client.query('create temporary table arrived (like predictions) on commit drop')
  for (const names of [
    ['bob', 'dora'],
    ['bob', 'carl'],
  ])
    await client.query(
      `insert into arrived (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
       values (request_of(gen_random_uuid()), now(), $1, $1 || '_v1.1.0', 'champion', 1, 2, $2, '{0,0}', 1)`,
      [model, features(...names)],
    )
  // A replica may store the pairs of its requests before it stores the requests.
  await client.query(`
    insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, entity)
    select model, 'rel_1', (left(id::text, 32) || '0001')::uuid, version, version, '{}', '{}', 1 from arrived`)
  const removed = await removeErased!(client)
  const { rows } = await client.query<{ features: Buffer }>('select features from arrived')
  const pairs = await client.query(`
    select arrived.id is null as erased from shadow_pairs left join arrived on arrived.id = request_of(prediction_id)`)
  await client.query('rollback')
  client.release()
  expect(removed).toBe(1)
  expect(rows).toEqual([{ features: features('bob', 'carl') }])
  expect(pairs.rows).toEqual([{ erased: false }])
})

it('are found by hashing each row of a part once, however many persons were erased', async () => {
  const { store } = fixture
  const batch = await begin()
  await store.query(sql`
    insert into erasures (id, model, subject_hash, key_digest, requested_by, stage, ended_at)
    select 'era_many_' || n, ${model}, md5(n::text), 'd', 'olga', 'done', now() from generate_series(1, 50) as n`)
  await store.pool.query(`
    create sequence hashed;
    alter function subject_hash_of(text, text) rename to plain_subject_hash;
    create function subject_hash_of(key text, subject text) returns text language plpgsql strict as $$
    begin perform nextval('hashed'); return plain_subject_hash(key, subject); end $$`)
  await storePart(batch, 0)
  const { rows } = await store.pool.query<{ times: number }>('select last_value as times from hashed')
  // The two logged rows, and the three rows of the table.
  expect(rows).toEqual([{ times: 5 }])
})

it('a part whose logged rows take several copies logs each of them', async () => {
  const batch = await begin()
  const count = 20_001
  const features = new Uint8Array()
  const outputs = Float32Array.of(1)
  await storeShard(fixture.store, {
    batch,
    subjectKey,
    shard: { shard: 0, rows: 0, refused: 0, forReview: 0 },
    rows: [],
    logged: {
      rows: Array.from({ length: count }, (_, index) => ({
        id: idOf(batch, 0, index),
        routingKey: 'bob',
        features,
        outputs,
      })),
      counts: [],
    },
    findErasureFilter: async () => undefined,
  })
  const [stored] = await fixture.store.query<{ rows: number }>(sql`
    select count(*)::integer as rows from predictions
    where model = ${model} and id = any(${[0, count - 1].map((index) => uuidText(idOf(batch, 0, index)))}::uuid[])`)
  expect(stored).toEqual({ rows: 2 })
})

it('a part that a read-only server refuses is stored later, over another connection', async () => {
  const readOnly = '?options=-c%20default_transaction_read_only%3Don'
  const standby = openPatientStore(`${fixture.databaseUrl}${readOnly}`)
  const batch = await begin()
  await expect(storePart(batch, 0, { store: standby })).rejects.toMatchObject({
    code: 'postgres_unavailable',
  })
  expect(standby.pool.totalCount).toBe(0)
  await standby.close()
  expect(await storePart(batch, 0)).toBe(true)
})
