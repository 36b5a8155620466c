/** Tests the control routes on a real database: their responses, and the error of each invalid request. */
import sql from 'sql-template-tag'
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { routesOf } from '../../../api/routes/all-routes.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { insertRetraining } from '../../../store/training/retrainings.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
/** Nothing that a start may defer has an id of these. */
const neverDeferred = ['/v1/erasures/:id', '/v1/evaluations/:id', '/v1/predictions/:id']
const get = (path: string) => api.request('GET', path, { key })
const post = (path: string, body: unknown) => api.request('POST', path, { key, body })

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const version = await fixture.register(irisSpec())
  await moveChampion(fixture.store, {
    model: 'iris',
    to: version,
    cause: 'promotion',
    actor: 'anna',
    reason: 'first',
  })
  const route = await fixture.route('iris', { proven: version })
  await fixture.store.transaction((database) =>
    appendAudit(database, {
      actor: 'anna',
      action: 'champion.promoted',
      subject: version,
      model: 'iris',
      detail: {},
    }),
  )
  await upsertAlert(fixture.store, {
    dedupeKey: 'a',
    model: 'iris',
    severity: 'warning',
    kind: 'not_better',
    message: 'no',
  })
  await insertRetraining(fixture.store, {
    id: 'retrain/iris/018f0000-0000-7000-8000-000000000000',
    model: 'iris',
    reason: 'manual',
    requestedBy: 'olga',
    asOf: '2026-01-01T00:00:00Z',
    evidence: {},
  })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

describe('the lists', () => {
  it('of models show champions', async () => {
    const { json } = await get('/v1/models')
    expect(json).toMatchObject({ models: [{ name: 'iris', champion: { version: 'iris_v1.0.0' } }] })
  })

  it('of one model shows features, output and the route of this replica', async () => {
    const { json } = await get('/v1/models/iris')
    expect(json).toMatchObject({
      name: 'iris',
      features: { sepalLength: { kind: 'number' } },
      output: { kind: 'classes' },
      route: { generation: 1, proven: 'iris_v1.0.0' },
    })
  })

  it('of versions omit the manifest, one version has it', async () => {
    const { json } = await get('/v1/versions?model=iris')
    expect(json).toMatchObject({
      versions: [{ version: 'iris_v1.0.0', artifact_digest: expect.any(String) }],
    })
    expect((json['versions'] as object[])[0]).not.toHaveProperty('manifest')
    expect((await get('/v1/versions/iris_v1.0.0')).json).toHaveProperty('manifest')
  })

  it('return an evaluation as data or as a page', async () => {
    const version = (await get('/v1/versions/iris_v1.0.0')).json
    const path = `/v1/evaluations/${String(version['evaluation_id'])}`
    await fixture.store.query(sql`update evaluations set page = '# iris', inputs = '{"rows": 45}'`)
    const data = await get(path)
    expect(data.json).toMatchObject({ model: 'iris', verdict: 'better', inputs: { rows: 45 } })
    expect(data.json).not.toHaveProperty('page')
    for (const accept of ['text/markdown', 'text/html, text/Markdown;q=0.5']) {
      const page = await api.request('GET', path, { key, headers: { accept } })
      expect(page).toMatchObject({ status: 200, text: '# iris' })
      expect(page.headers.get('content-type')).toBe('text/markdown; charset=utf-8')
    }
    expect((await get('/v1/evaluations/evl_none')).json).toMatchObject({ code: 'not_found' })
  })

  it('return the champion at a time', async () => {
    expect((await get('/v1/models/iris/champion')).json).toMatchObject({
      version: 'iris_v1.0.0',
      cause: 'promotion',
      actor: 'anna',
      reason: 'first',
    })
    const before = await get('/v1/models/iris/champion?at=2000-01-01T00:00:00Z')
    expect(before).toMatchObject({ status: 404, json: { code: 'not_found' } })
  })

  it.each<[string, number, string]>([
    [new Date(Date.now() + 3_600_000).toISOString(), 400, 'at: is in the future'],
    ['9999-12-31T23:59:59Z', 400, 'at: is in the future'],
    ['0000-01-01T00:00:00Z', 400, 'Invalid time'],
    ['2026-02-30T00:00:00Z', 400, 'Invalid time'],
    ['2026-03-01T12:00:00', 400, 'Invalid time'],
    ['2026-03-01T25:00:00Z', 400, 'Invalid time'],
    ['', 400, 'at: '],
    ['0001-01-01T00:00:00Z', 404, 'its first champion was iris_v1.0.0'],
    ['2001-03-01', 404, 'had no champion at 2001-03-01T00:00:00.000Z'],
    ['2001-03-01T12:00:00%2B02:00', 404, 'had no champion at 2001-03-01T10:00:00.000Z'],
    ['2001-03-01T12:00:00+02:00', 404, 'had no champion at 2001-03-01T10:00:00.000Z'],
    ['2001-03-01T12:00:00%2B23:00', 404, 'had no champion at 2001-02-28T13:00:00.000Z'],
    ['2001-03-01T12:00:00.123456789-15:59', 404, 'had no champion at 2001-03-02T03:59:00.123Z'],
    [`${new Date().getUTCFullYear() + 1}-01-01`, 400, 'at: is in the future'],
  ])('… at %s', async (at, status, said) => {
    const answer = await get(`/v1/models/iris/champion?at=${at}`)
    expect([answer.status, answer.json['detail']]).toEqual([status, expect.stringContaining(said)])
  })

  it('… at this moment, in any zone', async () => {
    const now = new Date(Date.now() + 5_400_000).toISOString().replace('Z', '+01:30')
    expect((await get(`/v1/models/iris/champion?at=${encodeURIComponent(now)}`)).json).toMatchObject({
      version: 'iris_v1.0.0',
    })
  })

  it('of audit, alerts and retrainings', async () => {
    const { json } = await get('/v1/audit?limit=1')
    expect(json).toMatchObject({
      audit: [{ action: 'champion.promoted', actor: 'anna', hash: expect.any(String) }],
    })
    expect((await get('/v1/audit/verify')).json).toMatchObject({ rows: 1 })
    expect((await get('/v1/alerts?open=true')).json).toMatchObject({
      alerts: [{ kind: 'not_better', dedupe_key: 'a' }],
    })
    expect((await get('/v1/retrainings?model=iris')).json).toMatchObject({
      retrainings: [{ requested_by: 'olga' }],
    })
    const id = encodeURIComponent('retrain/iris/018f0000-0000-7000-8000-000000000000')
    expect((await get(`/v1/retrainings/${id}`)).json).toMatchObject({
      model: 'iris',
      as_of: '2026-01-01T00:00:00.000Z',
    })
    expect((await get('/v1/releases')).json).toEqual({ releases: [], waiting: [] })
  })
})

describe('rejects a request', () => {
  const release = { model: 'iris', version: 'iris_v1.0.0' }
  it.each<[string, string, string, unknown, number, string, RegExp]>([
    [
      'of an unknown path',
      'GET',
      '/v3/nothing',
      undefined,
      404,
      'not_found',
      /no route matches \/v3\/nothing/,
    ],
    [
      'with a method that the path does not support',
      'PUT',
      '/v1/models',
      undefined,
      405,
      'method_not_allowed',
      /does not support PUT/,
    ],
    [
      'with NUL in its path',
      'GET',
      '/v1/models/iris%00',
      undefined,
      400,
      'invalid_request',
      /path contains NUL/,
    ],
    [
      'with NUL in its query',
      'GET',
      '/v1/versions?model=%00',
      undefined,
      400,
      'invalid_request',
      /query contains NUL/,
    ],
    [
      'with an unpaired surrogate in its reason',
      'POST',
      '/v1/models/iris/retrainings',
      { reason: '\ud83d' },
      400,
      'invalid_request',
      /body contains NUL or an unpaired/,
    ],
    [
      'with a time in the future',
      'POST',
      '/v1/models/iris/retrainings',
      { as_of: '2999-01-01T00:00:00Z' },
      400,
      'invalid_request',
      /as_of: is in the future/,
    ],
    ['of an unknown model', 'GET', '/v1/models/tulip', undefined, 404, 'model_not_found', /tulip/],
    [
      'of the champion of an unknown model',
      'GET',
      '/v1/models/tulip/champion',
      undefined,
      404,
      'model_not_found',
      /tulip/,
    ],
    [
      'of an unknown version',
      'GET',
      '/v1/versions/tulip_v1.0.0',
      undefined,
      404,
      'version_not_found',
      /tulip/,
    ],
    ['of an unknown release', 'GET', '/v1/releases/rel_0', undefined, 404, 'release_not_found', /rel_0/],
    [
      'with a command for an unknown release',
      'POST',
      '/v1/releases/rel_0/abort',
      {},
      404,
      'release_not_found',
      /rel_0/,
    ],
    ['of an unknown retraining', 'GET', '/v1/retrainings/x', undefined, 404, 'not_found', /"x"/],
    ['with an invalid limit', 'GET', '/v1/audit?limit=0', undefined, 400, 'invalid_request', /limit/],
    [
      'with an unknown query parameter',
      'GET',
      '/v1/alerts?colour=red',
      undefined,
      400,
      'invalid_request',
      /colour/,
    ],
    [
      'with an invalid time',
      'GET',
      '/v1/models/iris/champion?at=yesterday',
      undefined,
      400,
      'invalid_request',
      /at: Invalid time "yesterday"; use 2026-03-01/,
    ],
    ['with a body that is not JSON', 'POST', '/v1/releases', '{', 400, 'body_not_json', /does not parse/],
    [
      'with an unknown field',
      'POST',
      '/v1/releases',
      { ...release, force: true },
      400,
      'invalid_request',
      /force/,
    ],
    [
      'with a body that is too large',
      'POST',
      '/v1/releases',
      'x'.repeat(1_048_577),
      413,
      'body_too_large',
      /1048576/,
    ],
    [
      'for a version of another model',
      'POST',
      '/v1/releases',
      { ...release, model: 'rose' },
      404,
      'version_not_found',
      /of iris, not of rose/,
    ],
    [
      'with an invalid policy',
      'POST',
      '/v1/releases',
      { ...release, policy: {} },
      422,
      'invalid_policy',
      /policy/,
    ],
    [
      'with an invalid digest',
      'POST',
      '/v1/releases/rel_0/approve',
      { artifact_digest: 'x' },
      400,
      'invalid_request',
      /artifact_digest: is not a digest/,
    ],
    [
      'for a retraining with an invalid time',
      'POST',
      '/v1/models/iris/retrainings',
      { as_of: 'now' },
      400,
      'invalid_request',
      /as_of/,
    ],
    [
      'for a rollback with an empty reason',
      'POST',
      '/v1/models/iris/rollback',
      { reason: '' },
      400,
      'invalid_request',
      /reason/,
    ],
  ])('%s', async (_name, method, path, body, status, code, detail) => {
    const answer = await api.request(method, path, { key, body })
    expect(answer).toMatchObject({ status, json: { code, status } })
    expect(answer.json['detail']).toMatch(detail)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    if (code === 'method_not_allowed') expect(answer.headers.get('allow')).toBe('GET, HEAD')
  })

  it('of an id of a command, wherever a start may have given it in place of an id, with the command as remedy', async () => {
    const started = routesOf(api.deps)
      .filter(({ method, path }) => method === 'get' && /^\/v1\/\w+\/:id$/.test(path))
      .map(({ path }) => path)
      .filter((path) => !['/v1/commands/:id', ...neverDeferred].includes(path))
    expect(started.length).toBeGreaterThan(3)
    for (const path of started)
      expect([path, (await get(path.replace(':id', 'cmd_17'))).json]).toMatchObject([
        path,
        {
          status: 404,
          remedy: expect.stringMatching(/`tenure commands show cmd_17` or GET \/v1\/commands\/cmd_17 /),
        },
      ])
  })

  it('under the id of the request, if the id is valid', async () => {
    const headers = { 'x-request-id': 'order-17' }
    expect((await api.request('GET', '/v1/models', { headers })).json['request_id']).toBe('order-17')
    const odd = await api.request('GET', '/v1/models', { headers: { 'x-request-id': '<script>' } })
    expect(odd.json['request_id']).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('without details of a defect except its id', async () => {
    await fixture.store.query(sql`alter table alerts rename to alarms`)
    const answer = await get('/v1/alerts')
    await fixture.store.query(sql`alter table alarms rename to alerts`)
    expect(answer).toMatchObject({ status: 500, json: { code: 'internal' } })
    expect(answer.text).not.toContain('alerts"')
    expect(answer.json['detail']).toContain(answer.json['request_id'])
    expect(api.troubles.join()).toContain(String(answer.json['request_id']))
  })
})

describe('a Temporal outage is reported within a second', () => {
  /** Repeats until one request is quick, because the first request also loads the client and other processes use the machine. */
  const attempt = async (asked: TestApi) => {
    let answer: Awaited<ReturnType<TestApi['request']>> | undefined
    const ask = async () => {
      const from = performance.now()
      answer = await asked.request('POST', '/v1/models/iris/retrainings', { key, body: {} })
      return performance.now() - from
    }
    await expect.poll(ask).toBeLessThan(1_100)
    return answer
  }

  it('when it is dead', async () => {
    const answer = await attempt(api)
    expect(answer).toMatchObject({
      status: 202,
      json: { model: 'iris', command: 'retrain', state: 'waiting' },
    })
    expect((await get('/v1/models')).status).toBe(200)
    expect((await post('/v1/models/iris/predict', { instances: [irisRow] })).status).toBe(200)
    const refused = await post('/v1/drills', { model: 'iris' })
    expect(refused).toMatchObject({ status: 503, json: { code: 'temporal_unavailable', retryable: true } })
    expect(refused.headers.get('retry-after')).toBe('1')
    const next = await fixture.register(irisSpec(), 1)
    await fixture.store.query(sql`
      update evaluations set baseline_version = 'iris_v1.0.0'
      where id = (select evaluation_id from versions where version = ${next})`)
    for (const [path, body] of [
      ['/v1/models/iris/retrainings', { reason: 'r' }],
      ['/v1/releases', { model: 'iris', version: next }],
    ] as const)
      expect([path, await post(path, body)]).toMatchObject([
        path,
        { status: 202, json: { state: 'waiting' } },
      ])
  })

  it('when it is silent', async () => {
    const mute = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => mute.once('listening', resolve))
    const { port } = mute.address() as { port: number }
    const silent = await startApi(fixture, {
      temporal: { address: `127.0.0.1:${port}`, namespace: 'default', controlQueue: 'unserved' },
    })
    const answer = await attempt(silent)
    expect(answer).toMatchObject({ status: 202, json: { state: 'waiting' } })
    await silent.stop()
    mute.close()
  })
})

describe('the state of the process', () => {
  it('reports that it is alive and ready, with details for a key', async () => {
    expect((await api.request('GET', '/livez')).json).toEqual({ status: 'alive' })
    expect((await api.request('GET', '/readyz')).json).toEqual({ status: 'ready' })
    expect((await get('/readyz')).json).toMatchObject({
      status: 'ready',
      stale: false,
      models: [{ model: 'iris', generation: 1, arms: [{ arm: 'champion', version: 'iris_v1.0.0' }] }],
    })
  })

  it('reports that it is not ready when a golden row does not match, or when it shuts down', async () => {
    const { predictor } = api.serving.routing.find('iris')!.complete.arms[0]!.loaded
    const { run } = predictor
    predictor.run = (input, rows, output) => {
      void run(input, rows, output)
      output[0] = output[0]! + 0.01
    }
    expect(await get('/readyz')).toMatchObject({ status: 503, json: { code: 'not_ready' } })
    expect((await get('/readyz')).json['detail']).toMatch(/iris_v1.0.0: golden row 0 gives/)
    expect((await api.request('GET', '/readyz')).json['detail']).toBe('this replica is not ready')
    predictor.run = run
    expect((await get('/readyz')).status).toBe(200)
    const ending = await startApi(fixture, { stopping: () => 'this replica is ending: SIGTERM' })
    expect((await ending.request('GET', '/readyz', { key })).json['detail']).toMatch(/ending: SIGTERM/)
    await ending.stop()
  })

  it('has metrics that add up', async () => {
    for (let i = 0; i < 5; i++) await post('/v1/models/iris/predict', { instances: [irisRow] })
    const { text } = await get('/metrics')
    const value = (line: string) =>
      Number(new RegExp(`^${line.replaceAll(/[{}.+"]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1])
    const labels = 'model="iris",version="iris_v1.0.0",arm="champion"'
    const answered = value(`tenure_predictions_total{${labels},result="answered"}`)
    expect(answered).toBeGreaterThanOrEqual(5)
    expect(value(`tenure_prediction_seconds_bucket{${labels},le="+Inf"}`)).toBe(answered)
    expect(value('tenure_prediction_log_total{state="served"}')).toBe(answered)
    expect(value('tenure_routing_generation{model="iris"}')).toBe(1)
    expect(text).toContain('process_resident_memory_bytes')
  })

  it('has its routes, as OpenAPI and as a page', async () => {
    const { json } = await get('/openapi.json')
    expect(json['openapi']).toBe('3.1.0')
    const page = await get('/docs/errors')
    expect(page.headers.get('content-type')).toMatch(/^text\/html/)
    expect(page.text).toContain('/v1/models/:name/predict')
    expect(page.text).toContain('missing_feature')
    expect(page.text).toMatch(/\/v1\/outcomes<\/td><td data-head="Roles">predictor, labeller, admin</)
    expect(page.text).toContain('name="viewport"')
    expect((await get('/')).text).toMatch(/iris[^]*v1\.0\.0/)
  })
})
