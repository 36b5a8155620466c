/** Tests sign-in with a real identity provider on a socket, with real signatures and every defect of a response. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createApp } from '../../../api/app.ts'
import { beginSignIn } from '../../../api/auth/oidc.ts'
import { createMetrics } from '../../../api/metrics/registry.ts'
import { listKeys, revokeKey } from '../../../store/access/api-keys.ts'
import { readConfig } from '../../../temporal.config.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import {
  clientId,
  clientSecret,
  otherClient,
  redirect,
  startProvider,
  tokenS,
  type TestProvider,
} from '../../support/dashboard/oidc-provider.ts'

let fixture: ServingFixture
let api: TestApi
let provider: TestProvider
let app: ReturnType<typeof createApp>['app']
beforeAll(async () => {
  provider = await startProvider()
  fixture = await openServingFixture()
  api = await startApi(fixture)
  const { oidc } = readConfig(environment(provider.issuer))
  const metrics = createMetrics(api.serving, new Map())
  app = createApp({ ...api.deps, metrics, oidc: oidc! }).app
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
  await provider.close()
})
beforeEach(() => {
  provider.claims = { email: 'ada@example.org', email_verified: true, groups: ['employees', 'ml-approvers'] }
  Object.assign(provider, { cheat: {}, skewS: 0, isAway: false })
  provider.userInfo = {}
})

const environment = (issuer: string): Record<string, string> => ({
  DATABASE_URL: 'postgres://127.0.0.1/tenure',
  HOME: '/nowhere',
  TENURE_OIDC_ISSUER: issuer,
  TENURE_OIDC_CLIENT_ID: clientId,
  TENURE_OIDC_CLIENT_SECRET: clientSecret,
  TENURE_OIDC_REDIRECT: redirect,
  TENURE_OIDC_ROLES: 'ml-approvers=approver, employees=viewer',
})

const get = (path: string, cookie = '') =>
  app.request(path, { headers: { accept: 'text/html', host: 'localhost', cookie } })
const cookieOf = (answer: Response) => answer.headers.get('set-cookie')?.split(';')[0] ?? ''
/** Follows the redirect to the provider and back; the cookie belongs to the attempt. */
const wayBack = async (next = '/releases') => {
  const sent = await get(`/sign-in/sso?next=${encodeURIComponent(next)}`)
  return { back: await provider.logIn(sent.headers.get('location')!), cookie: cookieOf(sent), sent }
}
const signIn = async (): Promise<Response> => {
  const { back, cookie } = await wayBack()
  return get(back, cookie)
}

it('a sign-in asks for the scopes of TENURE_OIDC_SCOPE, of which openid is one', async () => {
  const scopeOf = async (set: Record<string, string>) => {
    const { oidc } = readConfig({ ...environment(provider.issuer), ...set })
    const attempt = { next: '/', nowMs: Date.now() }
    const { location } = await beginSignIn(oidc!, api.deps.signer, attempt)
    return new URL(location).searchParams.get('scope')
  }
  expect(await scopeOf({})).toBe('openid email profile')
  const groups = 'openid email groups'
  expect(await scopeOf({ TENURE_OIDC_SCOPE: groups })).toBe(groups)
  expect(await scopeOf({ TENURE_OIDC_SCOPE: '' })).toBe('openid email profile')
  for (const wrong of ['email groups', 'openid  groups', 'openid,groups', 'openid "groups"'])
    await expect(scopeOf({ TENURE_OIDC_SCOPE: wrong })).rejects.toThrow(
      'TENURE_OIDC_SCOPE is a list of scopes',
    )
})

it('sign-in redirects to the provider with a state bound to the browser, and returns with the identity of the provider', async () => {
  expect(await (await get('/sign-in')).text()).toContain('href="/sign-in/sso"')
  const { back, cookie, sent } = await wayBack()
  const asked = new URL(sent.headers.get('location')!).searchParams
  expect(asked.get('code_challenge_method')).toBe('S256')
  expect(sent.headers.get('set-cookie')).toMatch(/; Path=\/sign-in; Max-Age=600; HttpOnly; SameSite=Lax$/)
  const returned = await get(back, cookie)
  expect(returned.status).toBe(303)
  expect(returned.headers.get('location')).toBe('/releases')
  const page = await get('/', cookieOf(returned))
  expect(await page.text()).toMatch(/sso\.ada@example\.org[\s\S]*\(approver\)/)
})

it('sign-in keeps one key per user and role, and a revoked key has no access', async () => {
  const keysOf = async () =>
    (await listKeys(fixture.store)).filter(
      ({ name, revokedAt }) => name === 'sso.ada@example.org' && !revokedAt,
    )
  const first = await signIn()
  const [held] = await keysOf()
  await signIn()
  expect(await keysOf()).toMatchObject([{ ...held, expiresAt: expect.any(String) as string }])
  provider.claims['groups'] = 'employees'
  const lesser = await signIn()
  expect((await keysOf()).map(({ role }) => role)).toEqual(['viewer'])
  expect((await get('/', cookieOf(first))).status).toBe(303)
  expect((await get('/', cookieOf(lesser))).status).toBe(200)
  await revokeKey(fixture.store, (await keysOf())[0]!.id)
  await api.deps.authentication.refresh()
  expect((await get('/', cookieOf(lesser))).status).toBe(303)
})

it('a user who has lost every group is refused, and the sessions that were open end', async () => {
  Object.assign(provider.claims, { sub: 'lea', email: 'lea@example.org' })
  const session = await signIn()
  expect((await get('/', cookieOf(session))).status).toBe(200)
  provider.claims['groups'] = ['sales']
  expect((await signIn()).status).toBe(403)
  expect((await get('/', cookieOf(session))).status).toBe(303)
})

it('roles may be within other claims, or the keys of an object', async () => {
  const { oidc } = readConfig({
    ...environment(provider.issuer),
    TENURE_OIDC_ROLE_CLAIM: 'realm_access.roles',
  })
  const nested = createApp({ ...api.deps, metrics: createMetrics(api.serving, new Map()), oidc: oidc! }).app
  const statusOf = async () => {
    const { back, cookie } = await wayBack()
    return (await nested.request(back, { headers: { accept: 'text/html', host: 'localhost', cookie } }))
      .status
  }
  provider.claims['realm_access'] = { roles: ['employees'] }
  expect(await statusOf()).toBe(303)
  provider.claims['realm_access'] = { roles: { employees: { id: 'example.org' } } }
  expect(await statusOf()).toBe(303)
  provider.claims['realm_access'] = { roles: [] }
  expect(await statusOf()).toBe(403)
})

it('a user is an issuer and a subject: an email address that passes to another user brings no key along', async () => {
  const keysNow = async () =>
    (await listKeys(fixture.store)).filter(({ name, revokedAt }) => /eve|mallory/.test(name) && !revokedAt)
  const as = async (sub: string, email: string) => {
    Object.assign(provider.claims, { sub, email })
    return signIn()
  }
  const first = await as('eve', 'eve@example.org')
  const refused = await as('mallory', 'eve@example.org')
  expect(refused.status).toBe(403)
  expect(await refused.text()).toContain('belongs to another user of the identity provider')
  expect((await get('/', cookieOf(first))).status).toBe(200)
  const renamed = await as('eve', 'eve.new@example.org')
  expect((await keysNow()).map(({ name }) => name)).toEqual(['sso.eve.new@example.org'])
  expect((await get('/', cookieOf(first))).status).toBe(303)
  expect((await get('/', cookieOf(renamed))).status).toBe(200)
  expect((await as('mallory', 'eve@example.org')).status).toBe(303)
})

it('the key of a user ends after a time without a sign-in, and its name is free then', async () => {
  const keyOf = async () =>
    (await listKeys(fixture.store)).find(
      ({ name, revokedAt }) => name === 'sso.ida@example.org' && !revokedAt,
    )
  const { store } = fixture
  Object.assign(provider.claims, { sub: 'ida', email: 'ida@example.org' })
  const session = await signIn()
  const created = (await keyOf())!
  const days = (Date.parse(created.expiresAt!) - Date.now()) / 86_400_000
  expect(days).toBeGreaterThan(29.9)
  expect(days).toBeLessThan(30.1)
  await store.query(sql`update api_keys set expires_at = now() + interval '1 hour' where id = ${created.id}`)
  await signIn()
  expect((await keyOf())!.id).toBe(created.id)
  expect(Date.parse((await keyOf())!.expiresAt!)).toBeGreaterThan(Date.now() + 29 * 86_400_000)
  await store.query(sql`update api_keys set expires_at = now() - interval '1 s' where id = ${created.id}`)
  await api.deps.authentication.refresh()
  expect((await get('/', cookieOf(session))).status).toBe(303)
  provider.claims['sub'] = 'ida the second'
  expect((await signIn()).status).toBe(303)
  expect((await keyOf())!.id).not.toBe(created.id)
})

it('over HTTPS the session is in a cookie that no other host can set, and HTTPS is demanded for a year', async () => {
  const https = { 'x-forwarded-proto': 'https' }
  const key = await fixture.key({ role: 'viewer' })
  await api.deps.authentication.refresh()
  const signed = await app.request('/sign-in', {
    method: 'POST',
    headers: { ...https, host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ key }).toString(),
  })
  const cookie = cookieOf(signed)
  expect(signed.headers.get('set-cookie')).toMatch(/^__Host-tenure_session=[^;]+; Path=\/; .*; Secure$/)
  expect(signed.headers.get('strict-transport-security')).toBe('max-age=31536000')
  const open = (cookies: string, headers: object) =>
    app.request('/', { headers: { accept: 'text/html', host: 'localhost', cookie: cookies, ...headers } })
  expect((await open(cookie, https)).status).toBe(200)
  expect((await open(cookie.replace('__Host-', ''), https)).status).toBe(303)
  expect((await get('/sign-in')).headers.get('strict-transport-security')).toBeNull()
  const { oidc } = readConfig({
    ...environment(provider.issuer),
    TENURE_OIDC_REDIRECT: 'https://tenure.example/sign-in/callback',
  })
  const known = createApp({ ...api.deps, metrics: createMetrics(api.serving, new Map()), oidc: oidc! }).app
  const refused = await known.request('/v1/nothing')
  expect([refused.status, refused.headers.get('strict-transport-security')]).toEqual([
    404,
    'max-age=31536000',
  ])
  expect(
    (await known.request('/', { headers: { cookie: cookie.replace('__Host-', ''), accept: 'text/html' } }))
      .status,
  ).toBe(303)
})

it('wrong keys are slowed down, and the right one signs in all the same, although all come from one address', async () => {
  const [key, other] = [await fixture.key({ role: 'viewer' }), await fixture.key({ role: 'viewer' })]
  await api.deps.authentication.refresh()
  const attempt = async (sent: string) =>
    (
      await app.request('/sign-in', {
        method: 'POST',
        headers: { host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ key: sent }).toString(),
      })
    ).status
  const wrong = key.replace(/.{8}$/, '00000000')
  const statuses = []
  for (let tries = 0; tries < 12; tries++) statuses.push(await attempt(wrong))
  expect(statuses).toEqual([...Array<number>(10).fill(403), 429, 429])
  expect(await attempt(other.replace(/.{8}$/, '00000000'))).toBe(403)
  expect(await attempt(other)).toBe(303)
  expect(await attempt(key)).toBe(303)
})

it.each<[string, () => void, RegExp]>([
  ['of another issuer', () => (provider.cheat.issuer = 'https://evil.example'), /cannot be verified: .*iss/],
  ['for another client', () => (provider.cheat.audience = 'other'), /cannot be verified: .*aud/],
  ['that is over', () => (provider.cheat.expired = true), /cannot be verified: .*exp/],
  ['signed with an unknown key', () => (provider.cheat.unknownKey = true), /cannot be verified: .*signature/],
  ['for another attempt', () => (provider.cheat.nonce = 'x'.repeat(43)), /cannot be verified: .*nonce/],
  ['without a name', () => (provider.claims = { groups: ['employees'] }), /no email that could be a name/],
  ['with markup for a name', () => (provider.claims['email'] = '<b>'), /no email that could be a name/],
  ['with an unverified email address', () => (provider.claims['email_verified'] = false), /not verified/],
  ['that says nothing of its email address', () => delete provider.claims['email_verified'], /not verified/],
  [
    'whose email address is verified in words',
    () => (provider.claims['email_verified'] = 'true'),
    /not verified/,
  ],
  ['without a role here', () => (provider.claims['groups'] = ['sales']), /names none of &quot;sales&quot;/],
  [
    'with several groups in one text',
    () => (provider.claims['groups'] = 'sales,employees'),
    /is one text, &quot;sales,employees&quot;/,
  ],
  [
    'of so many groups that they are elsewhere',
    () => Object.assign(provider.claims, { groups: undefined, _claim_names: { groups: 'src1' } }),
    /gives an address in place of so many groups/,
  ],
])('an identity %s is refused', async (_what, alter, why) => {
  alter()
  const refused = await signIn()
  expect(refused.status).toBe(403)
  expect(refused.headers.get('set-cookie')).toBeNull()
  expect(await refused.text()).toMatch(why)
})

it('a new signing key of the provider is valid at once, also in a sign-in that has begun, and a dropped one signs no one in', async () => {
  expect((await signIn()).status).toBe(303)
  const { back, cookie } = await wayBack()
  await provider.rotate()
  const returned = await get(back, cookie)
  expect(returned.status, await returned.text()).toBe(303)
  await provider.rotate()
  expect((await signIn()).status).toBe(303)
  await provider.rotate()
  provider.cheat.formerKey = true
  expect(await (await signIn()).text()).toMatch(/cannot be verified: .*no applicable keys/)
})

it.each([
  [29, 303],
  [-tokenS - 20, 303],
  [-tokenS - 60, 403],
])('a token of a provider whose clock is %d s ahead is answered with %d', async (skewS, status) => {
  provider.skewS = skewS
  expect((await signIn()).status).toBe(status)
})

it('a provider that goes away in mid-sign-in is reported, and the same attempt succeeds when it is back', async () => {
  const { back, cookie } = await wayBack()
  provider.isAway = true
  const away = await get(back, cookie)
  expect([away.status, await away.text()]).toEqual([
    503,
    expect.stringContaining('identity provider does not respond'),
  ])
  provider.isAway = false
  expect((await get(back, cookie)).status).toBe(303)
})

it('a code of another client, of another attempt, or of another issuer signs no one in', async () => {
  const { sent, cookie, back } = await wayBack()
  const asked = new URL(sent.headers.get('location')!)
  asked.searchParams.set('client_id', otherClient)
  expect((await get(await provider.logIn(asked.href), cookie)).status).toBe(403)
  const state = new URL(back, redirect).searchParams.get('state')!
  const { back: other } = await wayBack()
  expect((await get(other.replace(/state=[^&]+/, `state=${state}`), cookie)).status).toBe(403)
  const renamed = await get(back.replace(/iss=[^&]+/, 'iss=https%3A%2F%2Fevil.example'), cookie)
  expect([renamed.status, await renamed.text()]).toEqual([403, expect.stringContaining('iss')])
  expect((await get(back, cookie)).status).toBe(303)
})

it('an identity is read from the UserInfo endpoint where the token lacks it, for the same subject only', async () => {
  provider.userInfo = { ...provider.claims, email: 'uma@example.org' }
  provider.claims = {}
  const { status, headers } = await signIn()
  expect([status, headers.get('location')]).toEqual([303, '/releases'])
  provider.userInfo['sub'] = 'another'
  expect(await (await signIn()).text()).toMatch(/cannot be verified: .*sub/)
})

it('the UserInfo endpoint verifies the address that it tells, and no other of the token', async () => {
  const { email, groups } = provider.claims
  provider.claims = { email, groups }
  provider.userInfo = { email: 'other@example.org', email_verified: true }
  expect(await (await signIn()).text()).toContain('email address of the identity is not verified')
  provider.userInfo = { email, email_verified: true }
  expect((await signIn()).status).toBe(303)
})

it('a response for another attempt, without an attempt, or used twice is refused', async () => {
  const [one, other] = [await wayBack(), await wayBack()]
  expect(await (await get(one.back, other.cookie)).text()).toContain('no sign-in of this browser')
  expect(await (await get(one.back)).text()).toContain('no sign-in of this browser')
  expect(await (await get(one.back, `${one.cookie}x`)).text()).toContain('no sign-in of this browser')
  expect((await get(other.back, other.cookie)).status).toBe(303)
  expect(await (await get(other.back, other.cookie)).text()).toContain('refuses with 400')
  const denied = other.back.replace(/code=[^&]+/, 'error=access_denied')
  expect(await (await get(denied, other.cookie)).text()).toContain('access_denied')
})

it('sign-in is absent without a provider, and reports an unreachable provider', async () => {
  const headers = { accept: 'text/html' }
  expect((await api.request('GET', '/sign-in/sso', { headers })).status).toBe(404)
  expect((await api.request('GET', '/sign-in', { headers })).text).not.toContain('/sign-in/sso')
  const { oidc } = readConfig(environment('http://127.0.0.1:1'))
  const away = createApp({ ...api.deps, metrics: createMetrics(api.serving, new Map()), oidc: oidc! }).app
  const answer = await away.request('/sign-in/sso', { headers })
  expect(answer.status).toBe(503)
  expect(await answer.text()).toContain('identity provider does not respond')
})

it.each([
  ['TENURE_OIDC_ISSUER', 'http://elsewhere.example'],
  ['TENURE_OIDC_ISSUER', ''],
  ['TENURE_OIDC_CLIENT_ID', ''],
  ['TENURE_OIDC_REDIRECT', 'https://tenure.example/'],
  ['TENURE_OIDC_ROLES', 'employees=king'],
  ['TENURE_OIDC_ROLES', ''],
  ['TENURE_OIDC_ROLES', 'employees=predictor'],
  ['TENURE_OIDC_KEY_DAYS', '0'],
])('is refused when %s is %j', (name, value) => {
  expect(() => readConfig({ ...environment('https://id.example'), [name]: value })).toThrow(name)
})
