/** Tests erasure on the real Temporal and Postgres, with a cut-off replica, a step that crashes and an audit that contains no subject. */
import { textLiteral } from '../../domain/sql-text.ts'
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../activities/data/duckdb.ts'
import { takeSnapshot } from '../../activities/retrain/snapshot.ts'
import { dropErasedSnapshots, findSnapshotsOf } from '../../activities/privacy/data-subjects.ts'
import { eraseStage } from '../../activities/privacy/erase.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { insertErasure } from '../../store/privacy/erasures.ts'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import { eraseWorkflowId } from '../../workflows/messages.ts'
import { fallbackName } from '../../domain/serving/kill-switch.ts'
import { irisSpec } from '../support/serving/artifact.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { openCuttableLink, type CuttableLink } from '../support/servers/cuttable-link.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
} from '../support/training/example-model.ts'
import {
  servingFixtureOn,
  request,
  startApi,
  startReplica,
  until,
  type ServingFixture,
  type TestApi,
  type TestReplica,
  type TestResponse,
} from '../support/serving/serving-fixture.ts'
import { migratedDatabase, temporalAddress } from '../support/servers/servers.ts'

const anna = 'anna@example.org'
const observed_at = '2026-01-01T00:00:00Z'
let fixture: ServingFixture
let api: TestApi
let far: TestReplica
let line: CuttableLink
let core: Core
let key: string

beforeAll(async () => {
  const databaseUrl = await migratedDatabase()
  core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  // One installation: the same artifacts and the same key.
  fixture = servingFixtureOn({ databaseUrl, artifactRoot: core.config.artifactRoot })
  const version = await fixture.register(irisSpec())
  await fixture.store.query(
    sql`update models set definition = definition || '{"subject":"who","views":[{"name":"spending"}]}' where name = 'iris'`,
  )
  await moveChampion(fixture.store, {
    model: 'iris',
    to: version,
    cause: 'promotion',
    actor: 'a',
    reason: 'r',
  })
  const route = await fixture.route('iris', { proven: version })
  key = await fixture.key()
  const { address, namespace } = core.config.temporal
  api = await startApi(fixture, {
    temporal: { address, namespace, controlQueue: core.config.taskQueues.control },
  })
  line = await openCuttableLink(databaseUrl)
  far = await startReplica(fixture, { databaseUrl: line.url, leaseMs: 1_000, deadlines: 'as served' })
  await Promise.all([api.follows(route), far.follows(route)])
})
afterAll(async () => {
  await core?.stop()
  await far?.stop()
  await line?.close()
  await api?.stop()
  await fixture?.close()
})

const ask = (replica: TestReplica, who: string) => replica.ask('iris', request(who)).predictions[0]!.id
const stored = async () => {
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
}
const say = (ids: readonly string[], value = 'setosa') =>
  api.request('POST', '/v1/outcomes', {
    key,
    body: { outcomes: ids.map((id) => ({ prediction_id: id, value, observed_at })) },
  })
/** Requests an erasure. A repeated request while Temporal is slow creates one erasure. */
async function erase(body: object): Promise<TestResponse> {
  const answer = await api.request('POST', '/v1/erasures', { key, body })
  return answer.status === 503 ? erase(body) : answer
}
const receipt = async (id: string) => (await api.request('GET', `/v1/erasures/${id}`, { key })).json
const done = async (id: string) => {
  await until(async () => (await receipt(id))['status'] !== 'running', `${id} to end`)
  return receipt(id)
}
const count = async (statement: ReturnType<typeof sql>) => {
  const [row] = await fixture.store.query<{ n: number }>(statement)
  return row!.n
}
const keysInLog = async () =>
  (
    await fixture.store.query<{ routing_key: string | null }>(
      sql`select routing_key from predictions order by routing_key`,
    )
  ).map((row) => row.routing_key)

/** Returns the content of all tables except those that hold artifacts. */
async function everything(): Promise<string> {
  const tables = await fixture.store.query<{ name: string }>(sql`
    select quote_ident(relname) as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`)
  const texts: string[] = []
  for (const { name } of tables) {
    const { rows } = await fixture.store.pool.query<{ text: string }>(
      `select t::text as text from ${name} as t`,
    )
    texts.push(...rows.map(({ text }) => text))
  }
  return texts.join('\n')
}

describe('the erasure of a subject', () => {
  it('removes every row of the prediction log, and stays effective when a replica recovers', async () => {
    const version = 'iris_v1.0.0'
    // By the routing key, three times, with revised outcomes; and rows of another subject.
    const hers = [ask(api, anna), ask(api, anna), ask(api, anna)]
    const his = [ask(api, 'bob'), ask(api, 'bob')]
    await stored()
    expect((await say([...hers, ...his])).json).toMatchObject({ stored: 5 })
    await say([hers[0]!], 'virginica')
    // By the feature that identifies users, in one of two instances, of a version that has this feature.
    const named = '019b7654-3210-7000-8000-000000000000'
    await fixture.store.query(sql`
      insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
      select 't2', model, snapshot_digest, 1, 'c', 'd', 'done' from trainings limit 1`)
    await fixture.store.query(sql`
      insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage, created_by)
      select 'iris_v1.1.0', 'iris', 1, 1, 0, 'a', '{"preprocessing":[{"name":"x","kind":"number"},{"name":"who","kind":"category"}]}',
        evaluation_id, 't2', '{}', 'test' from versions limit 1`)
    const text = (value: string) =>
      Buffer.concat([Buffer.from(Uint32Array.of(value.length).buffer), Buffer.from(value)])
    const features = Buffer.concat([Buffer.from(Float32Array.of(1, 2).buffer), text('bob'), text(anna)])
    await fixture.store.query(sql`
      insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
      values (${named}, now() - interval '3 hours', 'iris', 'iris_v1.1.0', 'champion', 1, 2, ${features}, '{0,0}', 1)`)
    await fixture.store.query(sql`
      insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, entity)
      values ('iris', 'rel_x', ${hers[0]}, ${version}, ${version}, '{}', '{}', 1)`)
    // Reviews of an answer to the subject, and of an answer to another subject.
    await fixture.store.query(sql`
      insert into reviews (prediction_id, model, value, reviewed_by)
      select id, 'iris', '"setosa"', 'olga' from unnest(${[hers[0], his[0]]}::uuid[]) as id`)
    // Outcomes that arrived before their predictions; one of them names the subject.
    const early = randomUUID()
    expect((await say([early, randomUUID()])).json).toMatchObject({ stored: 2, unknown: 2 })
    // Events of the subject, by routing key and by prediction.
    const events = [{ routing_key: anna }, { prediction_id: hers[1] }, { routing_key: 'bob' }].map(
      (about) => ({
        ...about,
        name: 'purchase',
        occurred_at: observed_at,
      }),
    )
    expect((await api.request('POST', '/v1/events', { key, body: { events } })).json).toMatchObject({
      stored: 3,
    })
    // Rows in a batch and in the feature store.
    await fixture.store.query(sql`
      insert into batches (id, model, version, input, output, requested_by, status, ended_at)
      values ('bat_1', 'iris', ${version}, '{"kind":"file","path":"a.csv"}', '{"kind":"table"}', 'a', 'done', now()),
        ('bat_2', 'iris', ${version}, '{"kind":"file","path":"a.csv"}', '{"kind":"file","path":"b.parquet"}', 'a', 'done', now())`)
    await fixture.store.query(sql`
      insert into batch_predictions (batch_id, row, key, answer)
      values ('bat_1', 0, ${JSON.stringify({ who: anna })}, '{"label":"setosa"}'), ('bat_1', 1, '{"who":"bob"}', '{"label":"setosa"}')`)
    await fixture.store.query(
      sql`insert into batch_shards (batch_id, shard, rows, refused) values ('bat_1', 0, 2, 0)`,
    )
    await fixture.store.query(
      sql`insert into feature_views (name, digest, definition) values ('spending', 'd', '{"entity":["who"]}')`,
    )
    await fixture.store.query(sql`
      insert into feature_latest (view_id, entity, event_at, known_at, features)
      select id, who, now(), now(), '{}' from feature_views, unnest(array[${anna}, 'bob']) as who`)
    // Rows on the disk of a replica that has lost Postgres.
    line.cut()
    const spooled = [ask(far, anna), ask(far, 'bob')]
    await far.serving.log.flush()
    await until(() => far.serving.log.counts().spooled === 2, 'the disk to have them')

    const begun = await erase({ model: 'iris', subject: anna, prediction_ids: [early] })
    expect(begun).toMatchObject({
      status: 202,
      json: { id: expect.stringMatching(/^era_/), model: 'iris' },
    })
    const id = String(begun.json['id'])
    const shown = await done(id)
    const beside = { shadow_pairs: 1, batch_rows: 1, feature_values: 1 }
    expect(shown).toMatchObject({
      status: 'done',
      stage: 'done',
      counts: { requests: 4, outcomes: 5, reviews: 1, events: 2, ...beside },
      notes: [expect.stringMatching(/batches.*bat_2/)],
      subject_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(await keysInLog()).toEqual(['bob', 'bob'])
    expect(await count(sql`select count(*) as n from outcomes`)).toBe(3)
    expect(await count(sql`select count(*) as n from reviews`)).toBe(1)
    expect(await count(sql`select count(*) as n from events`)).toBe(1)
    const isBlank = sql`problem = 'erased' and key is null and answer is null`
    expect(await count(sql`select count(*) as n from batch_predictions where ${isBlank}`)).toBe(1)
    expect(await count(sql`select refused as n from batch_shards where batch_id = 'bat_1'`)).toBe(1)
    expect(await count(sql`select count(*) as n from feature_latest`)).toBe(1)

    // The replica recovers: the rows that it kept for Postgres are stored, without the subject.
    line.mend()
    await until(() => far.serving.log.counts().spooled === 0, 'the disk to be empty')
    expect(await keysInLog()).toEqual(['bob', 'bob', 'bob'])
    // Later outcomes of the subject's requests are not stored either.
    expect((await say([...hers, ...spooled, early])).json).toEqual({
      received: 6,
      accepted: 1,
      stored: 1,
      unknown: 5,
    })
    expect(await everything()).not.toContain(anna)
  })

  it('leaves no name in the audit, which still verifies', async () => {
    const { json } = await api.request('GET', '/v1/audit?limit=10', { key })
    const rows = (json['audit'] as { action: string; detail: object }[]).filter(({ action }) =>
      action.startsWith('erasure'),
    )
    expect(rows.map(({ action }) => action)).toEqual(['erasure.done', 'erasure.requested'])
    const { hashOf } = await openSubjectKey(core.config.signing.subjectKey)
    for (const { detail } of rows) expect(detail).toMatchObject({ subjectHash: hashOf(anna) })
    expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
    // Another installation derives another pseudonym for the same subject.
    expect((await openSubjectKey(`${core.config.stateDir}/other.key`)).hashOf(anna)).not.toBe(hashOf(anna))
    const id = await firstErasure()
    const { events } = await core.client.workflow.getHandle(eraseWorkflowId(id)).fetchHistory()
    const input = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? []
    expect(input.map(({ data }) => Buffer.from(data!).toString())).toEqual([JSON.stringify({ id })])
    expect(JSON.stringify(core.lines)).not.toContain(anna)
  })

  const firstErasure = async () =>
    (
      await fixture.store.query<{ id: string }>(sql`select id from erasures order by requested_at limit 1`)
    )[0]!.id

  it('runs once when requested twice, and finds no rows when requested again', async () => {
    const again = await done(String((await erase({ model: 'iris', subject: anna })).json['id']))
    expect(again).toMatchObject({
      status: 'nothing_found',
      counts: { requests: 0, outcomes: 0, batch_rows: 0 },
    })
    const hold = await fixture.store.pool.connect()
    await hold.query('begin; lock table shadow_pairs in access exclusive mode')
    const [first, second] = [
      await erase({ model: 'iris', subject: 'carl' }),
      await erase({ model: 'iris', subject: 'carl' }),
    ]
    expect(second.json).toEqual({ ...first.json, is_new: false })
    await hold.query('rollback')
    hold.release()
    await done(String(first.json['id']))
    const listed = await api.request('GET', '/v1/erasures?limit=1', { key })
    expect(listed.json).toMatchObject({
      erasures: [{ id: first.json['id'] }],
      next_cursor: expect.any(String),
    })
    const next = await api.request(
      'GET',
      `/v1/erasures?limit=5&cursor=${String(listed.json['next_cursor'])}`,
      { key },
    )
    expect(next.json['erasures']).toHaveLength(2)
  })

  it('continues from its last step after an interruption', async () => {
    const hours = [50, 40, 30, 20, 10]
    await fixture.store.query(sql`
      insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
      select gen_random_uuid(), now() - make_interval(hours => hour), 'iris', 'iris_v1.0.0', 'champion', 1, 'dora', 1, '', '{0}', 1
      from unnest(${hours}::integer[]) as hour`)
    // A constant fallback answered the first of them.
    await fixture.store.query(sql`
      update predictions set version = ${fallbackName('iris')} where routing_key = 'dora' and at < now() - interval '45 hours'`)
    const hold = await fixture.store.pool.connect()
    await hold.query('begin')
    await hold.query(
      `select from predictions where routing_key = 'dora' and at < now() - interval '25 hours' order by at desc limit 1 for update`,
    )
    const id = String((await erase({ model: 'iris', subject: 'dora' })).json['id'])
    const reached = async () => (await receipt(id)) as { counts: { requests?: number }; reached_at?: string }
    await until(async () => (await reached()).counts.requests === 2, 'the third hour')
    const held = async () =>
      fixture.store.query<{ pid: number }>(sql`
        select pid from pg_stat_activity
        where application_name = 'tenure-erase' and datname = current_database() and wait_event_type = 'Lock'`)
    await until(async () => (await held()).length === 1, 'the fourth to be waited for')
    await fixture.store.pool.query('select pg_terminate_backend($1)', [(await held())[0]!.pid])
    await hold.query('rollback')
    hold.release()
    expect(await done(id)).toMatchObject({ counts: { requests: 5 } })
    expect(await keysInLog()).not.toContain('dora')
  })
})

it('an erasure goes through the log again for predictions that are named while it ends', async () => {
  const { deps } = core
  const { hashOf, digest: keyDigest } = await openSubjectKey(deps.config.signing.subjectKey)
  const ask = (predictionIds: string[]) =>
    insertErasure(fixture.store, {
      id: `era_${randomUUID()}`,
      model: 'iris',
      subjectHash: hashOf('eve'),
      isNumber: false,
      keyDigest,
      predictionIds,
      requestedBy: 'root',
    })
  const { id } = await ask([])
  await fixture.store.query(sql`update erasures set stage = 'snapshots' where id = ${id}`)
  const late = randomUUID()
  // The second request arrives during the last stage.
  const store: typeof deps.store = {
    ...deps.store,
    async transaction(work) {
      await ask([late])
      return deps.store.transaction(work)
    },
  }
  expect(await new MockActivityEnvironment().run(eraseStage({ ...deps, store }), { id })).toBe('logs')
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('replicas')
  // So does a request that names none: it covers the requests since.
  const { requested_at: first } = await receipt(id)
  await ask([])
  expect((await receipt(id))['requested_at']).not.toBe(first)
  // Replicas have not acknowledged it yet, so they are awaited without another reading of the log.
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('again')
  await ask([])
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('replicas')
  expect(
    await fixture.store.query(sql`select from erased_requests where id = request_of(${late}::uuid)`),
  ).toHaveLength(1)
  // An outcome that was being stored while its request was erased, by an erasure that then waited for days.
  await fixture.store.query(sql`
    with waited as (update erasures set stage = 'rest', requested_at = now() - interval '3 days' where id = ${id}),
      gone as (update erased_requests set erased_at = now() - interval '2 days' where id = request_of(${late}::uuid))
    insert into outcomes (prediction_id, value, observed_at) values (${late}, '1', now())`)
  expect(await new MockActivityEnvironment().run(eraseStage(deps), { id })).toBe('snapshots')
  expect(await count(sql`select count(*) as n from outcomes where prediction_id = ${late}`)).toBe(0)
})

describe('snapshots after an erasure', () => {
  it('exclude the subject, and earlier snapshots are deleted in time', async () => {
    const { deps, store } = core
    const directory = await exampleModelDirectory()
    await syncExampleModel(store, directory, { more: `subject: 'id',` })
    await insertExampleRows(store, { from: 0, to: 40 })
    const take = () =>
      new MockActivityEnvironment().run(takeSnapshot(deps), { model: 'roses', asOf: exampleDay(35) })
    const look = async (digest: string, query: string) => {
      const path = await deps.artifacts.locate('snapshots', digest)
      return withDuck((duck) => duck.rows(query.replaceAll('snapshot', textLiteral(path))))
    }
    await store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
      values ('sha256:of-before-there-were-lists', 'roses', now(), 1, 1, '{}', '{}')`)
    const before = (await take()) as { digest: string }
    expect(await look(before.digest, 'select id from snapshot where id = 600')).toHaveLength(1)
    const id = String((await erase({ model: 'roses', subject: '600' })).json['id'])
    const shown = await done(id)
    expect(shown['snapshots']).toMatchObject([
      { digest: before.digest, holds: 'yes', drop_after: expect.any(String) },
      { digest: 'sha256:of-before-there-were-lists', holds: 'unknown' },
    ])
    const after = (await take()) as { digest: string }
    expect(after.digest).not.toBe(before.digest)
    expect(await look(after.digest, 'select id from snapshot where id = 600')).toEqual([])
    expect(await look(after.digest, 'select id from snapshot where id = 601')).toHaveLength(1)
    // A subject in no snapshot.
    const absent = await done(String((await erase({ model: 'roses', subject: '999999' })).json['id']))
    expect(absent).toMatchObject({ status: 'nothing_found', snapshots: [{ holds: 'unknown' }] })

    await store.query(sql`update snapshots set dropped_at = now() where digest like '%lists'`)
    expect(await dropErasedSnapshots(deps)).toBe(0)
    await store.query(sql`update erasure_snapshots set drop_after = now() where digest = ${before.digest}`)
    const training = sql`insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
      values ('busy', 'roses', ${before.digest}, 1, 'c', 'd', 'running')`
    await store.query(training)
    expect(await dropErasedSnapshots(deps)).toBe(0)
    await store.query(sql`update trainings set status = 'failed' where id = 'busy'`)
    // The evaluation of a retraining reads the snapshot after the training.
    await store.query(sql`
      insert into retrainings (id, model, as_of, reason, requested_by) values ('retrain/roses/1', 'roses', now(), 'manual', 'test')`)
    await store.query(sql`
      insert into validations (id, model, snapshot_digest, verdict, report) values ('v', 'roses', ${before.digest}, 'pass', '{}')`)
    expect(await dropErasedSnapshots(deps)).toBe(0)
    await store.query(
      sql`update retrainings set outcome = 'not_better', ended_at = now() where id = 'retrain/roses/1'`,
    )
    // A snapshot of another model has the same persons.
    const subjects = await store.query<{ list: string }>(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
      select 'sha256:of-another-model', 'iris', as_of, 1, 1, '{}', source from snapshots where digest = ${before.digest}
      returning source ->> 'subjects' as list`)
    const list = subjects[0]!.list
    expect(await dropErasedSnapshots(deps)).toBe(1)
    await expect(deps.artifacts.locate('snapshots', before.digest)).rejects.toMatchObject({
      code: 'artifact_corrupt',
    })
    const { hashOf } = await openSubjectKey(deps.config.signing.subjectKey)
    const subject = { subjectHash: hashOf('600'), isNumber: false }
    const asked = { model: 'iris', subject, isDeclared: true }
    const find = () => findSnapshotsOf(deps, asked)
    expect(await find()).toContainEqual({ digest: 'sha256:of-another-model', holds: 'yes' })
    // A list that is lost does not stop an erasure, also where its snapshot is lost; a store without any file does, for a while.
    await deps.artifacts.remove('snapshots', list)
    expect(await find()).toContainEqual({ digest: 'sha256:of-another-model', holds: 'unknown' })
    const missing = { ...deps, artifacts: openArtifacts(`${deps.config.stateDir}/unmounted`) }
    await expect(findSnapshotsOf(missing, asked)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await store.query(sql`
      update snapshots set source = source || ${JSON.stringify({ subjects: list })}::jsonb where digest = ${after.digest}`)
    await store.query(sql`update snapshots set dropped_at = now() where digest like '%lists'`)
    expect(await findSnapshotsOf(deps, { ...asked, model: 'roses' })).toEqual([
      { digest: after.digest, holds: 'unknown' },
    ])
    await store.query(sql`update snapshots set dropped_at = now() where digest = 'sha256:of-another-model'`)
    expect((await receipt(id))['snapshots']).toMatchObject([{ dropped_at: expect.any(String) }, {}])
  })

  it('exclude a subject whose erasure ends while the snapshot is taken', async () => {
    const { deps, store } = core
    const take = (artifacts = deps.artifacts) =>
      new MockActivityEnvironment().run(takeSnapshot({ ...deps, artifacts }), {
        model: 'roses',
        asOf: exampleDay(36),
      }) as Promise<{ digest: string }>
    let id = ''
    const taken = await take({
      ...deps.artifacts,
      // The file is written and its row is not: the erasure cannot list it.
      async share(area, digest) {
        await deps.artifacts.share(area, digest)
        if (id !== '') return
        id = String((await erase({ model: 'roses', subject: '602' })).json['id'])
        await done(id)
      },
    })
    expect(taken).toEqual(await take())
    const path = await deps.artifacts.locate('snapshots', taken.digest)
    const ids = await withDuck((duck) =>
      duck.rows(`select id from ${textLiteral(path)} where id in (602, 603) order by id`),
    )
    expect(ids).toEqual([{ id: 603 }])
    const stored = await store.query(sql`select digest from snapshots where as_of = ${exampleDay(36)}`)
    expect(stored).toEqual([{ digest: taken.digest }])
  })

  it('are refused under a key that cannot identify erased subjects', async () => {
    const { deps } = core
    const other = {
      ...deps,
      config: {
        ...deps.config,
        signing: { ...deps.config.signing, subjectKey: `${deps.config.stateDir}/other.key` },
      },
    }
    const take = new MockActivityEnvironment().run(takeSnapshot(other), {
      model: 'roses',
      asOf: exampleDay(35),
    })
    await expect(take).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringMatching(/another secret \(TENURE_SUBJECT_KEY\)/),
    })
  })

  it('report a missing subject column', async () => {
    const { deps, store } = core
    await store.query(
      sql`update models set definition = definition || '{"subject":"ident"}' where name = 'roses'`,
    )
    const take = new MockActivityEnvironment().run(takeSnapshot(deps), {
      model: 'roses',
      asOf: exampleDay(35),
    })
    await expect(take).rejects.toMatchObject({
      code: 'invalid_model_file',
      message: expect.stringMatching(/no column "ident"; they have id/),
    })
  })
})
