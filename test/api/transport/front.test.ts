/** Tests requests that are refused before any handler reads them, on sockets of a whole replica, with and without the fast path. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { readConfig } from '../../../temporal.config.ts'
import { startBrowser } from '../../support/dashboard/browser.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, until, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { connectSocket, type RawConnection } from '../../../packages/http-front/test/support/sockets.ts'

type Mode = 'on' | 'off'
const modes = ['on', 'off'] as const
let fixture: ServingFixture
let key: string
let viewerKey: string
const servers = new Map<Mode, RunningServer>()

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  viewerKey = await fixture.key({ role: 'viewer' })
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  for (const mode of modes) {
    const config = readConfig({
      ...fixture.environment(),
      TENURE_PUBLIC_PREDICTIONS: 'on',
      TENURE_ALLOWED_HOSTS: 'tenure.test, .internal',
      TENURE_FAST_PATH: mode,
    })
    servers.set(mode, await startServer(config, pino({ level: 'silent' })))
  }
  for (const { url } of servers.values())
    await until(async () => (await fetch(`${url}/readyz`)).ok, 'a replica that is ready')
})
afterAll(async () => {
  for (const server of servers.values()) await server.stop('the test ends')
  await fixture.close()
})
const lines: RawConnection[] = []
afterEach(() => void lines.splice(0))

const body = JSON.stringify({ instances: [irisRow] })
const outcomes = JSON.stringify({
  outcomes: [
    {
      prediction_id: '018f0000-0000-7000-8000-000000000000',
      value: 'setosa',
      observed_at: '2026-01-01T00:00:00Z',
    },
  ],
})
const post = (path: string, headers: readonly string[], sent = body): string =>
  [`POST ${path} HTTP/1.1`, ...headers, `Content-Length: ${sent.length}`, '', sent].join('\r\n')
const predict = '/v1/models/iris/predict'

function dial(mode: Mode, bytes: string): RawConnection {
  const line = connectSocket(Number(new URL(servers.get(mode)!.url).port))
  lines.push(line)
  line.socket.write(Buffer.from(bytes, 'latin1'))
  return line
}

interface Answer {
  status: number
  head: string
  json: Record<string, unknown>
}

/** Returns the first response. */
async function ask(mode: Mode, bytes: string): Promise<Answer> {
  const line = dial(mode, bytes)
  const bodyBytes = (): number => Number(/content-length: (\d+)/i.exec(line.got())?.[1] ?? NaN)
  const split = (): string[] => line.got().split('\r\n\r\n')
  await until(() => (split()[1]?.length ?? -1) >= bodyBytes() || line.closed(), 'the response')
  const [head = '', text = ''] = split()
  return {
    status: Number(head.slice(9, 12)),
    head,
    json: JSON.parse(text || '{}') as Record<string, unknown>,
  }
}

describe.each(modes)('with the fast path %s, a request', (mode) => {
  it.each([
    ['127.0.0.1:7500', 200],
    ['[::1]:7500', 200],
    ['localhost', 200],
    ['TENURE.test:443', 200],
    ['replica-1.internal', 200],
    ['evil.example', 421],
    ['127.0.0.1.evil.example', 421],
    ['tenure.test.evil.example', 421],
    ['internal', 421],
    ['a b', 400],
    ['', 400],
  ])('to the host "%s" gets %i on every route', async (host, status) => {
    for (const bytes of [
      post(predict, [`Host: ${host}`]),
      `GET /livez HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      `GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n\r\n`,
    ]) {
      const answer = await ask(mode, bytes)
      const expected = status === 200 && bytes.includes('/v1/models ') ? 403 : status
      expect([bytes.slice(0, 30), answer.status]).toEqual([bytes.slice(0, 30), expected])
      expect(answer.head.toLowerCase().split('x-content-type-options: nosniff')).toHaveLength(2)
      if (status === 421) expect(answer.json).toMatchObject({ code: 'host_not_allowed', status: 421 })
    }
  })

  it.each([
    ['of another site', ['Host: x.internal', 'Origin: https://evil.example']],
    ['of another port of this machine', ['Host: 127.0.0.1:7400', 'Origin: http://127.0.0.1:3000']],
    ['of a file or a sandbox', ['Host: localhost', 'Origin: null']],
    ['that Fetch Metadata calls cross-site', ['Host: localhost', 'Sec-Fetch-Site: cross-site']],
    ['that Fetch Metadata calls same-site', ['Host: localhost', 'Sec-Fetch-Site: same-site']],
  ])('by a page %s needs a key', async (_, headers) => {
    for (const [path, sent] of [
      [predict, body],
      ['/v2/models/iris/infer', '{}'],
      ['/v1/outcomes', outcomes],
      ['/csp-reports', '{}'],
    ] as const) {
      const answer = await ask(mode, post(path, headers, sent))
      expect([path, answer.status]).toEqual([path, 403])
    }
    expect((await ask(mode, post('/v1/outcomes', headers, outcomes))).json).toMatchObject({
      code: 'cross_site_request',
    })
    expect((await ask(mode, post(predict, [...headers, `Authorization: Bearer ${key}`]))).status).toBe(200)
  })

  it('by a page of this host, or typed by a user, needs none', async () => {
    for (const headers of [
      ['Host: localhost:80', 'Origin: http://localhost:80', 'Sec-Fetch-Site: same-origin'],
      ['Host: localhost', 'Sec-Fetch-Site: none'],
    ])
      expect((await ask(mode, post(predict, headers))).status).toBe(200)
  })

  it.each(['/livez', '/readyz', '/v2/health/live', '/v2/health/ready'])(
    'of HTTP/1.0 without a host, as load balancers check %s, gets 200',
    async (path) => expect((await ask(mode, `GET ${path} HTTP/1.0\r\n\r\n`)).status).toBe(200),
  )

  it.each([
    ['without a host', 'GET /livez HTTP/1.1\r\n\r\n', 400, 'malformed_request', /no header "Host"/],
    [
      'with two hosts',
      'GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: ::1\r\n\r\n',
      400,
      'malformed_request',
      /two/,
    ],
    ['to *', 'POST * HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'malformed_request', /target \*/],
    [
      'with a bad header',
      'GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n',
      400,
      'malformed_request',
      /Invalid header token/,
    ],
    [
      'with a letter behind its length',
      post(predict, ['Host: localhost']).replace(/(Length: \d+)/, '$1x'),
      400,
      'malformed_request',
      /Content-Length/,
    ],
    [
      'with too many headers',
      `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(17_000)}\r\n\r\n`,
      431,
      'headers_too_large',
      /16 KiB/,
    ],
    [
      'with another expectation',
      post(predict, ['Host: localhost', 'Expect: 200-ok']),
      417,
      'expectation_failed',
      /200-ok/,
    ],
    ...['/v1/models/./iris/predict', '/v1/models/iris/predict#a'].map(
      (path): [string, string, number, string, RegExp] => [
        `for a prediction at ${path}`,
        post(path, ['Host: localhost', 'Connection: close']),
        404,
        'not_found',
        /no route matches .*iris/,
      ],
    ),
    [
      'with a backslash in its path',
      'GET /\\a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      400,
      'malformed_request',
      /Backslash/,
    ],
  ])('%s is refused with a problem document', async (_, bytes, status, code, detail) => {
    const { head, json, ...answer } = await ask(mode, bytes)
    expect(answer.status).toBe(status)
    expect(head).toMatch(/content-type: application\/problem\+json/i)
    expect(head).toMatch(/connection: close/i)
    expect(json).toMatchObject({
      status,
      code,
      detail: expect.stringMatching(detail),
      remedy: expect.any(String),
    })
  })

  // White space around a value may be a tab (RFC 9110 §5.6.3); Node refused that before version 22.
  it('with a tab after its length is answered as Node answers it', async () => {
    const bytes = post(predict, ['Host: localhost']).replace(/(Length: \d+)/, '$1\t')
    const { status } = await ask(mode, bytes)
    expect(status).toBe(Number.parseInt(process.versions.node, 10) < 22 ? 400 : 200)
  })

  it('that accepts gzip gets a large response compressed, and a short one uncompressed', async () => {
    const { url } = servers.get(mode)!
    const headers = { 'accept-encoding': 'gzip', authorization: `Bearer ${viewerKey}` }
    const large = await fetch(`${url}/openapi.json`, { headers })
    expect(large.status).toBe(200)
    expect(Object.fromEntries(large.headers)).toMatchObject({
      'content-encoding': 'gzip',
      vary: expect.stringContaining('Accept-Encoding') as string,
    })
    expect(await large.json()).toHaveProperty('paths')
    const small = await fetch(`${url}/livez`, { headers })
    expect(small.headers.get('content-encoding')).toBeNull()
  })

  it('that announces 50 MB gets 413 before it sends them', async () => {
    const head = ['Host: localhost', `Authorization: Bearer ${key}`]
    const announced = post(predict, head, '').replace('Length: 0', 'Length: 50000000')
    expect((await ask(mode, announced)).json).toMatchObject({ code: 'body_too_large', limit: 4_194_304 })
  })

  it('with a wrong key gets 401 before its deadline is judged', async () => {
    const headers = ['Host: localhost', 'Authorization: Bearer tnr_0', 'X-Deadline-Ms: abc']
    expect((await ask(mode, post(predict, headers))).status).toBe(401)
  })

  it.each([predict, '/v1/outcomes', '/v1/outcomes/bulk'])(
    'that expects 100 Continue gets it on %s only with a key',
    async (path) => {
      const head = (authorization: string): string =>
        `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${authorization}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`
      const stranger = dial(mode, head('Authorization: Bearer tnr_0\r\n'))
      await until(() => stranger.closed(), 'the end of the connection')
      expect(stranger.got()).toMatch(/^HTTP\/1\.1 401 /)
      const caller = dial(mode, head(`Authorization: Bearer ${key}\r\n`))
      await until(() => caller.got() === 'HTTP/1.1 100 Continue\r\n\r\n', '100 Continue')
      caller.socket.write('{}')
      await until(() => /HTTP\/1\.1 [24]\d\d /.test(caller.got().slice(20)), 'the response')
      // A body may arrive with its head.
      const eager = dial(mode, `${head(`Authorization: Bearer ${key}\r\n`)}{}`)
      await until(() => /HTTP\/1\.1 [24]\d\d [^]*\r\n\r\n/.test(eager.got()), 'the response')
      expect(eager.got()).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\n[^]*\r\nConnection: keep-alive\r\n/i)
    },
  )
})

describe('in Chromium, a page of another site', () => {
  let browser: Browser
  let elsewhere: Server
  let page: Page
  beforeAll(async () => {
    browser = await startBrowser()
    elsewhere = createServer((_request, response) =>
      response.setHeader('content-type', 'text/html').end('<p>'),
    )
    await once(elsewhere.listen(0, '127.0.0.1'), 'listening')
    page = await browser.newPage()
    await page.goto(`http://localhost:${(elsewhere.address() as AddressInfo).port}/`)
  })
  afterAll(async () => {
    await browser?.close()
    elsewhere?.close()
  })

  it.each(modes)('with the fast path %s writes nothing, and reads nothing', async (mode) => {
    const { url } = servers.get(mode)!
    const statuses: number[] = []
    page.on(
      'response',
      (response) => void (response.url().startsWith(url) && statuses.push(response.status())),
    )
    // A body without a content type needs no permission of the server.
    const write = (path: string, text: string) =>
      `fetch(${JSON.stringify(url + path)}, { method: 'POST', mode: 'no-cors', body: new Blob([${JSON.stringify(text)}]) })`
    for (const [path, text] of [
      [predict, body],
      ['/v1/outcomes', outcomes],
    ] as const)
      expect(await page.evaluate(`${write(path, text)}.then(({ type }) => type)`)).toBe('opaque')
    expect(statuses).toEqual([403, 403])
    const read = `fetch(${JSON.stringify(`${url}/livez`)}).then(() => 'read', ({ name }) => name)`
    expect(await page.evaluate(read)).toBe('TypeError')
  })
})
