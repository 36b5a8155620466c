/** Tests sign-in, sessions, forms and headers of the dashboard with requests as a browser sends them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { revokeKey, rotateKey } from '../../../store/access/api-keys.ts'
import { attempts } from '../../../api/dashboard/pages/sign-in/sign-in.tsx'
import { createAttempts } from '../../../api/auth/sign-in-limit.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
  type TestResponse,
} from '../../support/serving/serving-fixture.ts'

let servers: ServingFixture
let api: TestApi
let keys: Record<'viewer' | 'predictor' | 'labeller', string>
beforeAll(async () => {
  servers = await openServingFixture()
  keys = {
    viewer: await servers.key({ role: 'viewer', name: 'vera' }),
    predictor: await servers.key({ role: 'predictor' }),
    labeller: await servers.key({ role: 'labeller' }),
  }
  api = await startApi(servers)
})
afterAll(async () => {
  await api.stop()
  await servers.close()
})

const browser = { accept: 'text/html', host: 'localhost' }
const get = (path: string, headers: Record<string, string> = {}) =>
  api.request('GET', path, { headers: { ...browser, ...headers } })
const send = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
  api.request('POST', path, {
    body: new URLSearchParams(form).toString(),
    headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded', ...headers },
  })
const cookieOf = ({ headers }: TestResponse) => headers.get('set-cookie')?.split(';')[0] ?? ''
const tokenOf = ({ text }: TestResponse) => /name="token" value="([^"]+)"/.exec(text)?.[1] ?? ''
const signedIn = async (key = keys.viewer) => {
  const cookie = cookieOf(await send('/sign-in', { key }))
  return { cookie, token: tokenOf(await get('/', { cookie })) }
}

describe('sign-in', () => {
  it('is where a request without a session is redirected, and returns to the page', async () => {
    const sent = await get('/?x=1')
    expect(sent.status).toBe(303)
    expect(sent.headers.get('location')).toBe('/sign-in?next=%2F%3Fx%3D1')
    const page = await get('/sign-in?next=%2F%3Fx%3D1')
    expect(page.text).toContain('<input type="hidden" name="next" value="/?x=1"')
    const back = await send('/sign-in', { key: keys.viewer, next: '/?x=1' })
    expect(back.status).toBe(303)
    expect(back.headers.get('location')).toBe('/?x=1')
  })

  it('links only to what a browser can read: a page, or the sign-in that leads to it', async () => {
    const { text } = await get('/sign-in')
    const links = [...text.matchAll(/<a [^>]*href="(\/[^"#]*)"/g)].map(([, href]) => href!)
    expect(links.length).toBeGreaterThan(3)
    for (const link of links) {
      const { status, headers } = await get(link)
      const leads = headers.get('location')?.startsWith('/sign-in') === true
      const isPage = status === 200 && headers.get('content-type')?.startsWith('text/html')
      expect(isPage === true || leads, `${link}: ${status}`).toBe(true)
    }
  })

  it.each(['//evil.example', 'https://evil.example', '/\\evil.example', '/a\\b', '/\n/evil.example', 'x'])(
    'does not redirect to %j',
    async (next) => {
      const back = await send('/sign-in', { key: keys.viewer, next })
      expect(back.headers.get('location')).toBe('/')
    },
  )

  it('sets a cookie that is HttpOnly, SameSite=Strict, and Secure behind https', async () => {
    const plain = (await send('/sign-in', { key: keys.viewer })).headers.get('set-cookie')
    expect(plain).toMatch(/^tenure_session=[\w.-]+; Path=\/; Max-Age=28800; HttpOnly; SameSite=Strict$/)
    expect(plain).not.toContain(keys.viewer.split('_')[2])
    const forwarded = await send('/sign-in', { key: keys.viewer }, { 'x-forwarded-proto': 'https' })
    expect(forwarded.headers.get('set-cookie')).toMatch(/; Secure$/)
  })

  it('refuses an invalid key and keys of programs with their reasons', async () => {
    const wrong = await send('/sign-in', { key: `${keys.viewer.slice(0, -1)}x` })
    expect(wrong.status).toBe(403)
    expect(wrong.text).toContain('Invalid or expired key')
    expect(wrong.headers.get('set-cookie')).toBeNull()
    for (const key of [keys.predictor, keys.labeller])
      expect((await send('/sign-in', { key })).text).toContain('for predictions and outcomes only')
    expect((await send('/sign-in', {})).status).toBe(403)
  })

  it('reloads a page that was opened by a link from another site, so that the cookie is sent', async () => {
    const { cookie } = await signedIn()
    const first = await get('/releases', { 'sec-fetch-site': 'cross-site' })
    expect(first.status).toBe(first.text.includes('http-equiv="refresh"') ? 200 : 404)
    const home = await get('/', { 'sec-fetch-site': 'cross-site' })
    expect(home.text).toContain('http-equiv="refresh"')
    expect((await get('/', { cookie })).text).toContain('vera')
  })
})

describe('a session', () => {
  it('ends with sign-out, also for a copy of its cookie', async () => {
    const { cookie, token } = await signedIn()
    const out = await send('/sign-out', { token }, { cookie })
    expect(out.status).toBe(303)
    expect(out.headers.get('set-cookie')).toMatch(/^tenure_session=; Path=\/; Max-Age=0;/)
    expect((await get('/', { cookie })).status).toBe(303)
  })

  it('ends when its key is revoked, or the secret that opened it is rotated', async () => {
    const revoked = await servers.key({ role: 'viewer' })
    const renewed = await servers.key({ role: 'viewer' })
    await api.deps.authentication.refresh()
    const [first, second] = [await signedIn(revoked), await signedIn(renewed)]
    expect((await get('/', { cookie: first.cookie })).status).toBe(200)
    await revokeKey(servers.store, revoked.split('_')[1]!)
    await rotateKey(servers.store, { id: renewed.split('_')[1]!, overlapMs: 0 })
    await api.deps.authentication.refresh()
    for (const { cookie } of [first, second]) expect((await get('/', { cookie })).status).toBe(303)
  })

  it.each([
    ['with another name in it', (cookie: string) => cookie.replace(/=\w{4}/, '=AAAA')],
    ['without its signature', (cookie: string) => cookie.split('.')[0]!],
    ['with other content', () => 'tenure_session=%00; a=b'],
    ['of 10,000 characters', () => `tenure_session=${'a'.repeat(10_000)}`],
  ])('cookie %s is refused', async (_what, change) => {
    const { cookie } = await signedIn()
    expect((await get('/', { cookie: change(cookie) })).status).toBe(303)
  })

  it('that has ended sends its form to sign-in, which says so and returns to the page of the form', async () => {
    const from = (referer: string) => send('/alerts', { a1: 'on', action: 'resolve' }, { referer })
    const path = (await from('http://localhost/alerts?model=a')).headers.get('location')!
    expect(path).toBe('/sign-in?next=%2Falerts%3Fmodel%3Da&unsent=form')
    const { text } = await get(path)
    expect(text).toContain('Your session has ended, and the form was not applied.')
    expect(text).toContain('<input type="hidden" name="next" value="/alerts?model=a"')
    expect(text).not.toContain('aria-invalid')
    for (const elsewhere of ['http://evil.example/alerts', 'about:blank', 'no address'])
      expect((await from(elsewhere)).headers.get('location')).toBe('/sign-in?unsent=form')
  })

  it('may read the API but not change anything through it', async () => {
    const { cookie } = await signedIn()
    expect((await get('/v1/models', { cookie })).status).toBe(200)
    expect((await api.request('POST', '/v1/keys', { headers: { cookie }, body: {} })).status).toBe(401)
  })
})

describe('a form', () => {
  it.each<[string, Record<string, string>, Record<string, string>]>([
    ['without the token', { token: '' }, {}],
    ['with the token of another session', { token: 'x'.repeat(43) }, {}],
    ['from another site', {}, { 'sec-fetch-site': 'cross-site' }],
    ['from another subdomain', {}, { 'sec-fetch-site': 'same-site' }],
    ['from another origin', {}, { origin: 'http://evil.example' }],
    ['from a hidden origin', {}, { origin: 'null' }],
  ])('%s is refused', async (_what, fields, headers) => {
    const { cookie, token } = await signedIn()
    const from = { referer: 'http://localhost/alerts?model=a' }
    const refused = await send('/sign-out', { token, ...fields }, { cookie, ...from, ...headers })
    expect(refused.status).toBe(403)
    expect(refused.text).toContain('form is rejected')
    expect(refused.text).toContain('<a href="/alerts?model=a">Back to the form</a>')
    expect(refused.text).not.toContain('tenure keys create')
    expect((await get('/', { cookie })).status).toBe(200)
  })

  it('for sign-in is accepted from this host alone', async () => {
    const refused = await send('/sign-in', { key: keys.viewer }, { origin: 'http://evil.example' })
    expect(refused.status).toBe(403)
    const own = await send('/sign-in', { key: keys.viewer }, { origin: 'http://localhost' })
    expect(own.status).toBe(303)
  })

  it('with JSON, or with too many bytes, is refused', async () => {
    const { cookie } = await signedIn()
    const json = await api.request('POST', '/sign-out', { headers: { cookie }, body: { token: 'x' } })
    expect(json.status).toBe(415)
    expect((await send('/sign-in', { key: 'x'.repeat(40_000) })).status).toBe(413)
  })
})

describe('a page', () => {
  it('sends a content security policy, and links to immutable files of this host alone', async () => {
    const { cookie } = await signedIn()
    const { text, headers } = await get('/', { cookie })
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; report-uri /csp-reports; report-to csp",
    )
    expect(headers.get('cache-control')).toBe('no-store')
    expect(text).not.toMatch(/<style|\sstyle=|<script>|\son\w+=/)
    const files = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path!)
    expect(new Set(files).size).toBe(4)
    for (const file of files) {
      const asset = await api.request('GET', file)
      expect(asset.status).toBe(200)
      expect(asset.headers.get('cache-control')).toMatch(/immutable/)
    }
    const old = await api.request('GET', files[0]!.replace(/[0-9a-f]{12}/, '0'.repeat(12)))
    expect(old).toMatchObject({ status: 200 })
    expect(old.headers.get('cache-control')).toBe('no-cache')
    for (const name of ['style.css', 'x.000000000000.css', '..%2f..%2fapp.000000000000.ts'])
      expect((await api.request('GET', `/assets/${name}`)).status).toBe(404)
  })

  it('with an unknown path is an HTML page for browsers and a problem document for programs', async () => {
    const page = await get('/nothing<script>')
    expect(page.status).toBe(404)
    expect(page.text).toContain('Page not found')
    expect(page.text).not.toContain('nothing<script>')
    const program = await api.request('GET', '/nothing')
    expect(program.json).toMatchObject({ code: 'not_found' })
    expect((await get('/v1/nothing')).json).toMatchObject({ code: 'not_found' })
    expect((await api.request('GET', '/')).json).toMatchObject({ code: 'unauthenticated' })
  })

  it('reports its statements and times in Server-Timing', async () => {
    const { cookie } = await signedIn()
    const timing = (await get('/', { cookie })).headers.get('server-timing')
    expect(timing).toMatch(/^statements;desc="\d+", load;dur=[\d.]+, view;dur=[\d.]+$/)
  })

  it('requested by htmx comes without the layout, and without a session reloads the whole page', async () => {
    const { cookie } = await signedIn()
    const part = await get('/', { cookie, 'hx-request': 'true' })
    expect(part.text).toMatch(/^<main id="main">/)
    const away = await get('/', { 'hx-request': 'true' })
    expect(away.status).toBe(401)
    expect(away.headers.get('hx-refresh')).toBe('true')
  })

  it('counts reported violations of its content security policy', async () => {
    const report = JSON.stringify({
      'csp-report': { 'effective-directive': 'script-src', 'blocked-uri': 'x' },
    })
    const taken = await api.request('POST', '/csp-reports', {
      body: report,
      headers: { 'content-type': 'application/csp-report' },
    })
    expect(taken.status).toBe(204)
    const huge = await api.request('POST', '/csp-reports', {
      body: 'x'.repeat(70_000),
      headers: { 'content-type': 'application/csp-report' },
    })
    expect(huge.status).toBe(413)
    const metrics = await api.request('GET', '/metrics', { key: keys.viewer })
    expect(metrics.text).toContain('tenure_page_reports_total 1')
  })
})

it('a page without a database reports it, and that predictions continue', async () => {
  const { cookie } = await signedIn()
  const cut = await startApi(servers, { stateDir: api.stateDir, databaseUrl: 'postgres://127.0.0.1:1/none' })
  const asked = await cut.request('GET', '/', { headers: { ...browser, cookie } })
  expect(asked.status).toBe(503)
  expect(asked.text).toContain('Database unreachable')
  expect(asked.text).toContain('Predictions continue')
  expect(asked.headers.get('retry-after')).toBe('1')
  expect(asked.headers.get('content-security-policy')).toContain("default-src 'none'")
  await cut.stop()
})

it('failed sign-ins delay further failures, and never a right key', async () => {
  let nowMs = 4_162_051
  const held = createAttempts(() => nowMs)
  for (let count = 0; count < 10; count++) {
    expect(held.waitS('a')).toBe(0)
    held.failed('a')
  }
  expect(held.waitS('a')).toBe(6)
  expect(held.waitS('b')).toBe(0)
  nowMs += 6_000
  expect(held.waitS('a')).toBe(0)

  for (let count = 0; count < 12; count++) attempts.failed(undefined)
  const refused = await send('/sign-in', { key: 'no key at all' })
  expect(refused.status).toBe(429)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(refused.text).toContain('Too many failed attempts')
  expect((await send('/sign-in', { key: keys.viewer })).status).toBe(303)
})
