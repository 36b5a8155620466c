/** Tests that a key for some models gets full pages of its rows, however many newer rows other models have. */
import { AsyncLocalStorage } from 'node:async_hooks'
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describe } from '../../../api/http/openapi.ts'
import { pathTemplate } from '../../../api/http/route.ts'
import { roles } from '../../../domain/roles.ts'
import { callsOf, type OpenApiDocument } from '../../interop/calls.ts'
import { openingState } from '../../../domain/release/state.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import { insertBatch } from '../../../store/serving/batches.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { insertRetraining } from '../../../store/training/retrainings.ts'
import { scopedRole } from '../../../store/postgres.ts'
import { insertQueued } from '../../../store/release/release-queue.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { firstFacts } from '../../support/release/releases.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

/** A model whose rows are older and whose name sorts last. */
const own = 'zinnia'
const other = 'aster'
/** The run of the retraining of each model. */
const run = '00000000-0000-4000-8000-000000000001'

let fixture: ServingFixture
let api: TestApi
let key: string
let isStopping = false

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'viewer', models: [own] })
  for (const model of [own, other]) await leave(model, await fixture.register(irisSpec(model)))
  // Models with equal rows share a snapshot; it belongs to the first.
  await fixture.store.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values ('sha256:shared', ${other}, now(), 2, 10, '{}', '{}')`)
  await fixture.store.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    values ('v shared', ${own}, 'sha256:shared', 'pass', '{}')`)
  await crowd()
  api = await startApi(fixture, { stopping: () => (isStopping ? 'the test' : undefined) })
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** Inserts one row of the model into each list. */
async function leave(model: string, version: string): Promise<void> {
  const { store } = fixture
  const state = openingState({ ...firstFacts, id: `rel_${model}`, model, version }, 0)
  await insertRelease(store, { state, workflowId: `release/${model}`, runId: 'run' })
  await insertQueued(store, { model, version, requestedBy: 'olga', preemption: 'none' })
  await insertRetraining(store, {
    id: `retrain/${model}/${run}`,
    model,
    reason: 'manual',
    requestedBy: 'olga',
    asOf: '2026-01-01T00:00:00Z',
    evidence: {},
  })
  await insertBatch(store, {
    id: `bat_${model}`,
    model,
    version,
    input: { kind: 'file', path: 'rows.parquet' },
    output: { kind: 'table', key: [] },
    requestedBy: 'olga',
  })
  await upsertAlert(store, {
    dedupeKey: `m/${model}`,
    model,
    severity: 'warning',
    kind: 'drift_warn',
    message: `${model} has drifted`,
  })
}

/** Inserts as many models as the overview shows, each with everything that it shows. */
async function crowd(): Promise<void> {
  const { store } = fixture
  const models = sql`(select 'crowd-' || i as model from generate_series(1, 500) as i) as crowd`
  await store.query(
    sql`insert into models (name, definition, code_digest) select model, '{}', 'c' from ${models}`,
  )
  await store.query(sql`
    insert into releases (id, model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest, requested_by,
      workflow_id, run_id, stage, state)
    select 'rel_' || crowd.model, crowd.model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
      requested_by, workflow_id, run_id, stage, state || jsonb_build_object('id', 'rel_' || crowd.model, 'model', crowd.model)
    from releases, ${models} where releases.model = ${other}`)
  await store.query(sql`
    insert into release_queue (id, model, version, requested_by, preemption, until)
    select 'que_' || crowd.model, crowd.model, version, requested_by, preemption, until
    from release_queue, ${models} where release_queue.model = ${other}`)
  await store.query(sql`
    insert into alerts (dedupe_key, model, severity, kind, message)
    select 'm/' || model, model, 'warning', 'drift_warn', '' from ${models}`)
  await upsertAlert(store, {
    dedupeKey: 'all-models',
    severity: 'critical',
    kind: 'audit_broken',
    message: 'the chain of all models is broken',
  })
}

it.each([
  ['/v1/releases', 'releases'],
  ['/v1/releases?open=true', 'waiting'],
  ['/v1/retrainings', 'retrainings'],
  ['/v1/batches', 'batches'],
  ['/v1/alerts', 'alerts'],
])("a page of %s contains only rows of the key's models", async (path, list) => {
  const { json } = await api.request('GET', `${path}${path.includes('?') ? '&' : '?'}limit=1`, { key })
  expect(json[list]).toMatchObject([{ model: own }])
  const foreign = await api.request('GET', `${path.split('?')[0]}?model=${other}`, { key })
  expect(foreign.json[list]).toEqual([])
})

it.each([
  ['/v1/versions/:', 'version_not_found', (model: string) => `${model}_v1.0.0`],
  ['/v1/versions/:/card', 'version_not_found', (model: string) => `${model}_v1.0.0`],
  [
    `/v1/versions/compare?one=${own}_v1.0.0&other=:`,
    'version_not_found',
    (model: string) => `${model}_v1.0.0`,
  ],
  ['/v1/releases/:', 'release_not_found', (model: string) => `rel_${model}`],
  ['/v1/batches/:', 'not_found', (model: string) => `bat_${model}`],
])('%s answers alike for a model of others and for none', async (path, code, idOf) => {
  const ask = async (model: string) => {
    const { status, json } = await api.request('GET', path.replace(':', idOf(model)), { key })
    return { status, code: json['code'], detail: String(json['detail']).replaceAll(idOf(model), 'ID') }
  }
  const foreign = await ask(other)
  expect(foreign).toEqual(await ask('nothing'))
  expect(foreign).toMatchObject({ status: 404, code })
  const { status, json } = await api.request('GET', path.replace(':', idOf(own)), { key })
  if (!path.endsWith('/card')) expect(status, JSON.stringify(json)).toBe(200)
})

it('commands return the same response for a model of others and for an unknown model', async () => {
  const operator = await fixture.key({ role: 'admin', models: [own] })
  await api.deps.authentication.refresh()
  const [alert] = await fixture.store.query<{ id: number }>(
    sql`select id::int from alerts where model = ${other}`,
  )
  const [global] = await fixture.store.query<{ id: number }>(
    sql`select id::int from alerts where model is null`,
  )
  const say = async (method: string, path: string, body: object = {}) => {
    const { status, json } = await api.request(method, path, { key: operator, body: JSON.stringify(body) })
    return {
      status,
      code: json['code'],
      detail: String(json['detail']).replaceAll(/"[^"]*"|model \w+/g, 'ID'),
    }
  }
  const alike = async (method: string, path: (model: string) => string, body?: (model: string) => object) => {
    const foreign = await say(method, path(other), body?.(other))
    expect(foreign).toEqual(await say(method, path('nothing'), body?.('nothing')))
    expect([403, 404]).toContain(foreign.status)
  }
  await alike('POST', (model) => `/v1/releases/rel_${model}/approve`)
  await alike('POST', (model) => `/v1/models/${model}/retrainings`)
  await alike('POST', (model) => `/v1/models/${model}/rollback`)
  await alike(
    'PUT',
    (model) => `/v1/kill-switches/${model}`,
    () => ({ serve: 'normal', reason: 'r' }),
  )
  await alike(
    'POST',
    () => '/v1/releases',
    (model) => ({ model: own, version: `${model}_v1.0.0` }),
  )
  await alike(
    'POST',
    () => '/v1/erasures',
    (model) => ({ model, subject: 's' }),
  )
  await alike(
    'POST',
    () => '/v1/batches',
    (model) => ({ model, input: { kind: 'file', path: 'a.parquet' }, output: { kind: 'table' } }),
  )
  // Its progress is that of a workflow, which the database does not hide.
  await alike('POST', (model) => `/v1/retrainings/retrain%2F${model}%2F${run}/cancel`)
  for (const model of [other, 'nothing']) {
    const { status } = await api.request('GET', `/v1/retrainings/retrain%2F${model}%2F${run}`, {
      key: operator,
    })
    expect([model, status]).toEqual([model, 403])
  }
  for (const id of [alert!.id, global!.id])
    expect(await say('POST', `/v1/alerts/${id}/acknowledge`)).toEqual(
      await say('POST', '/v1/alerts/999999999/acknowledge'),
    )
})

/** The address and the body of a call about a model, whose ids all begin with or contain its name. */
function callAbout(model: string, path: string): string {
  const kind = /^\/(?:v1\/)?(\w+)/.exec(path)?.[1] ?? ''
  const id = {
    releases: `rel_${model}`,
    batches: `bat_${model}`,
    retrainings: `retrain%2F${model}%2F${run}`,
  }[kind]
  return path
    .replaceAll(/[{:]version\}?/g, `${model}_v1.0.0`)
    .replaceAll(/[{:]name\}?/g, model)
    .replaceAll(/[{:]id\}?/g, id ?? model)
    .replaceAll(/[{:]\w+\}?/g, model)
}

/** A call of every route about a model. */
function callsAbout(model: string) {
  const described = callsOf(describe(api.routes) as unknown as OpenApiDocument, {
    model: 'MODEL',
    models: 'MODEL',
    name: 'MODEL',
    version: 'MODEL_v1.0.0',
    one: 'MODEL_v1.0.0',
    release: 'rel_MODEL',
  })
  // A sign-in has no key, and is slowed down.
  return api.routes
    .filter(({ path }) => !path.startsWith('/sign-in'))
    .map((route) => {
      const call = described.find(
        ({ method, path }) => method === route.method && path === pathTemplate(route.path),
      )
      const query = new URLSearchParams(call?.query).toString()
      const path = callAbout(model, route.path) + (query && `?${query.replaceAll('MODEL', model)}`)
      const body = call?.body && JSON.stringify(call.body).replaceAll('MODEL', model)
      return { route, path, body }
    })
}

it('no route shows, counts or changes a row of a model of others, and each answers as for none, for every role', async () => {
  const marks = () =>
    fixture.store.query(sql`
      select relname, query_to_xml(format('select md5(string_agg(t::text, '''' order by t::text)) from %I as t where t::text ~ %L',
        relname, ${other}::text), true, true, '')::text as mark
      from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname not in ('audit', 'service_state') order by 1`)
  const keys = await Promise.all(roles.map((role) => fixture.key({ role, models: [own] })))
  await api.deps.authentication.refresh()
  const before = await marks()
  let calls = 0
  const abouts = [other, 'nothing', own].map((model) => callsAbout(model))
  for (const [index, { route, body }] of abouts[0]!.entries()) {
    // It ends with the replica and names no model; below, its statements are in the scope of the key.
    if (route.path === '/changes') continue
    for (const [place, key] of keys.entries()) {
      const ask = async (model: string) => {
        const about = abouts[[other, 'nothing', own].indexOf(model)]![index]!
        const { status, text } = await api.request(route.method.toUpperCase(), about.path, {
          key,
          body: about.body,
        })
        calls++
        const alike = text
          .replaceAll(model, 'MODEL')
          .replaceAll(/[\da-f]{8}-[-\da-f]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z/g, '…')
        return { status, text: alike }
      }
      const what = `${roles[place]} at ${route.method} ${route.path}`
      const found = await ask(other)
      const none = await ask('nothing')
      expect([what, found.status]).toEqual([what, none.status])
      if (found.status >= 400) expect([what, found.text]).toEqual([what, none.text])
      // What the request has named may stand in the answer, nothing else of the model.
      expect(found.text.replaceAll('MODEL', ''), what).not.toMatch(/crowd-|the chain of all models/)
      if (!/[:]/.test(route.path) && body === undefined)
        expect((await ask(own)).text, what).not.toContain(other)
    }
  }
  expect(calls).toBeGreaterThan(1_500)
  expect(await marks()).toEqual(before)
})

/** The statements of a request, in the scope of its key and outside of it. */
interface Sent {
  inScope: string[]
  beside: string[]
}

/** Follows what requests send on any connection of this process, by whatever function. Returns a function that ends this. */
function followRequests(during: AsyncLocalStorage<Sent>): () => void {
  const { query } = pg.Client.prototype
  const open = new WeakMap<pg.Client, { isScoped: boolean; sent: string[]; isRefusal: boolean }>()
  pg.Client.prototype.query = function (this: pg.Client, ...args: [Sending, ...unknown[]]) {
    const [sending] = args
    const request = during.getStore()
    const text = typeof sending === 'string' ? sending : (sending.text ?? 'a COPY, or a cursor')
    if (text.startsWith('begin'))
      open.set(this, {
        isScoped: text.includes(`set local role = '${scopedRole}'`),
        sent: [],
        isRefusal: false,
      })
    const transaction = open.get(this)
    const isScoped =
      transaction?.isScoped ??
      (sending instanceof pg.Query && textsOf(sending)[0]?.includes(`set_config('role'`))
    if (isScoped) request?.inScope.push(text)
    else if (transaction === undefined) request?.beside.push(text)
    else {
      transaction.sent.push(text)
      transaction.isRefusal ||=
        (sending as { values?: unknown[] }).values?.includes('access.refused') === true
    }
    if (/^(commit|rollback)/.test(text) && transaction !== undefined) {
      open.delete(this)
      // The audit tells of a refused command whatever the key, and without a model.
      if (!transaction.isRefusal) request?.beside.push(...transaction.sent)
    }
    return Reflect.apply(query, this, args)
  } as typeof query
  return () => void (pg.Client.prototype.query = query)
}

type Sending = string | { text?: string; values?: unknown[] }

/** The statements that a query object of the driver sends in one message. */
function textsOf(query: pg.Query): string[] {
  const texts: string[] = []
  const ignore = () => {}
  query.submit({
    parse: ({ text }: { text: string }) => void texts.push(text),
    bind: ignore,
    execute: ignore,
    describe: ignore,
    sync: ignore,
    stream: { cork: ignore, uncork: ignore },
    parsedStatements: {},
    submittedNamedStatements: {},
  } as unknown as pg.Connection)
  return texts
}

it('/readyz names the models of the key only, and /metrics and the audit of all models need a key of all', async () => {
  for (const model of [own, other]) await fixture.route(model, { proven: `${model}_v1.0.0` })
  const everything = await fixture.key({ role: 'viewer' })
  const models = async (with_: string) =>
    ((await api.request('GET', '/readyz', { key: with_ })).json['models'] as { model: string }[])
      .map(({ model }) => model)
      .sort()
  await expect.poll(() => models(everything)).toEqual([other, own])
  expect((await api.request('GET', '/readyz', { key })).text).not.toContain(other)
  expect(await models(key)).toEqual([own])
  for (const path of ['/metrics', '/v1/audit/verify']) {
    const { status, text } = await api.request('GET', path, { key })
    expect([status, text]).toEqual([403, expect.stringContaining('needs a key of all models')])
    expect((await api.request('GET', path, { key: everything })).status).toBe(200)
  }
})

it('the audit is followed once for many keys, and again for an admin', async () => {
  const viewer = await fixture.key({ role: 'viewer' })
  const admin = await fixture.key({ role: 'admin' })
  await api.deps.authentication.refresh()
  const verify = async (with_: string) =>
    (await api.request('GET', '/v1/audit/verify', { key: with_ })).json['verified_at']
  expect(await verify(viewer)).toEqual(expect.any(String))
  const [first, ...others] = await Promise.all(Array.from({ length: 8 }, () => verify(viewer)))
  expect(new Set(others)).toEqual(new Set([first]))
  expect(await verify(viewer)).toBe(first)
  const fresh = await verify(admin)
  expect(fresh).not.toBe(first)
  expect(await verify(viewer)).toBe(fresh)
})

it('the overview shows the models of the key with their open items, and nothing of other models', async () => {
  const browser = { accept: 'text/html', host: 'localhost' }
  const signed = await api.request('POST', '/sign-in', {
    body: new URLSearchParams({ key }).toString(),
    headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded' },
  })
  const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
  const { text } = await api.request('GET', '/', { headers: { ...browser, cookie } })
  expect(text).toContain(`href="/models/${own}"`)
  expect(text).toContain(`href="/releases/rel_${own}"`)
  expect(text).toContain(`${own} has drifted`)
  for (const foreign of [other, 'crowd-', 'the chain of all models']) expect(text).not.toContain(foreign)
})

it('every statement of a request is in the scope of its key, on whatever connection, for every route', async () => {
  const during = new AsyncLocalStorage<Sent>()
  const admin = await fixture.key({ models: [own] })
  await api.deps.authentication.refresh()
  const stop = followRequests(during)
  const sent = new Map<string, Sent>()
  try {
    // What the streams read; the last one ends them.
    const looks: Record<string, string> = {
      '/releases/:id/changes': 'as mark',
      '/changes': 'as changed_at',
    }
    const asked = callsAbout(own).map(async ({ route, path, body }) => {
      const request: Sent = { inScope: [], beside: [] }
      sent.set(`${route.method} ${route.path}`, request)
      const answered = during.run(request, () =>
        api.request(route.method.toUpperCase(), path, { key: admin, body }),
      )
      const look = looks[route.path]
      if (look !== undefined) {
        await until(() => request.inScope.some((text) => text.includes(look)), `a look of ${route.path}`)
        delete looks[route.path]
        isStopping = Object.keys(looks).length === 0
      }
      await answered
    })
    await Promise.all(asked)
    const { pool } = api.store
    await until(() => pool.idleCount === pool.totalCount && pool.waitingCount === 0, 'the statements')
  } finally {
    stop()
    isStopping = false
  }
  const beside = [...sent].filter(([, request]) => request.beside.length > 0)
  expect(beside).toEqual([])
  expect([...sent.values()].filter(({ inScope }) => inScope.length > 0).length).toBeGreaterThan(70)
})
