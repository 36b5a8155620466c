/** Tests the code that signs a user in on another device: what it opens, and when it no longer does. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { readSession } from '../../../api/auth/session.ts'
import { attempts } from '../../../api/dashboard/pages/sign-in/sign-in.tsx'
import { createSignInCode, parseCode } from '../../../store/access/sign-in-codes.ts'
import { revokeKey, rotateKey } from '../../../store/access/api-keys.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
  type TestResponse,
} from '../../support/serving/serving-fixture.ts'

let servers: ServingFixture
let api: TestApi
beforeAll(async () => {
  servers = await openServingFixture()
  api = await startApi(servers)
})
afterAll(async () => {
  await api.stop()
  await servers.close()
})
beforeEach(() => void vi.restoreAllMocks())

const headers = { accept: 'text/html', host: 'localhost' }
const get = (path: string, cookie: string) => api.request('GET', path, { headers: { ...headers, cookie } })
const post = (path: string, form: Record<string, string>, cookie = '') =>
  api.request('POST', path, {
    body: new URLSearchParams(form).toString(),
    headers: { ...headers, cookie, 'content-type': 'application/x-www-form-urlencoded' },
  })
const cookieOf = ({ headers: sent }: TestResponse) => sent.get('set-cookie')?.split(';')[0] ?? ''
const idOf = (key: string) => key.split('_')[1]!

const signedIn = async (more: { models?: string[] } = {}) => {
  const key = await servers.key({ role: 'approver', ...more })
  await api.deps.authentication.refresh()
  const cookie = cookieOf(await post('/sign-in', { key }))
  const { text } = await get('/device', cookie)
  return { key, cookie, token: /name="token" value="([^"]+)"/.exec(text)![1]! }
}
const codeOf = async ({ cookie, token }: { cookie: string; token: string }) => {
  const { text } = await post('/device', { token }, cookie)
  return /<p class="code">([^<]+)</.exec(text)![1]!
}
const isRefused = async (code: string) => {
  const answer = await post('/sign-in', { key: code })
  expect(answer.text).toContain('Invalid or expired key or code')
  expect([answer.status, cookieOf(answer)]).toEqual([403, ''])
}

it.each<[string, { models?: string[] }]>([
  ['all models', {}],
  ['some models', { models: ['iris'] }],
])('signs in once, with the key and the role of its maker, a key of %s', async (_whose, more) => {
  const maker = await signedIn(more)
  const code = await codeOf(maker)
  expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$/)
  const answer = await post('/sign-in', { key: ` ${code.replace('-', ' ').toLowerCase()} `, next: '/alerts' })
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/alerts'])
  const [mine, other] = [maker.cookie, cookieOf(answer)].map((cookie) =>
    readSession(api.deps.signer, cookie.split('=')[1], api.deps.serving.wall())!,
  )
  expect(other).toMatchObject({ key: mine!.key, mark: mine!.mark, untilMs: mine!.untilMs })
  expect(other!.id).not.toBe(mine!.id)
  expect((await get('/releases', cookieOf(answer))).text).toContain('(approver)')
  await isRefused(code)
  const rows = await listAudit(servers.store, { limit: 2 })
  expect(rows.map(({ action, subject }) => [action, subject])).toEqual([
    ['session.code_used', mine!.key],
    ['session.code_created', mine!.key],
  ])
})

it('is replaced by the next code of its key', async () => {
  const maker = await signedIn()
  const [first, second] = [await codeOf(maker), await codeOf(maker)]
  await isRefused(first)
  expect((await post('/sign-in', { key: second })).status).toBe(303)
})

it.each([{}, { models: ['iris'] }])('is refused once its maker has signed out, a key of %o', async (more) => {
  const maker = await signedIn(more)
  const code = await codeOf(maker)
  expect((await post('/sign-out', { token: maker.token }, maker.cookie)).status).toBe(303)
  await isRefused(code)
})

it('is refused after two minutes', async () => {
  const maker = await signedIn()
  const code = await codeOf(maker)
  const [row] = await servers.store.query<{ s: number }>(sql`
    select extract(epoch from expires_at - now())::float8 as s from sign_in_codes where key_id = ${idOf(maker.key)}`)
  expect(row!.s).toBeGreaterThan(60)
  expect(row!.s).toBeLessThanOrEqual(120)
  await servers.store.query(
    sql`update sign_in_codes set expires_at = now() where key_id = ${idOf(maker.key)}`,
  )
  await isRefused(code)
})

it('is refused once its key is revoked, has expired or has another secret, and when its session has ended', async () => {
  const ends: ((key: string) => Promise<unknown>)[] = [
    (key) => revokeKey(servers.store, idOf(key)),
    (key) => servers.store.query(sql`update api_keys set expires_at = now() where id = ${idOf(key)}`),
    (key) => rotateKey(servers.store, { id: idOf(key), overlapMs: 0 }),
    (key) =>
      servers.store.query(sql`update sign_in_codes set session_until = now() where key_id = ${idOf(key)}`),
  ]
  for (const end of ends) {
    const maker = await signedIn()
    const code = await codeOf(maker)
    await end(maker.key)
    await api.deps.authentication.refresh()
    await isRefused(code)
  }
})

it('cannot be guessed: after ten wrong codes from an address the next is not looked up, and a key still signs in', async () => {
  const maker = await signedIn()
  const code = await codeOf(maker)
  const redeem = vi.spyOn(api.deps.authentication.codes, 'redeem')
  const waitS = vi.spyOn(attempts, 'waitS')
  waitS.mockImplementation((tried) => (tried?.startsWith('code ') === true ? 6 : 0))
  const answer = await post('/sign-in', { key: code })
  expect([answer.status, answer.headers.get('retry-after'), redeem.mock.calls]).toEqual([429, '6', []])
  expect((await post('/sign-in', { key: maker.key })).status).toBe(303)
  waitS.mockRestore()
  // Those of the tests above count too.
  const from = performance.now()
  const states: number[] = []
  while (states.at(-1) !== 429)
    states.push((await post('/sign-in', { key: `0000-${1_000 + states.length}` })).status)
  const refused = states.filter((each) => each === 403).length
  expect(states).toHaveLength(refused + 1)
  // Ten at once, and one more every six seconds.
  expect(refused).toBeLessThanOrEqual(10 + (performance.now() - from) / 6_000)
})

it('needs a session and the token of its form', async () => {
  const { cookie, key } = await signedIn()
  expect((await post('/device', { token: 'x'.repeat(43) }, cookie)).status).toBe(403)
  expect((await post('/device', {})).headers.get('location')).toContain('/sign-in')
  const browsed = await api.request('GET', '/device', {
    headers: { ...headers, authorization: `Bearer ${key}` },
  })
  expect(browsed.text).toContain('This key has no session')
})

it('stands in the database as a slow hash alone, and a revoked key makes none', async () => {
  const maker = await signedIn()
  const code = await codeOf(maker)
  const [row] = await servers.store.query<{ row: string }>(
    sql`select sign_in_codes::text as row from sign_in_codes where key_id = ${idOf(maker.key)}`,
  )
  expect(row!.row).not.toContain(code.replace('-', ''))
  // The salt is that of this installation, made with its first code.
  const salts = await servers.store.query(sql`select value from service_state where name = 'sign_in_salt'`)
  expect(salts).toEqual([{ value: expect.stringMatching(/^[\w-]{43}$/) as string }])
  await revokeKey(servers.store, idOf(maker.key))
  const session = { key: idOf(maker.key), mark: 'x', untilMs: Date.now() + 60_000 }
  expect(await createSignInCode(servers.store, session)).toBeUndefined()
})

it.each([
  ['7k3m-9qxz', '7K3M9QXZ'],
  ['oOiL lI00', '00111100'],
  ['7K3M-9QX', undefined],
  ['7K3M-9QXU', undefined],
  [`tnr_${'0'.repeat(12)}_${'0'.repeat(48)}`, undefined],
  ['', undefined],
])('the text %s is read as the code %s', (typed, code) => expect(parseCode(typed)).toBe(code))

it('is looked up at most ten times, also when an address sends many at once', async () => {
  // The attempts of the tests above are over.
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 3_600_000)
  const redeem = vi.spyOn(api.deps.authentication.codes, 'redeem').mockResolvedValue(undefined)
  await Promise.all(Array.from({ length: 40 }, (_, i) => post('/sign-in', { key: `0000-01${10 + i}` })))
  expect(redeem).toHaveBeenCalledTimes(10)
})
