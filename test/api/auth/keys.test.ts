/** Checks that every route declares its roles and requires a key. */
import { Hono } from 'hono'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { predictionsAreOpen } from '../../../api/auth/authentication.ts'
import {
  isHandled,
  rolesOf,
  routerPath,
  assertDeclared,
  defineRoute as declare,
  type RouteDefinition,
} from '../../../api/http/route.ts'
import { roles, type Role } from '../../../domain/roles.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { idOfKey, listKeys, revokeKey } from '../../../store/access/api-keys.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  methodOf,
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
const keys = {} as Record<Role, string>
const predict = { instances: [irisRow] }

beforeAll(async () => {
  fixture = await openServingFixture()
  for (const role of roles) keys[role] = await fixture.key({ name: role, role })
  const version = await fixture.register(irisSpec())
  await fixture.register(irisSpec('other'))
  const route = await fixture.route('iris', { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** Builds a request for each route that reaches the role check. */
const pathOf = ({ path }: RouteDefinition): string =>
  path.replace(':name', 'iris').replace(':id', 'nothing').replace(':version', 'nothing')

describe('every route', () => {
  it('declares its roles', () => {
    const declared = api.routes.map(({ method, path }) => `${method.toUpperCase()} ${routerPath(path)}`)
    const mounted = api.mounted.map(({ method, path }) => `${method} ${path}`)
    expect(new Set(mounted)).toEqual(new Set([...declared, 'ALL /*']))
    for (const { allow, path } of api.routes)
      expect(allow === 'public' || rolesOf(allow).length > 0, path).toBe(true)
  })

  it('answers with nosniff, whatever it answers', async () => {
    // The transport adds it to predictions, which its own tests show.
    for (const route of [
      ...api.routes.filter(isHandled),
      { method: 'get', path: '/nothing' } as RouteDefinition,
    ])
      for (const key of [keys.admin, undefined]) {
        const answer = await api.request(methodOf(route), pathOf(route), key === undefined ? {} : { key })
        const sent = answer.headers.get('x-content-type-options')
        expect([route.method, route.path, answer.status, sent]).toEqual([
          route.method,
          route.path,
          answer.status,
          'nosniff',
        ])
      }
  })

  it('requires a key, except the health routes', async () => {
    const open = []
    for (const route of api.routes) {
      const { status, json } = await api.request(route.method.toUpperCase(), pathOf(route))
      if (status !== 401) open.push(route.path)
      else expect(json['code']).toBe('unauthenticated')
    }
    const signIn = ['/sign-in', '/sign-in', '/sign-in/sso', '/sign-in/callback']
    const plain = ['/assets/:file', '/csp-reports']
    expect(open).toEqual([
      '/v2',
      '/v2/health/live',
      '/v2/health/ready',
      '/ping',
      '/health',
      '/version',
      // Its body is signed by another replica.
      '/v1/rollback-orders',
      '/livez',
      '/readyz',
      // pip sends no key.
      '/v1/clients/python',
      '/v1/clients/python/:file',
      ...signIn,
      ...plain,
    ])
  })

  it('admits exactly its roles', async () => {
    for (const route of api.routes) {
      if (route.allow === 'public') continue
      const allowed: readonly Role[] = rolesOf(route.allow)
      for (const role of roles) {
        const { status, json } = await api.request(methodOf(route), pathOf(route), { key: keys[role] })
        const refused = methodOf(route) === 'HEAD' ? status === 403 : json['code'] === 'forbidden'
        expect(refused, `${role} at ${route.method} ${route.path}`).toBe(!allowed.includes(role))
      }
    }
  })

  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']
  it('refuses any undeclared method with 405, for any key', async () => {
    const paths = [...new Set(api.routes.map(pathOf))]
    let cells = 0
    for (const path of paths) {
      const declared = api.routes
        .filter((each) => pathOf(each) === path)
        .map(({ method }) => method.toUpperCase())
      const taken = declared.includes('GET') ? [...declared, 'HEAD'] : declared
      for (const method of methods.filter((each) => !taken.includes(each)))
        for (const key of [undefined, ...Object.values(keys)]) {
          const { status, headers } = await api.request(method, path, key === undefined ? {} : { key })
          expect(status, `${method} ${path}`).toBe(405)
          expect(headers.get('allow')).toBe([...new Set(taken)].sort().join(', '))
          cells++
        }
    }
    expect(cells).toBeGreaterThan(500)
  })

  it('requires a key for HEAD as for GET', async () => {
    for (const { method, path, allow } of api.routes)
      if (method === 'get' && allow !== 'public')
        expect((await api.request('HEAD', pathOf({ path } as RouteDefinition))).status, path).toBe(401)
  })

  it('of a model refuses keys of another model', async () => {
    const scoped = await Promise.all(
      roles.map(async (role) => [role, await fixture.key({ role, models: ['other'] })] as const),
    )
    await api.deps.authentication.refresh()
    const aboutOne = api.routes.filter(({ path }) => /^\/v[12]\/models\/:name/.test(path))
    expect(aboutOne.length).toBeGreaterThan(5)
    for (const route of aboutOne)
      for (const [role, key] of scoped) {
        const { status, json } = await api.request(route.method.toUpperCase(), pathOf(route), { key })
        expect(
          { status, code: json['code'] ?? 'forbidden' },
          `${role} at ${route.method} ${route.path}`,
        ).toEqual({
          status: 403,
          code: 'forbidden',
        })
      }
  })

  it('with a wrong declaration prevents the application from being created', () => {
    const fine = declare('get', '/fine', ['viewer'], { summary: 's', answers: {}, handle: () => ({}) })
    const mount = (...paths: string[]) => {
      const app = new Hono()
      for (const path of paths) app.get(path, (context) => context.text('x'))
      return app.routes
    }
    expect(() => assertDeclared(mount('/fine'), [fine])).not.toThrow()
    expect(() => assertDeclared(mount('/fine', '/back-door'), [fine])).toThrow(
      /GET \/back-door is mounted without a declaration/,
    )
    expect(() => assertDeclared(mount(), [fine])).toThrow(/GET \/fine is declared and not mounted/)
    expect(() => assertDeclared(mount('/fine'), [fine, fine])).toThrow(/declared twice/)
    for (const allow of [[], ['king']] as unknown as RouteDefinition['allow'][])
      expect(() => assertDeclared(mount('/fine'), [{ ...fine, allow }])).toThrow(/declares no valid roles/)
    expect(() => assertDeclared(mount('/fine'), [{ ...fine, allow: 'unknown' as 'public' }])).toThrow(
      /unknown access/,
    )
  })

  it('limits a predictor key to predictions, explanations, outcomes, events and counts of exports, and a labeller key to outcomes, events and reviews', () => {
    const pathsOf = (role: Role) =>
      api.routes
        .filter(
          ({ allow, path }) => allow !== 'public' && rolesOf(allow).includes(role) && !path.startsWith('/v2'),
        )
        .map(({ path }) => path)
    expect(pathsOf('predictor')).toEqual([
      '/v1/models/:name/predict',
      '/v1/models/:name/exposure/:version',
      '/v1/models/:name/explain',
      '/v1/outcomes',
      '/v1/outcomes/bulk',
      '/v1/events',
      '/v1/models/:name:predict',
      '/v1/models/:name/invocations',
      '/invocations',
      '/v1/models/:name/feature-counts',
      '/v1/models/:name/openapi.json',
    ])
    expect(pathsOf('labeller')).toEqual([
      '/v1/outcomes',
      '/v1/outcomes/bulk',
      '/v1/events',
      '/v1/models/:name/reviews',
      '/v1/models/:name/reviews',
    ])
  })
})

describe('a key', () => {
  it.each([
    ['a wrong secret', () => `${keys.admin.slice(0, -1)}${keys.admin.endsWith('0') ? '1' : '0'}`],
    ['the secret of another key', () => `${keys.admin.slice(0, 17)}${keys.viewer.slice(17)}`],
    ['an unknown id', () => `tnr_0123456789ab_${'0'.repeat(48)}`],
    ['something else', () => 'hunter2'],
    ['nothing', () => ''],
  ])('with %s is refused', async (_name, make) => {
    const answer = await api.request('GET', '/v1/models', { key: make() })
    expect(answer).toMatchObject({ status: 401, json: { code: 'unauthenticated' } })
    // Chromium reads only the first challenge of a line, and browsers do not know Bearer.
    expect(answer.headers.get('www-authenticate')).toMatch(/^Basic .*Bearer/)
    const command = await api.request('POST', '/v1/models/iris/rollback', { key: make() })
    expect(command.headers.get('www-authenticate')).toBe('Bearer realm="tenure"')
  })

  it('is refused on other replicas after the notification of its revocation', async () => {
    const key = await fixture.key({ name: 'leaver', role: 'viewer' })
    // The replica reads the keys only when it is notified.
    const elsewhere = await startApi(fixture, { keysEveryMs: 3_600_000 })
    const refused = async () => (await elsewhere.request('GET', '/v1/models', { key })).status === 401
    expect(await refused()).toBe(false)
    const { id } = (await listKeys(fixture.store)).find(({ name }) => name === 'leaver')!
    await revokeKey(fixture.store, id)
    await until(refused, 'the end of the key')
    await elsewhere.stop()
  })

  it('is refused after it expires', async () => {
    let lifeMs = 350
    let key = ''
    const isAccepted = async () => {
      // The key lives as long as this machine needs to use it once.
      lifeMs *= 2
      key = await fixture.key({ role: 'viewer', expiresAt: new Date(Date.now() + lifeMs).toISOString() })
      await api.deps.authentication.refresh()
      return (await api.request('GET', '/v1/models', { key })).status === 200
    }
    await until(isAccepted, 'a key that is used before it expires')
    await until(
      async () => (await api.request('GET', '/v1/models', { key })).status === 401,
      'the end of the key',
    )
  })

  it('for some models has no access to others', async () => {
    const [caller, viewer] = await Promise.all([
      fixture.key({ role: 'predictor', models: ['other'] }),
      fixture.key({ role: 'viewer', models: ['other'] }),
    ])
    await api.deps.authentication.refresh()
    const refused = await api.request('POST', '/v1/models/iris/predict', { key: caller, body: predict })
    expect(refused).toMatchObject({ status: 403, json: { code: 'forbidden' } })
    expect(refused.json['detail']).toMatch(/has no access to the model iris/)
    for (const [method, path] of [
      ['POST', '/v2/models/iris/infer'],
      ['GET', '/v2/models/iris/versions/iris_v1.0.0'],
    ] as const)
      expect((await api.request(method, path, { key: caller })).status).toBe(403)
    expect((await api.request('GET', '/v1/models/iris', { key: viewer })).status).toBe(403)
    const { json } = await api.request('GET', '/v1/models', { key: viewer })
    expect((json['models'] as { name: string }[]).map(({ name }) => name)).toEqual(['other'])
    const versions = await api.request('GET', '/v1/versions', { key: viewer })
    expect((versions.json['versions'] as { model: string }[]).map(({ model }) => model)).toEqual(['other'])
    expect((await api.request('GET', '/v1/versions/iris_v1.0.0', { key: viewer })).status).toBe(404)
    const row = { actor: 'anna', action: 'release.opened', subject: 's', detail: {} }
    for (const model of ['other', 'iris', undefined])
      await fixture.store.transaction((database) =>
        appendAudit(database, { ...row, ...(model === undefined ? {} : { model }) }),
      )
    const audit = await api.request('GET', '/v1/audit?limit=1', { key: viewer })
    expect(audit.json['audit']).toMatchObject([{ model: 'other', action: 'release.opened' }])
  })

  it('of an admin for some models has no access beyond them: by a new key, by a query, or to records without a model', async () => {
    const key = await fixture.key({ role: 'admin', models: ['other'] })
    const id = idOfKey(key)
    await api.deps.authentication.refresh()
    const alert = await upsertAlert(fixture.store, {
      dedupeKey: 'of no model',
      severity: 'critical',
      kind: 'audit_broken',
      message: 'm',
    })
    const acknowledged = await api.request('POST', `/v1/alerts/${alert}/acknowledge`, { key, body: {} })
    expect(acknowledged).toMatchObject({ status: 404, json: { detail: `there is no alert "${alert}"` } })
    const batch = { model: 'other', input: { kind: 'sql', query: 'select 1' }, output: { kind: 'table' } }
    for (const [method, path, body] of [
      ['GET', '/v1/keys', undefined],
      ['POST', '/v1/keys', { name: 'wider', role: 'admin' }],
      ['POST', `/v1/keys/${id}/rotate`, {}],
      ['DELETE', `/v1/keys/${id}`, undefined],
      ['POST', '/v1/batches', batch],
    ] as const) {
      const { status, json } = await api.request(method, path, { key, ...(body ? { body } : {}) })
      expect([path, status, json['detail']]).toEqual([
        path,
        403,
        expect.stringMatching(/is limited to some models; .* needs a key of all models/),
      ])
    }
    expect((await api.request('GET', '/v1/keys', { key: keys.admin })).text).not.toContain('wider')
  })

  it('may be sent as Basic password for GET only', async () => {
    const headers = { authorization: `Basic ${Buffer.from(`user:${keys.admin}`).toString('base64')}` }
    const page = await api.request('GET', '/', { headers })
    expect(page.status).toBe(200)
    expect(page.text).toContain('iris')
    const made = await api.request('POST', '/v1/keys', { headers, body: { name: 'x', role: 'admin' } })
    expect(made.status).toBe(401)
    expect((await api.request('POST', '/v1/models/iris/predict', { headers, body: predict })).status).toBe(
      401,
    )
  })

  it('is created, shown once, listed without its secret, and revoked', async () => {
    const made = await api.request('POST', '/v1/keys', {
      key: keys.admin,
      body: { name: 'ada', role: 'viewer', models: ['iris'], expires_at: '2099-01-01T00:00:00Z' },
    })
    expect(made.status).toBe(201)
    const { id, key } = made.json as { id: string; key: string }
    expect((await api.request('GET', '/v1/models', { key })).status).toBe(200)
    const list = await api.request('GET', '/v1/keys', { key: keys.admin })
    expect(list.text).toContain('"ada"')
    expect(list.text).not.toContain(key.split('_')[2])
    const revoked = await api.request('DELETE', `/v1/keys/${id}`, { key: keys.admin })
    expect(revoked.json).toMatchObject({ id, name: 'ada', revoked_at: expect.any(String) })
    expect((await api.request('GET', '/v1/models', { key })).status).toBe(401)
    expect((await api.request('DELETE', '/v1/keys/unknown', { key: keys.admin })).json['code']).toBe(
      'not_found',
    )
    const audit = await api.request('GET', '/v1/audit', { key: keys.admin })
    const actions = (audit.json['audit'] as { action: string; actor: string; subject: string }[]).filter(
      ({ subject }) => subject === id,
    )
    expect(actions.map(({ action, actor }) => [action, actor])).toEqual([
      ['key.revoked', 'admin'],
      ['key.created', 'admin'],
    ])
    expect(audit.text).not.toContain(key)
  })

  it('a repeated rotation keeps the secret that services use, and of two rotations at once one takes effect', async () => {
    const rotate = (id: string) =>
      api.request('POST', `/v1/keys/${id}/rotate`, { key: keys.admin, body: { overlap_s: 600 } })
    const opens = async (key: unknown) =>
      (await api.request('GET', '/v1/models', { key: String(key) })).status
    const made = await api.request('POST', '/v1/keys', {
      key: keys.admin,
      body: { name: 'rotated', role: 'viewer' },
    })
    const { id, key } = made.json as { id: string; key: string }
    // The response to the first rotation is lost.
    const lost = (await rotate(id)).json['key']
    const fresh = (await rotate(id)).json['key']
    expect([await opens(key), await opens(lost), await opens(fresh)]).toEqual([200, 401, 200])
    // Both rotations have read the key before one of them may write it.
    const client = await fixture.store.pool.connect()
    await client.query('begin')
    await client.query('select from api_keys where id = $1 for update', [id])
    const rotations = Promise.all([rotate(id), rotate(id)])
    // The replica also waits to store when the key was last used.
    const waiting = () =>
      fixture.store.query(sql`
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%update api_keys set hash%'`)
    await expect.poll(waiting).toHaveLength(2)
    await client.query('rollback')
    client.release()
    const both = await rotations
    const [won, ...others] = both.filter(({ status }) => status === 200)
    expect(others).toEqual([])
    expect(both.filter(({ json }) => json['code'] === 'command_refused')).toHaveLength(1)
    expect([await opens(key), await opens(won!.json['key'])]).toEqual([200, 200])
  })

  it.each([
    ['no name', { role: 'viewer' }, /name/],
    ['a name that could be markup', { name: '<b>', role: 'viewer' }, /name/],
    ['no known role', { name: 'x', role: 'king' }, /role/],
    ['an unknown field', { name: 'x', role: 'viewer', secret: 'y' }, /secret/],
    [
      'an end that is past',
      { name: 'x', role: 'viewer', expires_at: '2001-01-01T00:00:00Z' },
      /expires_at: is in the past/,
    ],
    ['a name that is taken', { name: 'admin', role: 'viewer' }, /named "admin" already/],
    ['the name of a part of the system', { name: 'release', role: 'viewer' }, /a part of the system/],
    ['the same in other letters', { name: 'Temporal', role: 'viewer' }, /a part of the system/],
  ])('is not created with %s', async (_name, body, detail) => {
    const answer = await api.request('POST', '/v1/keys', { key: keys.admin, body })
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_request' } })
    expect(answer.json['detail']).toMatch(detail)
  })
})

describe('a replica that accepts local requests without a key', () => {
  it.each([
    ['127.0.0.1', true, true],
    ['::1', true, true],
    ['localhost', true, true],
    ['127.0.0.1', false, false],
    ['0.0.0.0', true, false],
    ['::', true, false],
    ['10.0.0.7', true, false],
  ])('on %s with the option %s is open: %s', (host, publicPredictions, open) =>
    expect(predictionsAreOpen({ host, publicPredictions })).toBe(open),
  )

  it('serves predictions and outcomes without a key, and no other route', async () => {
    const open = await startApi(fixture, { publicPredictions: true })
    await until(() => open.serving.routing.isFilled(), 'the routes')
    expect((await open.request('POST', '/v1/models/iris/predict', { body: predict })).status).toBe(200)
    const outcomes = [
      {
        prediction_id: '018f0000-0000-7000-8000-000000000000',
        value: 1,
        observed_at: '2026-01-01T00:00:00Z',
      },
    ]
    expect((await open.request('POST', '/v1/outcomes', { body: { outcomes } })).status).toBe(200)
    expect((await open.request('GET', '/v1/models')).status).toBe(401)
    // A key is still checked when it is sent, which the replica can do when it has loaded the keys.
    await expect
      .poll(async () => {
        const sent = { key: 'hunter2', body: predict }
        return (await open.request('POST', '/v1/models/iris/predict', sent)).status
      })
      .toBe(401)
    await open.stop()
  })
})

describe('without Postgres', () => {
  it('cached keys stay valid, and a replica without a cache is not ready', async () => {
    const first = await startApi(fixture)
    await first.follows({ model: 'iris', generation: 1 })
    await first.serving.refresh()
    const { stateDir } = first
    await first.stop()
    const nowhere = 'postgres://user@127.0.0.1:1/nothing'
    const cold = await startApi(fixture, { stateDir, databaseUrl: nowhere })
    const answer = await cold.request('POST', '/v1/models/iris/predict', {
      key: keys.predictor,
      body: predict,
    })
    expect(answer).toMatchObject({ status: 200, json: { stale: true, version: 'iris_v1.0.0' } })
    const control = await cold.request('GET', '/v1/models', { key: keys.viewer })
    expect(control).toMatchObject({ status: 503, json: { code: 'postgres_unavailable' } })
    expect(control.headers.get('retry-after')).toBe('1')
    // It may be newer than the keys that were last read.
    const unknown = keys.viewer.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    const answered = async () => (await cold.request('GET', '/v1/models', { key: unknown })).json['code']
    await expect.poll(answered).toBe('postgres_unavailable')
    await cold.stop()
    const blank = await startApi(fixture, { databaseUrl: nowhere, awaitKeys: false })
    expect(await blank.request('GET', '/v1/models', { key: keys.viewer })).toMatchObject({
      status: 503,
      json: { code: 'not_ready' },
    })
    expect(await blank.request('GET', '/readyz')).toMatchObject({ status: 503, json: { code: 'not_ready' } })
    await blank.stop()
  })
})
