/** Tests bodies that no route may parse: JSON that blocks the process or is ambiguous, and bytes that are not UTF-8. */
import { createHash } from 'node:crypto'
import { Registry } from 'prom-client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../../api/app.ts'
import { describe as describeApi } from '../../../api/http/openapi.ts'
import { pathTemplate } from '../../../api/http/route.ts'
import { callsOf, type OpenApiDocument } from '../../interop/calls.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
const model = 'iris'
/** The address of a route, of the model that is served. */
const addressOf = (path: string) =>
  path
    .replace('{name}', model)
    .replace('{version}', `${model}_v1.0.0`)
    .replaceAll(/\{\w+\}/g, 'x')
const post = (path: string, body: unknown) => api.request('POST', path, { key, body })

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const route = await fixture.route(model, { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture, { invocationsModel: model })
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

describe('a JSON body', () => {
  const deep = '['.repeat(5_000) + ']'.repeat(5_000)

  it('that is nested 5,000 levels deep is refused on every route that takes one', async () => {
    const paths = api.routes
      .filter(({ method, body, page }) => method !== 'get' && body !== undefined && page !== true)
      .map(({ method, path }) => [method, path.replaceAll(/:\w+/g, 'x')] as const)
    expect(paths.length).toBeGreaterThan(15)
    const before = [...api.troubles]
    const streamed = ['/v1/outcomes/bulk', '/v1/events'].map((path) => ['post', path] as const)
    for (const [method, path] of [...paths, ...streamed]) {
      const { status, json } = await api.request(method.toUpperCase(), path, { key, body: deep })
      expect([path, status, json['detail'] ?? json['error']]).toEqual([
        path,
        400,
        'the body is nested more than 64 levels deep',
      ])
    }
    expect(api.troubles).toEqual(before)
  })

  const takersOf = () =>
    callsOf(describeApi(api.routes) as unknown as OpenApiDocument, {}).filter(
      ({ media }) => media === 'application/json',
    )

  it.each([
    ['that sets a prototype', '"__proto__":5', '__proto__'],
    ['that sets a prototype, in escapes', String.raw`"_\u005fproto__":{"a":1}`, '__proto__'],
    ['twice', '"twice":1,"twice":2', 'twice in one object'],
  ])('with a name %s is refused by that name on every route that takes one', async (_, fields, named) => {
    const takers = takersOf()
    expect(takers.length).toBeGreaterThan(35)
    for (const { method, path, body } of takers) {
      const first = JSON.stringify({ ...(body as object), z: 1 }).replace(/^\{/, `{${fields},`)
      const inner = JSON.stringify({ ...(body as object), inner: [{ x: 'y' }] }).replace('"x":"y"', fields)
      for (const sent of [first, inner]) {
        const target = addressOf(path)
        const { status, text } = await api.request(method.toUpperCase(), target, { key, body: sent })
        expect([path, status, text]).toEqual([path, 400, expect.stringContaining(named)])
      }
    }
  })

  const declaredTakers = () =>
    takersOf().filter(({ method, path }) =>
      api.routes.some((each) => each.method === method && pathTemplate(each.path) === path && each.body),
    )

  it('with a whole number that is not kept exactly is refused by its field on every route that declares one', async () => {
    const sent = '{"inner":{"big":1152921504606846977}}'
    for (const { method, path } of declaredTakers()) {
      const { status, text } = await api.request(method.toUpperCase(), addressOf(path), { key, body: sent })
      expect([path, status, text]).toEqual([
        path,
        400,
        expect.stringContaining('inner.big is 1152921504606846977'),
      ])
    }
  })

  it('with a field that its schema lacks is refused by its name on every route that declares one', async () => {
    const declared = declaredTakers()
    expect(declared.length).toBeGreaterThan(25)
    for (const { method, path, body } of declared)
      for (const name of ['constructor', 'toString', 'hasOwnProperty', 'not_a_field']) {
        const target = addressOf(path)
        const sent = { ...(body as object), [name]: 1 }
        const { status, text } = await api.request(method.toUpperCase(), target, { key, body: sent })
        expect([path, status, text]).toEqual([path, 400, expect.stringContaining(name)])
      }
  })

  it('of 4 MiB in small values is refused before it is parsed', async () => {
    const parse = JSON.parse
    JSON.parse = () => expect.fail('it was parsed')
    const body = `{"outcomes":[${'{},'.repeat(1_350_000)}{}]}`
    const answer = await api
      .request('POST', '/v1/outcomes', { key, body })
      .finally(() => (JSON.parse = parse))
    expect([answer.status, parse(answer.text)]).toEqual([
      400,
      expect.objectContaining({ detail: 'the body has more than 70000 values', limit: 70_000 }),
    ])
  })

  it('with a list that is too long is refused once, and another with 20 issues', async () => {
    const made = (models: unknown) => post('/v1/keys', { name: 'x', role: 'viewer', models })
    const long = await made(Array.from({ length: 2_000 }, () => 1))
    expect(long.json).toMatchObject({ issues: ['models: has 2000 entries, more than 1000'] })
    const wrong = await made(Array.from({ length: 900 }, () => 1))
    expect(wrong.json['issues']).toHaveLength(20)
    expect(wrong.json['detail']).toMatch(/models\.19: .*; and 880 more$/)
    const outcomes = Array.from({ length: 10_001 }, () => ({}))
    expect((await post('/v1/outcomes', { outcomes })).json).toMatchObject({
      issues: ['outcomes: has 10001 entries, more than 10000'],
    })
  })

  it.each([
    [
      'of other bytes than UTF-8',
      Buffer.from('{"model":"iris","subject":"M\xfcller"}', 'latin1'),
      /not UTF-8/,
    ],
    ['with a byte order mark', Buffer.from('\ufeff{"model":"iris","subject":"x"}'), /byte order mark/],
    ['with a key twice', Buffer.from('{"model":"iris","subject":"a","subject":"b"}'), /"subject" twice/],
  ])('%s erases nothing', async (_, body, message) => {
    const app = createApp({ ...api.deps, metrics: new Registry() }).app
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const answer = await app.request('/v1/erasures', { method: 'POST', headers, body })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ detail: expect.stringMatching(message) })
  })
})

it('a form with a field that is repeated or would be dropped is refused by its name on every page', async () => {
  const forms = api.routes.filter(({ method, page, body }) => method === 'post' && page && body !== undefined)
  expect(forms.length).toBeGreaterThan(5)
  for (const { path } of forms)
    for (const [body, named] of [
      ['a=1&a=2', 'the form has the key "a" twice in one object'],
      ['__pro%74o__=1', 'the form has the key "__proto__", which no field can have'],
    ]) {
      const { status, json } = await api.request('POST', path.replaceAll(/:\w+/g, 'x'), {
        key,
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
      expect([path, status, json['detail']]).toEqual([path, 400, named])
    }
})

it('a form and a path with percent-encoded bytes that are not UTF-8 are refused', async () => {
  const page = await createApp({ ...api.deps, metrics: new Registry() }).app.request('/sign-in', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'key=x&next=%2F%FC',
  })
  expect(await page.json()).toMatchObject({ detail: 'the form has %2F%FC, which is not UTF-8' })
  expect((await api.request('GET', '/v1/alerts?model=M%FCller', { key })).json).toMatchObject({
    status: 400,
    detail: 'the path has %FC, which is not UTF-8',
  })
})

it('every route declares the refusal of an address that is not UTF-8, and of a body of an unknown type', async () => {
  const { paths } = describeApi(api.routes) as {
    paths: Record<string, Record<string, { responses: Record<string, object> }>>
  }
  for (const [path, operations] of Object.entries(paths))
    for (const [method, { responses }] of Object.entries(operations)) {
      const address = path.replaceAll(/\{\w+\}/g, 'x')
      const sent = { key, body: method === 'get' ? undefined : 'x', headers: { 'content-type': 'image/png' } }
      const typed = await api.request(method.toUpperCase(), address, sent)
      const escaped = await api.request(method.toUpperCase(), `${address}?%FC`, { key })
      expect(Object.keys(responses), `${method} ${path}`).toContain(String(typed.status))
      expect(Object.keys(responses), `${method} ${path}`).toContain(String(escaped.status))
    }
})

describe('an erasure request is refused for', () => {
  it.each<[object, number, string, RegExp]>([
    [{ model: 'tulip', subject: 'x' }, 404, 'model_not_found', /tulip/],
    [{ model: 'iris' }, 400, 'invalid_request', /subject/],
    [{ model: 'iris', subject: '' }, 400, 'invalid_request', /subject/],
    [{ model: 'iris', subject: '  ' }, 400, 'invalid_request', /subject: is blank/],
    [{ model: 'iris', subject: 'x'.repeat(1_001) }, 400, 'invalid_request', /subject/],
    [{ model: 'iris', subject: 'x', prediction_ids: ['1'] }, 400, 'invalid_request', /prediction_ids/],
    [{ model: 'iris', subject: 'x', reason: 'y' }, 400, 'invalid_request', /reason/],
  ])('%j', async (body, status, code, detail) => {
    const { json } = await post('/v1/erasures', body)
    expect(json).toMatchObject({ status, code, detail: expect.stringMatching(detail) })
  })

  it('an unknown erasure and an invalid cursor', async () => {
    expect((await api.request('GET', '/v1/erasures/era_none', { key })).json).toMatchObject({
      code: 'not_found',
    })
    expect((await api.request('GET', '/v1/erasures?cursor=x', { key })).json).toMatchObject({
      code: 'invalid_request',
    })
  })
})

it('the hash of an erasure request that is kept for its repetition needs the secret of the installation', async () => {
  const body = JSON.stringify({ model: 'tulip', subject: '4711' })
  const headers = { 'idempotency-key': 'erase-4711', 'content-type': 'application/json' }
  const { status } = await api.request('POST', '/v1/erasures', { key, body, headers })
  expect(status).toBe(404)
  const hash = createHash('sha256').update(`post /v1/erasures\n${body}`).digest()
  const kept = await fixture.store.query<{ request_hash: Buffer }>(
    sql`select request_hash from idempotent_requests where name = 'erase-4711'`,
  )
  expect(kept.map((row) => row.request_hash.equals(hash))).toEqual([false])
})
