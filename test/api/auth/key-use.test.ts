/** Tests keys in use: rotation without an outage, rate limits, and idempotent commands. */
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAuthentication } from '../../../api/auth/authentication.ts'
import { roles, type Role } from '../../../domain/roles.ts'
import { insertKey, listKeys, revokeKey, rotateKey, type NewKey } from '../../../store/access/api-keys.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
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
  const route = await fixture.route('iris', { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

describe('a rotated key', () => {
  let second: TestApi
  beforeAll(async () => {
    second = await startApi(fixture)
  })
  afterAll(() => second.stop())
  const opens = async (asked: TestApi, key: string) =>
    (await asked.request('GET', '/v1/models', { key })).status === 200
  const renew = async (id: string, body: object) => {
    const { status, json } = await api.request('POST', `/v1/keys/${id}/rotate`, { key: keys.admin, body })
    expect(status).toBe(200)
    return json as { id: string; name: string; key: string; previous_until: string }
  }
  const make = async (options: Partial<NewKey> & { name: string }) => {
    const { key, facts } = await insertKey(fixture.store, { role: 'viewer', ...options })
    await Promise.all([api, second].map((each) => each.deps.authentication.refresh()))
    return { key, id: facts.id }
  }

  it('is accepted with both secrets during the overlap, at every replica, and then with the new one only', async () => {
    let overlapS = 1
    let [before, after, id, previousUntil] = ['', '', '', '']
    const bothOpen = async () => {
      // The overlap lasts as long as this machine needs to use both secrets.
      overlapS *= 2
      const name = `renewed ${overlapS}`
      ;({ key: before, id } = await make({ name }))
      const { key, ...facts } = await renew(id, { overlap_s: overlapS })
      expect(facts).toMatchObject({ id, name, previous_until: expect.any(String) })
      ;[after, previousUntil] = [key, facts.previous_until]
      for (const each of [api, second]) await until(() => opens(each, after), 'the new secret')
      return (await opens(api, before)) && (await opens(second, before))
    }
    await until(bothOpen, 'both secrets')
    for (const each of [api, second])
      await until(async () => !(await opens(each, before)), 'the end of the old')
    // Estimates the database time at half of the round trip.
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(previousUntil) - 500)
    for (const each of [api, second]) expect(await opens(each, after)).toBe(true)
    const audit = await api.request('GET', '/v1/audit?limit=5', { key: keys.admin })
    const row = (audit.json['audit'] as { action: string; subject: string }[])[0]
    expect(row).toMatchObject({ action: 'key.rotated', subject: id })
    for (const secret of [before, after]) expect(audit.text).not.toContain(secret.split('_')[2])
  })

  it('is accepted with the new secret only when the overlap is 0', async () => {
    const { key: before, id } = await make({ name: 'leaked' })
    const { key: after } = await renew(id, { overlap_s: 0 })
    expect([await opens(api, before), await opens(api, after)]).toEqual([false, true])
    await until(
      async () => !(await opens(second, before)) && (await opens(second, after)),
      'the other replica',
    )
  })

  it('is rotated by an admin only, and not if it is unknown or revoked', async () => {
    const { id } = await make({ name: 'gone' })
    await revokeKey(fixture.store, id)
    for (const each of [id, 'unknown'])
      expect(
        (await api.request('POST', `/v1/keys/${each}/rotate`, { key: keys.admin, body: {} })).json['code'],
      ).toBe('not_found')
    for (const role of roles.filter((each) => each !== 'admin'))
      expect((await api.request('POST', `/v1/keys/${id}/rotate`, { key: keys[role], body: {} })).status).toBe(
        403,
      )
  })

  it('expires by the time of the database, independent of the clock of the replica', async () => {
    const minuteMs = 60_000
    const soon = new Date(Date.now() + 30 * minuteMs).toISOString()
    const { key } = await make({ name: 'dated', expiresAt: soon })
    let nowMs = Date.now()
    const dated = await openAuthentication({
      store: fixture.store,
      nowMs: () => nowMs,
      cacheFile: join(fixture.directory(), 'keys.json'),
      publicPredictions: false,
      onError: () => {},
    })
    await dated.refresh()
    expect(dated.actorOf(`Bearer ${key}`).name).toBe('dated')
    const { session } = dated.identify(key)
    nowMs += 31 * minuteMs
    expect(() => dated.actorOf(`Bearer ${key}`)).toThrow(/has expired/)
    expect(() => dated.identify(key)).toThrow(/does not open|invalid API key/)
    expect(dated.sessionOf(session)).toBeUndefined()
    nowMs -= 2 * minuteMs
    expect(dated.sessionOf(session)?.name).toBe('dated')
    await dated.stop()
  })

  it('is refused within five seconds of its revocation, also where no notification arrives', async () => {
    const { key, id } = await make({ name: 'unheard' })
    const deaf = await openAuthentication({
      store: { ...fixture.store, listen: () => () => Promise.resolve() },
      cacheFile: join(fixture.directory(), 'keys.json'),
      publicPredictions: false,
      nowMs: Date.now,
      onError: () => {},
    })
    await deaf.refresh()
    expect(deaf.actorOf(`Bearer ${key}`).name).toBe('unheard')
    await revokeKey(fixture.store, id)
    const closed = () => {
      try {
        deaf.actorOf(`Bearer ${key}`)
        return false
      } catch {
        return true
      }
    }
    await until(closed, 'the end of the key')
    for (const each of [api, second]) expect(await opens(each, key)).toBe(false)
    await deaf.stop()
  })
})

describe('a key with a rate limit', () => {
  const limited = async (asked: TestApi, rate: object) => {
    const name = `slow-${Math.random().toString(36).slice(2)}`
    const body = { name, role: 'predictor', ...rate }
    const { status, json } = await api.request('POST', '/v1/keys', { key: keys.admin, body })
    expect(status).toBe(201)
    await asked.deps.authentication.refresh()
    return json['key'] as string
  }
  const ask = (asked: TestApi, key: string) =>
    asked.request('POST', '/v1/models/iris/predict', { key, body: predict })

  it('gets 429 with Retry-After after its burst; other keys do not', async () => {
    const burst = 5
    const key = await limited(api, { requests_per_second: 1, burst })
    // All at once, because each second frees another request.
    const askAtOnce = (count: number) => Promise.all(Array.from({ length: count }, () => ask(api, key)))
    const answers = await askAtOnce(burst + 2)
    const statuses = answers.map(({ status }) => status)
    expect(statuses).toEqual([...Array.from({ length: burst }, () => 200), 429, 429])
    const last = answers.at(-1)!
    expect(last.json).toMatchObject({ code: 'rate_limited', retryable: true })
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    // A change of another key does not reset this bucket.
    await limited(api, { requests_per_second: 1 })
    expect((await askAtOnce(burst)).at(-1)?.status).toBe(429)
    expect((await ask(api, keys.predictor)).status).toBe(200)
    await until(async () => (await ask(api, key)).status === 200, 'its next turn')
  })

  it('has a separate bucket at each replica', async () => {
    const second = await startApi(fixture)
    await until(() => second.serving.routing.isFilled(), 'the routes')
    const key = await limited(second, { requests_per_second: 1, burst: 1 })
    for (const asked of [api, second]) {
      const both = await Promise.all([ask(asked, key), ask(asked, key)])
      expect(both.map(({ status }) => status)).toEqual([200, 429])
    }
    await second.stop()
  })

  it('requires a rate with its burst, both within their ranges', async () => {
    for (const body of [{ burst: 3 }, { requests_per_second: 0 }, { requests_per_second: 1.5 }])
      expect(
        (
          await api.request('POST', '/v1/keys', {
            key: keys.admin,
            body: { name: 'x', role: 'viewer', ...body },
          })
        ).status,
      ).toBe(400)
  })
})

describe('a command with an Idempotency-Key', () => {
  const command = (
    method: string,
    path: string,
    name: string,
    body: unknown = {},
    who: Role = 'admin',
    asked = api,
  ) => asked.request(method, path, { key: keys[who], body, headers: { 'idempotency-key': name } })
  const kept = async (name: string) =>
    fixture.store.query<{ row: string }>(
      sql`select row_to_json(idempotent_requests)::text as row from idempotent_requests where name = ${name}`,
    )

  it('gets its first response again, from every replica and after a restart', async () => {
    const { facts } = await insertKey(fixture.store, { name: 'once', role: 'viewer' })
    const first = await command('DELETE', `/v1/keys/${facts.id}`, 'end-once')
    expect(first.status).toBe(200)
    const second = await startApi(fixture)
    const again = await command('DELETE', `/v1/keys/${facts.id}`, 'end-once', {}, 'admin', second)
    expect({ status: again.status, json: again.json }).toEqual({ status: 200, json: first.json })
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    await second.stop()
    const { json } = await api.request('GET', '/v1/audit?limit=20', { key: keys.admin })
    const rows = (json['audit'] as { action: string; subject: string }[]).filter(
      ({ subject }) => subject === facts.id,
    )
    expect(rows.map(({ action }) => action)).toEqual(['key.revoked'])
  })

  it('runs once when it is sent concurrently', async () => {
    const { facts } = await insertKey(fixture.store, { name: 'storm', role: 'viewer' })
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => command('DELETE', `/v1/keys/${facts.id}`, 'end-storm')),
    )
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const { json } = await api.request('GET', '/v1/audit?limit=50', { key: keys.admin })
    expect(
      (json['audit'] as { subject: string }[]).filter(({ subject }) => subject === facts.id),
    ).toHaveLength(1)
  })

  it('is refused if the key was used with another body, path, query or method', async () => {
    await command('POST', '/v1/keys', 'taken', { name: 'admin', role: 'viewer' })
    for (const [method, path, body] of [
      ['POST', '/v1/keys', { name: 'viewer', role: 'viewer' }],
      ['POST', '/v1/keys/x/rotate', { name: 'admin', role: 'viewer' }],
      ['DELETE', '/v1/keys', {}],
    ] as const) {
      const { status, json } = await command(method, path, 'taken', body)
      if (status !== 405 && status !== 400)
        expect({ status, code: json['code'] }).toEqual({ status: 409, code: 'idempotency_conflict' })
    }
    expect(
      (await command('POST', '/v1/keys', 'taken', { name: 'viewer', role: 'viewer' })).json,
    ).toMatchObject({ code: 'idempotency_conflict', status: 409 })
    expect((await command('DELETE', '/v1/keys/none?note=one', 'noted')).json['code']).toBe('not_found')
    expect((await command('DELETE', '/v1/keys/none?note=two', 'noted')).json['code']).toBe(
      'idempotency_conflict',
    )
  })

  it('is separate for each API key', async () => {
    const { json } = await command('POST', '/v1/keys', 'mine', { name: 'idle-1', role: 'viewer' })
    const key = await fixture.key({ name: 'second-admin' })
    await api.deps.authentication.refresh()
    const other = await api.request('POST', '/v1/keys', {
      key,
      body: { name: 'idle-2', role: 'viewer' },
      headers: { 'idempotency-key': 'mine' },
    })
    expect(other.status).toBe(201)
    expect(other.json['id']).not.toBe(json['id'])
  })

  it('repeats a refusal, and shows a secret once without storing it', async () => {
    const refused = await command('POST', '/v1/keys', 'refused', { name: 'admin', role: 'viewer' })
    const { request_id: _first, ...problem } = refused.json
    const again = await command('POST', '/v1/keys', 'refused', { name: 'admin', role: 'viewer' })
    expect(again).toMatchObject({ status: 400, json: problem })
    const shown = await command('POST', '/v1/keys', 'shown', { name: 'shown-once', role: 'viewer' })
    const secret = (shown.json['key'] as string).split('_')[2]!
    const repeated = await command('POST', '/v1/keys', 'shown', { name: 'shown-once', role: 'viewer' })
    expect(repeated).toMatchObject({ status: 409, json: { code: 'idempotency_conflict' } })
    expect(JSON.stringify(await kept('shown'))).not.toContain(secret)
  })

  it('may be retried after it failed without an effect', async () => {
    const answer = await command('POST', '/v1/drills', 'later', { model: 'iris' }, 'operator')
    expect(answer).toMatchObject({ status: 503, json: { retryable: true } })
    expect(await kept('later')).toMatchObject([{ row: expect.stringContaining('"answer":null') as string }])
    expect(await command('POST', '/v1/drills', 'later', { model: 'iris' }, 'operator')).toMatchObject({
      status: 503,
    })
  })

  it('is stored for a day, and taken over from a replica that died during it', async () => {
    const body = { name: 'day', role: 'viewer' }
    expect((await command('POST', '/v1/keys', 'day', body)).status).toBe(201)
    await fixture.store.query(
      sql`update idempotent_requests set at = now() - interval '25 hours' where name = 'day'`,
    )
    const anew = await command('POST', '/v1/keys', 'day', body)
    expect(anew).toMatchObject({
      status: 400,
      json: { detail: expect.stringMatching(/named "day" already/) as string },
    })
    await fixture.store.query(sql`
      update idempotent_requests set answer = null, held_until = now() - interval '1 s' where name = 'day'`)
    expect((await command('POST', '/v1/keys', 'day', body)).status).toBe(400)
  })

  it.each(['', ' ', 'ä', 'x'.repeat(151), 'two words'])('is not named %j', async (name) => {
    const { status } = await command('DELETE', '/v1/keys/unknown', name)
    expect(status).toBe(400)
  })
})

describe('the use of a key', () => {
  const alerts = async (name: string) =>
    (await listAlerts(fixture.store, { open: true })).filter(
      ({ kind, message }) => kind === 'ended_key_used' && message.includes(name),
    )
  const list = async (key: string) => (await api.request('GET', '/v1/models', { key })).status
  const store = () => api.deps.authentication.storeUse()
  const make = async (name: string) => {
    const made = await insertKey(fixture.store, { name, role: 'viewer' })
    await api.deps.authentication.refresh()
    return { key: made.key, id: made.facts.id }
  }
  const ended = {
    revoked: (id: string) => revokeKey(fixture.store, id),
    expired: (id: string) =>
      fixture.store.query(sql`update api_keys set expires_at = now() - interval '1 s' where id = ${id}`),
    replaced: (id: string) => rotateKey(fixture.store, { id, overlapMs: 0 }),
  }

  it('is listed', async () => {
    const { key, id } = await make('listed')
    const found = async () => (await listKeys(fixture.store)).find((each) => each.id === id)!
    expect((await found()).lastUsedAt).toBeUndefined()
    expect(await list(key)).toBe(200)
    await store()
    expect(Date.now() - Date.parse((await found()).lastUsedAt!)).toBeLessThan(60_000)
  })

  it.each(Object.entries(ended))(
    'raises an alert when the secret was %s, until ten minutes after the last request',
    async (why, end) => {
      const { key, id } = await make(`${why}-svc`)
      await end(id)
      await api.deps.authentication.refresh()
      expect(await list(key)).toBe(401)
      await store()
      expect(await alerts(`${why}-svc`)).toMatchObject([
        { severity: 'warning', message: expect.stringMatching(/still used: 1 requests? refused since/) },
      ])
      for (let asked = 0; asked < 100; asked++) await list(key)
      await store()
      expect(await alerts(`${why}-svc`)).toMatchObject([
        { severity: 'critical', message: expect.stringContaining('101 requests refused since') },
      ])
      await fixture.store.query(
        sql`update api_keys set refused_at = now() - interval '11 minutes' where id = ${id}`,
      )
      await store()
      expect(await alerts(`${why}-svc`)).toEqual([])
    },
  )

  it('raises none for a secret that was never issued, or with the id of a key', async () => {
    const { key, id } = await make('guessed')
    await revokeKey(fixture.store, id)
    await api.deps.authentication.refresh()
    expect(await list(`${key.slice(0, -4)}0000`)).toBe(401)
    await store()
    expect(await alerts('guessed')).toEqual([])
  })
})
