/** Tests feature views on the real Temporal: scheduled ingestion, ingestion on request, and failures. */
import { ScheduleNotFoundError } from '@temporalio/client'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { featuresGroup } from '../../cli/commands/registry/features.ts'
import { exitCodes } from '../../cli/exit-codes.ts'
import { syncViews } from '../../cli/sync/sync-models.ts'
import { viewScheduleId } from '../../workflows/client/schedules.ts'
import {
  byTime,
  category,
  defineModel,
  direct,
  lookup,
  number,
  postgres,
  view,
  yesNo,
} from '../../models/define.ts'
import { listValues, findView, recordRun, upsertView } from '../../store/features/feature-views.ts'
import { upsertModels } from '../../store/registry/models.ts'
import { materialiseWorkflowId, type MaterialiseOutcome } from '../../workflows/messages.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { runCommand } from '../support/command-line.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../support/servers/servers.ts'
import {
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../support/serving/serving-fixture.ts'

let core: Core
let fixture: ServingFixture
let api: TestApi
const keys: Record<string, string> = {}
const name = uniqueName('sensors')
const [model, hidden] = [uniqueName('model'), uniqueName('hidden')]
const sensors = view(name, {
  about: 'What the sensors said last.',
  entity: ['room', 'floor'],
  source: postgres({ rows: 'select * from said', eventTime: 'at' }),
  knownAt: 'told_at',
  values: { warmth: number() },
  timeToLive: '1 h',
  every: '1 h',
  keep: '30 d',
})
const { definition } = defineModel({
  name: model,
  features: { room: category(), warmth: lookup(sensors, 'warmth') },
  label: yesNo({ column: 'found', positive: 'found' }),
  source: postgres({ rows: 'select 1', eventTime: 'at' }),
  split: byTime({ train: '3 d', test: '1 d' }),
  train: () => {
    throw new Error('the model is not trained')
  },
  evaluation: { floors: { auc: 0.5 } },
  release: direct({ approval: { by: 1, within: '1 h' } }),
})

beforeAll(async () => {
  const databaseUrl = await migratedDatabase()
  core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  fixture = servingFixtureOn({ databaseUrl, artifactRoot: core.config.artifactRoot })
  for (const [who, role, models] of [
    ['olga', 'operator', undefined],
    ['vera', 'viewer', undefined],
    ['petra', 'predictor', undefined],
    ['hugo', 'operator', [hidden]],
  ] as const)
    keys[who] = await fixture.key({ name: who, role, models: models === undefined ? undefined : [...models] })
  const { address, namespace } = core.config.temporal
  api = await startApi(fixture, {
    temporal: { address, namespace, controlQueue: core.config.taskQueues.control },
  })
  await core.store.query(
    sql`create table said (room text, floor integer, at timestamptz, told_at timestamptz, warmth float8)`,
  )
  await core.store.query(sql`grant select on said to tenure_reader`)
  await core.store.query(sql`
    insert into said select 'r' || i % 100, i % 3, now() - make_interval(mins => i / 100), now() - make_interval(mins => i / 100), i
    from generate_series(1, 12000) as i`)
  await upsertModels(core.store, [{ name: model, definition, codeDigest: 'c' }])
})
afterAll(async () => {
  await core.client.schedule
    .getHandle(viewScheduleId({ name, digest }))
    .delete()
    .catch(() => {})
  await api.stop()
  await fixture.close()
  await core.stop()
})

const sync = () =>
  syncViews(
    { client: core.client, store: core.store, taskQueue: core.config.taskQueues.control },
    definition.views ?? [],
  )
const { digest } = definition.views![0]!
const stored = () => findView(core.store, digest)
const ask = (method: string, path: string, who = 'olga', body?: object) =>
  api.request(method, path, { key: keys[who]!, body })
const ran = () => until(async () => (await stored())?.watermark !== undefined, 'the first run')

it('a scheduled feature view ingests each row once, across repeated and concurrent runs', async () => {
  await sync()
  await sync()
  await ran()
  const count = async () => {
    const [row] = await core.store.query<{ n: number }>(
      sql`select count(*)::integer as n from feature_history`,
    )
    return row!.n
  }
  const described = await core.client.schedule.getHandle(viewScheduleId({ name, digest })).describe()
  expect(described.spec.intervals).toMatchObject([{ every: 3_600_000 }])
  await until(async () => (await count()) === 12_000, 'all rows')
  // As if everything had been killed before the watermark moved; and two runs at once.
  await core.store.query(sql`update feature_views set watermark = null`)
  const outcomes = await Promise.all(
    ['one', 'two'].map((which) =>
      core.client.workflow.execute('materialise', {
        workflowId: uniqueName(which),
        taskQueue: core.config.taskQueues.control,
        args: [{ view: name }],
      }),
    ),
  )
  expect((outcomes as MaterialiseOutcome[]).map(({ read, added, late }) => [read, added, late])).toEqual([
    [12_000, 0, 0],
    [12_000, 0, 0],
  ])
  expect(await count()).toBe(12_000)
})

it('a feature view and the values of an entity are visible to keys that cover them', async () => {
  const list = await ask('GET', '/v1/features', 'vera')
  expect(list.json['features']).toMatchObject([
    {
      name,
      models: [model],
      versions: [],
      entity: ['room', 'floor'],
      values: { warmth: 'number' },
      every_ms: 3_600_000,
    },
  ])
  const shown = await ask('GET', `/v1/features/${name}`, 'vera')
  expect(shown.json).toMatchObject({ name, definitions: [{ entities: 300, source: { kind: 'postgres' } }] })
  const known = await ask(
    'GET',
    `/v1/features/${name}/values?entity=${encodeURIComponent('r7 / 1')}&limit=1`,
    'vera',
  )
  const [newest] = await listValues(core.store, {
    viewId: (await stored())!.id,
    entity: 'r7\u001f1',
    at: new Date().toISOString(),
    limit: 1,
  })
  expect(known.json['values']).toMatchObject([{ features: newest!.features, event_at: newest!.eventAt }])
  const before = await ask(
    'GET',
    `/v1/features/${name}/values?entity=r7%20/%201&at=2001-01-01T00:00:00Z`,
    'vera',
  )
  expect(before.json['values']).toEqual([])
  expect((await ask('GET', '/v1/features', 'hugo')).json).toEqual({ features: [] })
  for (const [method, path, who, status, code, body] of [
    ['GET', `/v1/features/${name}`, 'hugo', 404, 'not_found'],
    ['GET', '/v1/features/none', 'vera', 404, 'not_found'],
    ['GET', '/v1/features', 'petra', 403, 'forbidden'],
    ['GET', '/v1/features?limit=0', 'vera', 400, 'invalid_request'],
    ['GET', `/v1/features/${name}/values`, 'vera', 400, 'invalid_request'],
    ['GET', `/v1/features/${name}/values?entity=a&at=tomorrow`, 'vera', 400, 'invalid_request'],
    ['POST', `/v1/features/${name}/materialise`, 'vera', 403, 'forbidden', {}],
    [
      'POST',
      `/v1/features/${name}/materialise`,
      'olga',
      400,
      'invalid_request',
      { from: '2999-01-01T00:00:00Z' },
    ],
    ['POST', '/v1/features/none/materialise', 'olga', 404, 'not_found', {}],
  ] as const) {
    const refused = await ask(method, path, who, body)
    expect([refused.status, refused.json['code']], path).toEqual([status, code])
  }
})

/** Runs a command against the API. */
async function run(...words: string[]): Promise<{ code: number; said: string }> {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const options = { key: keys['olga']!, ...(body === '' ? {} : { body: JSON.parse(body) as object }) }
      void api
        .request(request.method!, request.url!, options)
        .then(({ status, text }) =>
          response.writeHead(status, { 'content-type': 'application/json' }).end(text),
        )
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { code, out, err } = await runCommand([featuresGroup], ['features', ...words, '--url', url])
  server.close()
  return { code, said: out + err }
}

it('the command line shows a feature view and starts its ingestion', async () => {
  expect(await run()).toMatchObject({ code: exitCodes.done, said: expect.stringContaining(name) as unknown })
  const shown = await run('show', name)
  expect(shown.said).toMatch(/What the sensors said last\.[^]*room, floor[^]*postgres: select \* from said/)
  expect((await run('show', name, '--entity', 'r7 / 1')).said).toMatch(/current.*warmth \d+/)
  expect((await run('show', name, '--entity', 'nowhere')).said).toContain('No values for nowhere.')
  expect((await run('show', 'none')).code).toBe(exitCodes.notFound)
  expect((await run('materialise', name)).said).toMatch(/Started|already running/)
  await core.client.workflow.getHandle(materialiseWorkflowId(name)).result()
})

it('a feature view ingests rows beyond the lateness bound on request', async () => {
  await core.store.query(
    sql`insert into said values ('late', 1, now() - interval '1 day', now() - interval '1 day', 5)`,
  )
  const begun = await ask('POST', `/v1/features/${name}/materialise`, 'olga', {
    from: new Date(Date.now() - 2 * 86_400_000).toISOString(),
  })
  expect(begun).toMatchObject({
    status: 202,
    json: { view: name, workflow_id: materialiseWorkflowId(name), begun: true },
  })
  await core.client.workflow.getHandle(materialiseWorkflowId(name)).result()
  const { id, lateRows } = (await stored())!
  expect(lateRows).toBe(1)
  expect(
    await listValues(core.store, {
      viewId: id,
      entity: 'late\u001f1',
      at: new Date(Date.now() - 3_600_000).toISOString(),
      limit: 1,
    }),
  ).toEqual([])
})

it('a failing definition of a feature view raises an alert until a run succeeds, and keeps no other from it', async () => {
  const alerts = () =>
    core.store.query<{ resolved: boolean; message: string }>(
      sql`select resolved_at is not null as resolved, message from alerts where kind = 'features_late'`,
    )
  const ingest = () =>
    core.client.workflow.execute('materialise', {
      workflowId: uniqueName('run'),
      taskQueue: core.config.taskQueues.control,
      args: [{ view: name }],
    })
  // As a version that serves was trained on the view before its file changed.
  const before = { ...definition.views![0]!, digest: 'sha256:before', values: { heat: 'number' as const } }
  const former = uniqueName('former')
  const use = (views: FeatureView[]) =>
    upsertModels(core.store, [{ name: former, definition: { ...definition, views }, codeDigest: 'c' }])
  await use([before])
  await upsertView(core.store, before)
  await core.store.query(
    sql`update feature_views set synced_at = now() - interval '1 day' where digest = ${before.digest}`,
  )
  await core.store.query(sql`alter table said rename column warmth to heat`)
  await expect(ingest()).rejects.toMatchObject({ cause: { type: 'source_unreadable' } })
  const { watermark, problem } = (await findView(core.store, before.digest))!
  expect([watermark, problem]).toEqual([expect.any(String), undefined])
  expect(await alerts()).toMatchObject([
    { resolved: false, message: expect.stringContaining('warmth') as unknown },
  ])
  expect((await stored())?.problem).toContain('there is no column "warmth"')
  await core.store.query(sql`alter table said rename column heat to warmth`)
  const both = (await run('show', name, '--entity', 'r7 / 1')).said
  expect(both).toMatch(/current .*(warmth|heat) \d+[^]*current .*(warmth|heat) \d+/)
  await recordRun(core.store, { id: (await findView(core.store, before.digest))!.id, problem: 'no heat' })
  expect((await run()).said).toContain('no heat')
  await use([])
  const listed = (await run()).said
  expect([listed.includes('not used'), listed.includes('no heat')]).toEqual([true, false])
  await ingest()
  expect(await alerts()).toMatchObject([{ resolved: true }])
  expect((await stored())?.problem).toBeUndefined()
})

it('a history that has ended is kept as long as a current one, by two runs at once', async () => {
  const ended = uniqueName('ended')
  const views = view(ended, {
    entity: 'room',
    source: postgres({
      rows: `select 'r' as room, timestamptz '2001-01-01' + day * interval '1 day' as at from generate_series(1, 90) as day`,
      eventTime: 'at',
    }),
    knownAt: 'at',
    values: { at: category() },
    timeToLive: '1 h',
    keep: '30 d',
  })
  const using = { ...definition, name: uniqueName('historian'), views: [views.definition] }
  await upsertView(core.store, views.definition)
  await upsertModels(core.store, [{ name: using.name, definition: using, codeDigest: 'c' }])
  const runs = ['one', 'two'].map((which) =>
    core.client.workflow.execute('materialise', {
      workflowId: uniqueName(which),
      taskQueue: core.config.taskQueues.control,
      args: [{ view: ended }],
    }),
  )
  await Promise.all(runs)
  const { id, lateRows } = (await findView(core.store, views.definition.digest))!
  const [kept] = await core.store.query(sql`
    select count(*)::integer as n, min(usable_at)::date::text as first, max(usable_at)::date::text as last
    from feature_history where view_id = ${id}`)
  expect([kept, lateRows]).toEqual([{ n: 31, first: '2001-03-02', last: '2001-04-01' }, 0])
})

it('an unused feature view loses its schedule and is not ingested', async () => {
  await upsertModels(core.store, [{ name: model, definition: { ...definition, views: [] }, codeDigest: 'd' }])
  await syncViews({ client: core.client, store: core.store, taskQueue: core.config.taskQueues.control }, [])
  await expect(core.client.schedule.getHandle(viewScheduleId({ name, digest })).describe()).rejects.toThrow(
    ScheduleNotFoundError,
  )
  const refused = await ask('POST', `/v1/features/${name}/materialise`, 'olga', {})
  expect([refused.status, refused.json['code']]).toEqual([404, 'not_found'])
})
