/** Tests requests of pages of other origins to a whole replica, and the request id in every response. */
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { readConfig } from '../../../temporal.config.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, until, type ServingFixture } from '../../support/serving/serving-fixture.ts'

const app = 'https://app.example.com'
let fixture: ServingFixture
let key: string
let configured: RunningServer
let plain: RunningServer

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  const start = async (more: Record<string, string>) => {
    const config = readConfig({
      ...fixture.environment(),
      ...more,
    })
    const server = await startServer(config, pino({ level: 'silent' }))
    await until(async () => (await fetch(`${server.url}/readyz`)).ok, 'a replica that is ready')
    return server
  }
  configured = await start({ TENURE_CORS_ORIGINS: `${app}, http://localhost:5173` })
  plain = await start({ TENURE_FAST_PATH: 'off' })
})
afterAll(async () => {
  for (const server of [configured, plain]) await server?.stop('the test ends')
  await fixture.close()
})

const predict = (
  server: RunningServer,
  headers: Record<string, string> = {},
  body: object = { instances: [irisRow] },
) =>
  fetch(`${server.url}/v1/models/iris/predict`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
const preflight = (server: RunningServer, origin: string, path = '/v1/models/iris/predict') =>
  fetch(`${server.url}${path}`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    },
  })
const allowed = (answer: Response) => answer.headers.get('access-control-allow-origin')

describe('a page of a configured origin', () => {
  it('may call predictions and routes, and reads the id of its request', async () => {
    for (const origin of [app, 'http://localhost:5173'])
      for (const path of ['/v1/models/iris/predict', '/v1/models', '/v1/models/iris:predict']) {
        const answer = await preflight(configured, origin, path)
        expect(answer.status).toBe(204)
        expect(allowed(answer)).toBe(origin)
        expect(answer.headers.get('access-control-allow-methods')).toContain('POST')
        expect(answer.headers.get('access-control-allow-headers')).toContain('authorization')
        expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
      }
    for (const answer of [
      await predict(configured, { origin: app }),
      await fetch(`${configured.url}/v1/models`, {
        headers: { origin: app, authorization: `Bearer ${key}` },
      }),
      await predict(configured, { origin: app }, { instances: [] }),
    ]) {
      expect(allowed(answer)).toBe(app)
      expect(answer.headers.get('access-control-expose-headers')).toContain('x-request-id')
      expect(answer.headers.get('vary')).toContain('Origin')
    }
    const compressed = await fetch(`${configured.url}/openapi.json`, {
      headers: { origin: app, authorization: `Bearer ${key}`, 'accept-encoding': 'gzip' },
    })
    expect(compressed.headers.get('vary')?.toLowerCase()).toMatch(/accept-encoding.*origin/)
  })

  it('still needs a key', async () => {
    const answer = await fetch(`${configured.url}/v1/models`, { headers: { origin: app } })
    expect(answer.status).toBe(401)
  })
})

describe('a page of another origin', () => {
  it('gets no permission, and none without the setting', async () => {
    for (const [server, origin] of [
      [configured, 'https://other.example.com'],
      [configured, 'null'],
      [configured, `${app}.other.com`],
      [plain, app],
    ] as const) {
      const asked = await preflight(server, origin)
      expect(asked.status).toBe(405)
      expect(allowed(asked)).toBeNull()
      expect(allowed(await predict(server, { origin }))).toBeNull()
    }
    expect((await predict(plain, { origin: app })).headers.get('vary')).toBeNull()
  })
})

describe('every answer', () => {
  it('carries the id of the request, given or made, on the fast path and without it', async () => {
    for (const server of [configured, plain]) {
      const authorization = { authorization: `Bearer ${key}` }
      const calls: ((headers: Record<string, string>) => Promise<Response>)[] = [
        (headers) => predict(server, headers),
        (headers) => predict(server, headers, { instances: [] }),
        (headers) => predict(server, { origin: server.url, ...headers }),
        ...[
          '/livez',
          '/readyz',
          '/v1/models',
          '/v2',
          '/nothing',
          '/openapi.json',
          '/metrics',
          '/sign-in',
        ].map(
          (path) => (headers: Record<string, string>) =>
            fetch(`${server.url}${path}`, { headers: { ...authorization, ...headers } }),
        ),
      ]
      const made = new Set<string>()
      for (const call of calls) {
        const own = await call({ 'x-request-id': 'my-request:1.a' })
        expect(own.headers.get('x-request-id'), own.url).toBe('my-request:1.a')
        for (const sent of ['', 'with blanks', 'x'.repeat(101)]) {
          const id =
            (await call(sent === '' ? {} : { 'x-request-id': sent })).headers.get('x-request-id') ?? ''
          expect(id, own.url).toMatch(/^[\w.:-]{10,40}$/)
          expect(made).not.toContain(id)
          made.add(id)
        }
      }
    }
  })
})
