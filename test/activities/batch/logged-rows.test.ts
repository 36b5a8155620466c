/** Tests rows of batches in the prediction log: their ids, their outcomes, and what they count for. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { scoreBatch } from '../../../activities/batch/batch.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { checkDrift } from '../../../activities/monitor/drift.ts'
import { checkQuality } from '../../../activities/monitor/quality.ts'
import { checkServingSkew } from '../../../activities/monitor/skew.ts'
import { createFeatureHistograms } from '../../../api/serving/counters/feature-histograms.ts'
import { columnsOf } from '../../../api/serving/codec/feature-columns.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { BatchOutput } from '../../../domain/model/batch-spec.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { readService } from '../../../store/monitoring/monitor-windows.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { insertErasure } from '../../../store/privacy/erasures.ts'
import { listWaiting } from '../../../store/review/reviews.ts'
import { findBatch, insertBatch, type Batch } from '../../../store/serving/batches.ts'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { insertModel, putNetwork } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { inputOf } from '../../support/serving/input-buffers.ts'
import {
  servingFixtureOn,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const hourMs = 3_600_000
const model = uniqueName('orders')
const rows = 600
/** The rows of the file: x and y repeat, and each id is a person. */
const rowOf = (i: number) => ({ id: `n${i}`, x: (i % 7) - 3.1, y: (i % 5) / 2 })
const given = Array.from({ length: rows }, (_, i) => rowOf(i))
const answerOf = ({ x, y }: { x: number; y: number }) => 1 / (1 + Math.exp(y - x))

let deps: ActivityDeps
let fixture: ServingFixture
let api: TestApi
let key: string
let version: string
let manifest: Manifest
beforeAll(async () => {
  deps = await openActivityDeps()
  const { store, config } = deps
  fixture = servingFixtureOn({ databaseUrl: config.databaseUrl, artifactRoot: config.artifactRoot })
  key = await fixture.key({ name: 'teller', role: 'admin' })
  api = await startApi(fixture)
  mkdirSync(config.batchDir, { recursive: true })
  const header = 'id,x,y,fine\n'
  const lines = given.map(({ id, x, y }) => `${id},${x},${y},${answerOf({ x, y })}\n`)
  writeFileSync(join(config.batchDir, 'in.csv'), `${header}${lines.join('')}broken,,1,0\n`)
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const artifact = await putNetwork(openArtifacts(config.artifactRoot), model, [1, -1, 0], (plain) => ({
    ...plain,
    features: { x: { kind: 'number', min: -2, max: 2 }, y: { kind: 'number' } },
    output: { kind: 'probability', positive: 'yes', threshold: 0.5, review: { from: 0.4, to: 0.6 } },
    profile: {
      rows,
      features: (['x', 'y'] as const).map((name) =>
        numberProfile(
          name,
          given.map((row) => row[name]),
        ),
      ),
      score: numberProfile('score', given.map(answerOf)),
    },
  }))
  manifest = await deps.artifacts
    .get('artifacts', artifact)
    .then((bytes) => JSON.parse(bytes.toString()) as Manifest)
  version = await registry.register(undefined, artifact)
  const move = { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' } as const
  await moveChampion(store, move)
  const policy = {
    ...defaultGatePolicy('binary'),
    evidence: { rows: 200, positives: 30, negatives: 30, sliceRows: 50, slicePositives: 10 },
  }
  const more = { subject: 'id', evaluation: { policy } }
  await store.query(
    sql`update models set definition = definition || ${JSON.stringify(more)}::jsonb where name = ${model}`,
  )
  await store.query(
    sql`update versions set lineage = '{"metrics": {"auc": 0.8}, "rows": {"test": 1000}}' where version = ${version}`,
  )
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
  await deps?.close()
})

const page = readFileSync(join(checkout, 'docs/how-to/projects/batches.md'), 'utf8')
const blockOf = (name: string) => blocksOf(page).find(({ notes }) => notes['run'] === name)!.text

/** Inserts a batch that began twelve hours ago, and scores it. */
async function score(
  id: string,
  output: BatchOutput,
  log: number | undefined,
  from = { path: 'in.csv', key: 'id' },
  scoring: ActivityDeps = deps,
): Promise<Batch> {
  const { store } = deps
  await insertBatch(store, {
    id,
    model,
    version,
    input: { kind: 'file', path: from.path },
    output: { ...output, key: [from.key], log },
    requestedBy: 'olga',
  })
  await store.query(sql`
    update batches set started_at = date_trunc('hour', now()) - interval '12 hours', status = 'running', ended_at = null where id = ${id}`)
  await new MockActivityEnvironment().run(scoreBatch(scoring), { id })
  return (await findBatch(store, id))!
}
const answersOf = (path: string) =>
  withDuck((duck) =>
    duck.rows<{ id: string; prediction_id?: string | null }>(
      `select * from read_parquet(${textLiteral(join(deps.config.batchDir, path))}) order by row`,
    ),
  )
/** Seven digits, as the log has them. */
const shortest = (value: number) => Number(value.toPrecision(7))
const logged = () =>
  deps.store.query<{ id: string; person: string; arm: string; at: Date; row: object; outputs: number[] }>(sql`
    select id, routing_key as person, arm, at, outputs, instance_of(features, ${JSON.stringify(manifest.preprocessing)}::jsonb, 1, 0) as row
    from predictions where model = ${model} order by id`)

it('a batch logs the rows that it answered, and the table has their ids', async () => {
  const { id, startedAt } = await score('all', { kind: 'table' }, 100_000)
  const { store } = deps
  const answers = await store.query<{
    key: { id: string }
    outputs: number[] | null
    prediction_id: string | null
  }>(sql`select key, outputs, prediction_id from batch_predictions where batch_id = ${id} order by row`)
  expect(answers.at(-1)).toMatchObject({ key: { id: 'broken' }, outputs: null, prediction_id: null })
  const byId = new Map((await logged()).map((each) => [each.id, each]))
  expect(byId.size).toBe(rows)
  for (const [at, { key, outputs, prediction_id: named }] of answers.slice(0, rows).entries()) {
    const { id: person, x, y } = given[at]!
    const found = byId.get(named!)
    expect(found).toMatchObject({ person, arm: 'batch', at: new Date(startedAt), outputs })
    expect(found!.row).toEqual({ x: shortest(x), y: shortest(y) })
    expect(key).toEqual({ id: person })
  }
  const [whole] = await store.query(sql`
    select bool_and(prediction_time(id) = at and request_of(id) = id and instance_index(id) = 0) as fits from predictions where model = ${model}`)
  expect(whole).toEqual({ fits: true })
})

it('the logged rows count for drift as those of a replica, and for no limit of the service', async () => {
  const { store } = deps
  const columns = columnsOf(manifest.features, manifest.preprocessing)
  const histograms = createFeatureHistograms()
  const [answers] = await store.query<{ outputs: number[] }>(sql`
    select array_agg(outputs[1] order by row) as outputs from batch_predictions where batch_id = 'all' and problem is null`)
  const loaded = { model, version, manifest, columns }
  histograms.count(loaded, Date.now(), inputOf(columns, given), Float32Array.from(answers!.outputs))
  const counted = await store.query(
    sql`select kind, name, counts from feature_counts where model = ${model} order by kind, name`,
  )
  const expected = histograms
    .pending()
    .map(({ kind, name, counts }) => ({ kind, name, counts: counts.map(String) }))
  expect(counted).toEqual(expected.sort((a, b) => (a.kind + a.name < b.kind + b.name ? -1 : 1)))
  const to = new Date(Math.ceil(Date.now() / hourMs) * hourMs).toISOString()
  const span = { model, version, to, windowMs: 24 * hourMs }
  expect(await checkDrift(deps)(span)).toMatchObject({ level: 'stable', drifted: [] })
  expect(await new MockActivityEnvironment().run(checkServingSkew(deps), span)).toMatchObject({
    status: 'ok',
    compared: rows,
  })
  const toMs = Date.parse(to)
  expect(await readService(store, { model, fromMs: toMs - 24 * hourMs, toMs })).toMatchObject({
    requests: 0,
    requestAgeMs: null,
    hasBatches: true,
    predictions: 0,
    latencyUs: null,
  })
  // The batch marks its rows for review itself.
  expect(await listWaiting(store, { model, days: 7, requests: 10_000, limit: 10 })).toEqual([])
})

it('outcomes that are sent as docs/how-to/projects/batches.md says measure the quality', async () => {
  const { store } = deps
  await store.query(sql`
    insert into batch_partitions (model, batch, partition, attempt, id, request, reason) values (${model}, 'flowers', '2026-11-01', 1, 'all', '{}', 'due')`)
  const blooms = (await logged()).map(({ person, outputs, at }, place) => ({
    id: person,
    bloomed: (place * 0.618) % 1 < outputs[0]!,
    seen_at: new Date(at.getTime() + hourMs).toISOString(),
  }))
  await store.query(sql`
    create table blooms as select * from jsonb_to_recordset(${JSON.stringify(blooms)}::jsonb) as r (id text, bloomed boolean, seen_at timestamptz)`)
  for (const statement of blockOf('view').replace('flight-delay', model).split(';'))
    await store.pool.query(statement)
  // A restore refuses a database with other tables or views in this schema.
  const inPublic = await store.query(sql`
    select viewname from pg_views where schemaname = 'public' and viewname <> 'scored_partitions'`)
  expect(inPublic).toEqual([])
  const body = JSON.parse(/-d '(.*)'/.exec(blockOf('outcomes'))![1]!) as object
  const { status, json } = await api.request('POST', '/v1/outcomes/bulk', { key, body })
  expect({ status, json }).toMatchObject({ status: 200, json: { accepted: rows, stored: rows, unknown: 0 } })
  // As if they had been sent after an hour.
  await store.query(sql`
    update outcomes set arrived_at = observed_at where request_id in (select id from predictions where model = ${model})`)
  const at = new Date().toISOString()
  expect(
    await checkQuality(deps)({ model, at, windowMs: 24 * hourMs, observedMs: 48 * hourMs }),
  ).toMatchObject({
    level: 'held',
    metric: 'auc',
    version,
  })
})

it('a part that is scored again logs the same rows under the same ids, in a file as in a table', async () => {
  const { store } = deps
  await store.query(sql`delete from predictions where model = ${model}`)
  await score('some', { kind: 'file', path: 'some.parquet' }, 100)
  const first = await answersOf('some.parquet')
  const named = first.filter((each) => each.prediction_id !== null)
  // 100 of 601 are expected; the standard deviation is 9.
  expect(named.length).toBeGreaterThan(60)
  expect(named.length).toBeLessThan(140)
  const byId = new Map((await logged()).map(({ id, person }) => [id, person]))
  expect(byId).toEqual(new Map(named.map((each) => [each.prediction_id, each.id])))
  const folder = deps.config.batchDir
  writeFileSync(
    join(folder, 'blooms.csv'),
    `id,bloomed,seen_at\n${given.map(({ id }) => `${id},true,2026-11-02 08:00:00\n`).join('')}`,
  )
  const copying = blockOf('duckdb').replace('scores/2026-11-01.parquet', 'some.parquet')
  await withDuck((duck) =>
    duck.run(copying.replaceAll(/'([\w./-]+)'/g, (_, path: string) => textLiteral(join(folder, path)))),
  )
  const sent = readFileSync(join(folder, 'outcomes.csv'), 'utf8').trim().split('\n')
  expect(sent[0]).toBe('prediction_id,value,observed_at')
  expect(sent.slice(1)).toContain(`${named[0]!.prediction_id},true,2026-11-02 08:00:00`)
  expect(sent).toHaveLength(1 + named.length)
  // As after a crash before the part was recorded.
  await store.query(sql`delete from batch_shards where batch_id = 'some'`)
  await store.query(sql`delete from predictions where model = ${model}`)
  await score('some', { kind: 'file', path: 'some.parquet' }, 100)
  expect(await answersOf('some.parquet')).toEqual(first)
  expect(new Map((await logged()).map(({ id, person }) => [id, person]))).toEqual(byId)
})

it('a batch without `log` logs nothing, and its file has no ids', async () => {
  const { store } = deps
  await store.query(sql`delete from predictions where model = ${model}`)
  await score('none', { kind: 'file', path: 'none.parquet' }, undefined)
  expect(Object.keys((await answersOf('none.parquet'))[0]!)).toEqual([
    'id',
    'row',
    'outputs',
    'answer',
    'review',
    'problem',
  ])
  expect(await logged()).toEqual([])
})

it.each([
  [undefined, ['prediction_id', 'row', 'outputs', 'answer', 'review', 'problem']],
  [10, ['id', 'row', 'outputs', 'answer', 'review', 'problem', 'prediction_id']],
])('a batch without rows and with `log` %s has its columns', async (log, columns) => {
  const path = (name: string) => textLiteral(join(deps.config.batchDir, name))
  await withDuck((duck) =>
    duck.run(`copy (select 1 as ${columns[0]}, 1 as x, 1 as y limit 0) to ${path('none-in.parquet')}`),
  )
  await score(`empty${log}`, { kind: 'file', path: 'empty.parquet' }, log, {
    path: 'none-in.parquet',
    key: columns[0]!,
  })
  const described = await withDuck((duck) =>
    duck.rows<{ column_name: string }>(`describe select * from ${path('empty.parquet')}`),
  )
  expect(described.map((each) => each.column_name)).toEqual(columns)
})

it.each([1.5, -1, 100_001])('a batch with the wrong `log` %d is refused', async (log) => {
  const body = { model, input: { kind: 'file', path: 'in.csv' }, output: { kind: 'table' }, log }
  const { status, json } = await api.request('POST', '/v1/batches', { key, body })
  expect({ status, detail: json['detail'] }).toEqual({
    status: 400,
    detail: expect.stringContaining('log') as unknown,
  })
})

it('a batch is refused under another key than that of the erasures of its model', async () => {
  const { store } = deps
  await insertErasure(store, {
    id: 'era_other',
    model,
    subjectHash: 'h',
    isNumber: false,
    keyDigest: 'of another key',
    requestedBy: 'ada',
    predictionIds: [],
  })
  await expect(score('refused', { kind: 'table' }, undefined)).rejects.toMatchObject({
    code: 'configuration_invalid',
    message: expect.stringContaining('another secret (TENURE_SUBJECT_KEY)') as unknown,
  })
  await store.query(sql`delete from erasures where id = 'era_other'`)
})

it('a batch of two parts reads its model once', async () => {
  const path = textLiteral(join(deps.config.batchDir, 'large.parquet'))
  await withDuck((duck) =>
    duck.run(`copy (select i as id, 1 as x, 1 as y from range(200001) as t (i)) to ${path}`),
  )
  let reads = 0
  const store: ActivityDeps['store'] = {
    ...deps.store,
    query: (query) => {
      if (query.text.includes('from models where')) reads++
      return deps.store.query(query)
    },
  }
  const large = { path: 'large.parquet', key: 'id' }
  const { rows: scored } = await score('large', { kind: 'file', path: 'two.parquet' }, 10, large, {
    ...deps,
    store,
  })
  expect([scored, reads]).toEqual([200_001, 1])
})
