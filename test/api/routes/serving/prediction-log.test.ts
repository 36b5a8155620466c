/** Tests that the prediction log is read as it was served: pages, filters, persons, and the row of the audit log that each read has. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { placeOf, type Route } from '../../../../domain/serving/route.ts'
import { eraseSpan } from '../../../../store/privacy/delete-subject.ts'
import { insertErasure } from '../../../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../../../store/privacy/hashed-subject.ts'
import { flightSpec, irisRow, irisSpec, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

interface Logged extends Record<string, unknown> {
  id: string
  arm: string
  version: string
}
interface Page {
  predictions: Logged[]
  next_cursor?: string
}

let fixture: ServingFixture
let api: TestApi
let key: string

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ name: 'olga', role: 'operator' })
  const register = async (spec: ArtifactSpec, minor = 0) => {
    const version = await fixture.register(spec, minor)
    const manifest = JSON.stringify({ output: spec.output, preprocessing: spec.preprocessing })
    await fixture.store.query(sql`update versions set manifest = ${manifest} where version = ${version}`)
    return version
  }
  const champion = await register(irisSpec('iris', 1), 1)
  const candidate = await register(irisSpec('iris', 2), 2)
  const release = {
    release: 'rel_iris',
    salt: 'rel_iris',
    proven: champion,
    arms: [
      { arm: 'canary', version: candidate, shareBp: 4_000 },
      { arm: 'champion', version: champion, shareBp: 6_000 },
    ],
  } satisfies Partial<Route>
  const routes = [await fixture.route('iris', release, 3_600_000)]
  for (const spec of [flightSpec(), irisSpec('tulip'), irisSpec('wide')])
    routes.push(await fixture.route(spec.model, { proven: await register(spec) }))
  await fixture.store.query(sql`
    update models set definition = definition || '{"subject": "origin"}' where name = 'flight'`)
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const ask = (path: string, as = key) => api.request('GET', path, { key: as })
const queryOf = (query: Record<string, string | number>) =>
  new URLSearchParams(
    Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString()
async function page(query: Record<string, string | number>, as = key): Promise<Page> {
  const { status, json } = await ask(`/v1/predictions?${queryOf(query)}`, as)
  expect([status, json['detail']]).toEqual([200, undefined])
  return json as unknown as Page
}
async function pages(query: Record<string, string | number>): Promise<{ all: Logged[]; count: number }> {
  const all: Logged[] = []
  let cursor: string | undefined
  let count = 0
  do {
    const found: Page = await page({ ...query, ...(cursor !== undefined && { cursor }) })
    expect(found.predictions.length).toBeLessThanOrEqual(Number(query['limit'] ?? 100))
    all.push(...found.predictions)
    cursor = found.next_cursor
    count++
  } while (cursor !== undefined)
  return { all, count }
}
const auditRows = () =>
  fixture.store.query<{ actor: string; subject: string; model: string; detail: Record<string, unknown> }>(
    sql`select actor, subject, model, detail from audit where action = 'predictions.read' order by seq`,
  )
/** Requests of one millisecond are in the order of their ids, which is not that of their answers. */
function nextMillisecond(): void {
  // A whole one: the milliseconds of the ids begin at another moment than those of this machine.
  for (const end = performance.now() + 1; performance.now() < end;);
}

const idsOf = (predictions: readonly { id: string }[]) => predictions.map(({ id }) => id)

describe('the prediction log', () => {
  it('shows what callers received, with inputs, reference, key and the outcome that counts', async () => {
    const instances = [irisRow, { ...irisRow, petalLength: 6 }]
    const caller = await fixture.key({ role: 'predictor' })
    const labeller = await fixture.key({ role: 'labeller' })
    await api.deps.authentication.refresh()
    const answered = await api.request('POST', '/v1/models/tulip/predict', {
      key: caller,
      body: { instances, routing_key: 'user-1', reference: 'A-1' },
    })
    await api.serving.log.flush()
    const { predictions: answers } = answered.json as unknown as Page
    for (const [value, at] of [
      ['setosa', '2026-01-01T00:00:00.000Z'],
      ['virginica', '2026-01-02T00:00:00.000Z'],
    ])
      await api.request('POST', '/v1/outcomes', {
        key: labeller,
        body: { outcomes: [{ prediction_id: answers[1]!.id, value, observed_at: at }] },
      })
    const { predictions, next_cursor: next } = await page({ model: 'tulip' })
    expect(next).toBeUndefined()
    expect(
      predictions.map(({ answer, inputs, id, instance }) => ({
        id,
        instance,
        inputs,
        ...(answer as object),
      })),
    ).toEqual(answers.map((each, instance) => ({ ...each, instance, inputs: instances[instance] })))
    expect(predictions[0]).toMatchObject({
      model: 'tulip',
      version: 'tulip_v1.0.0',
      arm: 'champion',
      generation: 1,
      instances: 2,
      routing_key: 'user-1',
      reference: 'A-1',
      key_id: caller.split('_')[1],
    })
    expect(predictions[0]).not.toHaveProperty('outcome')
    expect(predictions[1]!['outcome']).toMatchObject({
      value: 'virginica',
      observed_at: '2026-01-02T00:00:00.000Z',
    })
    const shown = await ask(`/v1/predictions/${answers[1]!.id}`)
    expect(shown.json).toEqual({
      ...predictions[1],
      why: { text: 'all requests of generation 1 are of this arm' },
    })
  })

  it('is listed in pages without a gap or a repetition, and filtered alike by each filter and by all of them', async () => {
    for (let n = 0; n < 60; n++)
      api.ask('iris', {
        instances: Array.from({ length: 1 + (n % 4) }, () => irisRow),
        routing_key: `user-${n % 7}`,
        ...(n % 3 === 0 && { reference: `order-${n % 5}` }),
      })
    await api.serving.log.flush()
    const { all } = await pages({ model: 'iris', limit: 1_000 })
    expect(all).toHaveLength(150)
    expect(new Set(idsOf(all)).size).toBe(150)
    expect(new Set(all.map(({ arm }) => arm))).toEqual(new Set(['canary', 'champion']))
    const times = all.map(({ at }) => String(at))
    expect(times).toEqual(times.toSorted().toReversed())
    for (const limit of [1, 7, 50, 150]) {
      const paged = await pages({ model: 'iris', limit })
      expect(idsOf(paged.all)).toEqual(idsOf(all))
      expect(paged.count).toBe(Math.ceil(150 / limit))
    }
    const middle = times[75]!
    const filters: Record<string, { value: string; has: (each: Logged) => boolean }> = {
      version: { value: 'iris_v1.2.0', has: ({ version }) => version === 'iris_v1.2.0' },
      arm: { value: 'canary', has: ({ arm }) => arm === 'canary' },
      routing_key: { value: 'user-3', has: (each) => each['routing_key'] === 'user-3' },
      subject: { value: 'user-3', has: (each) => each['routing_key'] === 'user-3' },
      reference: { value: 'order-4', has: (each) => each['reference'] === 'order-4' },
      since: { value: middle, has: ({ at }) => Date.parse(String(at)) >= Date.parse(middle) },
      until: { value: middle, has: ({ at }) => Date.parse(String(at)) < Date.parse(middle) },
    }
    const names = Object.keys(filters)
    for (let chosen = 1; chosen < 2 ** names.length; chosen++) {
      const given = names.filter((_, place) => (chosen >> place) & 1)
      if (given.includes('since') && given.includes('until')) continue
      // Every single filter and every pair, and all together.
      if (given.length > 2 && given.length < names.length - 1) continue
      const wanted = all.filter((each) => given.every((name) => filters[name]!.has(each)))
      const query = Object.fromEntries(given.map((name) => [name, filters[name]!.value]))
      const { all: found } = await pages({ model: 'iris', limit: 9, ...query })
      expect(idsOf(found), given.join()).toEqual(idsOf(wanted))
    }
  })

  it('is read from yesterday on by default, and wholly with a reference or a subject', async () => {
    const { id } = api.ask('tulip', { instances: [irisRow], routing_key: 'old-user', reference: 'old' })
      .predictions[0]!
    await api.serving.log.flush()
    await fixture.store.query(sql`update predictions set at = at - interval '3 days' where id = ${id}`)
    const ids = async (query: object) => idsOf((await pages({ model: 'tulip', ...query })).all)
    expect(await ids({})).not.toContain(id)
    expect(await ids({ routing_key: 'old-user' })).toEqual([])
    expect(await ids({ reference: 'old' })).toEqual([id])
    expect(await ids({ subject: 'old-user' })).toEqual([id])
    const since = new Date(Date.now() - 4 * 86_400_000).toISOString()
    expect(await ids({ since, routing_key: 'old-user' })).toEqual([id])
  })

  it('is read in bounded parts, however rare what is sought', async () => {
    const { id } = api.ask('wide', { instances: [irisRow], routing_key: 'rare' }).predictions[0]!
    const instances = Array.from({ length: 1_000 }, () => irisRow)
    nextMillisecond()
    for (let n = 0; n < 15; n++) api.ask('wide', { instances, routing_key: 'frequent' })
    await api.serving.log.flush()
    const first = await page({ model: 'wide', routing_key: 'rare' })
    expect(first.predictions).toEqual([])
    expect(first.next_cursor).toBeDefined()
    const second = await page({ model: 'wide', routing_key: 'rare', cursor: first.next_cursor! })
    expect(idsOf(second.predictions)).toEqual([id])
    expect(second.next_cursor).toBeUndefined()
    const { all } = await pages({ model: 'wide', limit: 1_000 })
    expect(new Set(idsOf(all)).size).toBe(15_001)
  })

  it('says by which place of the routing key an arm served, as the replica chose', async () => {
    for (let n = 0; n < 20; n++) {
      const routingKey = `why-${n}`
      const { predictions, arm } = api.ask('iris', { instances: [irisRow], routing_key: routingKey })
      await api.serving.log.flush()
      const { json } = await ask(`/v1/predictions/${predictions[0]!.id}`)
      const place = placeOf('rel_iris', routingKey)
      expect(json).toMatchObject({
        arm,
        release: 'rel_iris',
        why: {
          place_bp: place,
          from_bp: place < 4_000 ? 0 : 4_000,
          to_bp: place < 4_000 ? 4_000 : 10_000,
        },
      })
    }
  })

  it.each(['nothing', '01890000-0000-7000-8000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])(
    'has no prediction %s',
    async (id) => {
      expect(await ask(`/v1/predictions/${id}`)).toMatchObject({ status: 404, json: { code: 'not_found' } })
    },
  )
})

describe('a read of the log', () => {
  it('has one row in the audit log for all its pages, with hashes in place of the person', async () => {
    const before = (await auditRows()).length
    await pages({ model: 'iris', subject: 'user-3', routing_key: 'user-3', limit: 2 })
    const rows = (await auditRows()).slice(before)
    expect(rows).toMatchObject([{ actor: 'olga', subject: 'iris', model: 'iris' }])
    const { subjects } = api.deps
    expect(rows[0]!.detail).toMatchObject({
      subjectHash: subjects.hashOf('user-3'),
      routingKeyHash: subjects.hashOf('user-3'),
    })
    expect(JSON.stringify(rows)).not.toContain('user-3')
    const [{ id }] = (await page({ model: 'iris', limit: 1 })).predictions as [Logged]
    await ask(`/v1/predictions/${id}`)
    expect((await auditRows()).slice(before + 2)).toMatchObject([
      { actor: 'olga', subject: id, model: 'iris' },
    ])
  })

  it('that would go on under the row of another read is refused', async () => {
    const { next_cursor: cursor } = await page({ model: 'iris', routing_key: 'user-1', limit: 1 })
    const other = await fixture.key({ name: 'otto', role: 'operator' })
    await api.deps.authentication.refresh()
    const before = await auditRows()
    const refused = [
      [{ model: 'iris', limit: 1 }, key],
      [{ model: 'iris', routing_key: 'user-2' }, key],
      [{ model: 'iris', routing_key: 'user-1', arm: 'canary' }, key],
      [{ model: 'tulip', routing_key: 'user-1' }, key],
      [{ model: 'iris', routing_key: 'user-1' }, other],
    ] as const
    for (const [query, as] of refused) {
      const { status, json } = await ask(`/v1/predictions?${queryOf({ ...query, cursor: cursor! })}`, as)
      expect([status, json['detail']]).toEqual([400, expect.stringContaining('belongs to another read')])
    }
    // A period of another read, in an edited cursor.
    const [order, read, , ...rest] = JSON.parse(Buffer.from(cursor!, 'base64url').toString()) as unknown[]
    const edited = Buffer.from(JSON.stringify([order, read, '', ...rest])).toString('base64url')
    const { status } = await ask(
      `/v1/predictions?${queryOf({ model: 'iris', routing_key: 'user-1', cursor: edited })}`,
    )
    expect(status).toBe(400)
    expect(await auditRows()).toEqual(before)
  })

  it('reaches no model beyond those of its key, by list or by id', async () => {
    const scoped = await fixture.key({ role: 'admin', models: ['tulip'] })
    await api.deps.authentication.refresh()
    const [{ id }] = (await page({ model: 'iris', limit: 1 })).predictions as [Logged]
    expect((await ask(`/v1/predictions/${id}`, scoped)).status).toBe(404)
    expect((await ask('/v1/predictions?model=iris', scoped)).status).toBe(404)
    const { predictions } = await page({ model: 'tulip', limit: 1 }, scoped)
    expect((await ask(`/v1/predictions/${predictions[0]!.id}`, scoped)).status).toBe(200)
  })
})

describe('a subject', () => {
  const flight = (origin: string) => ({ distance: 300_000, hour: 9, origin, day: 'workday' })

  it('gets its own predictions of a request about several persons, and none of an erased one', async () => {
    const { predictions } = api.ask('flight', { instances: ['4711', '4712', '4711'].map(flight) })
    nextMillisecond()
    const { predictions: byKey } = api.ask('flight', { instances: [flight('x')], routing_key: '4711' })
    await api.serving.log.flush()
    const all = async (subject: string, limit = 100) =>
      idsOf((await pages({ model: 'flight', subject, limit })).all)
    const own = [byKey[0]!.id, predictions[0]!.id, predictions[2]!.id]
    for (const limit of [1, 2, 3, 4]) expect(await all('4711', limit)).toEqual(own)
    expect(await all('4712')).toEqual([predictions[1]!.id])
    expect(await all('4713')).toEqual([])

    const { subjects } = api.deps
    const hashes = await findSubjectHash(fixture.store, subjects, { model: 'flight', subject: '4711' })
    await insertErasure(fixture.store, {
      id: 'era_1',
      model: 'flight',
      ...hashes,
      keyDigest: subjects.digest,
      predictionIds: [],
      requestedBy: 'anna',
    })
    const [fromAt, toAt] = [-1, 1].map((hours) => new Date(Date.now() + hours * 3_600_000).toISOString())
    await eraseSpan(fixture.store, { id: 'era_1', key: subjects.key, fromAt: fromAt!, toAt: toAt! })
    expect(await all('4711')).toEqual([])
    expect(idsOf((await pages({ model: 'flight' })).all)).toEqual([])
    for (const id of own) expect((await ask(`/v1/predictions/${id}`)).status).toBe(404)
  })
})
