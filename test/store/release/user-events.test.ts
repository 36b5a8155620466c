/** Tests which events of a user count: after its first request to an arm, in time, and of its model. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { insertEvents } from '../../../store/monitoring/events.ts'
import type { Store } from '../../../store/postgres.ts'
import { listUserEvents, type UserEvents, type UserEventsCursor } from '../../../store/release/evidence.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

let store: Store
let model: string
const minuteMs = 60_000
/** Half an hour ago; times of a test are minutes after it. */
const startMs = Math.floor(Date.now() / minuteMs - 30) * minuteMs
const timeOf = (minute: number) => new Date(startMs + minute * minuteMs).toISOString()

beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store?.close())
beforeEach(async () => {
  await store.query(sql`truncate events`)
  model = uniqueName('model')
  await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
})

interface Request {
  user?: string
  version?: string
  generation?: number
  release?: string
}
async function asked(minute: number, { user, version = 'new', generation = 2, release = 'rel_a' }: Request) {
  const id = `${randomUUID().slice(0, -4)}0000`
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us)
    values (${id}, ${timeOf(minute)}, ${model}, ${version}, 'canary', ${release}, ${generation}, ${user ?? null}, 1, '', '{0}', 1)`)
  return id
}
let sent = 0
async function happened(
  minute: number,
  {
    user,
    of,
    value = 1,
    name = 'purchase',
    at = minute,
    every = true,
  }: { user?: string; of?: string; value?: number; name?: string; at?: number; every?: boolean },
) {
  const id = `${model} ${sent++}`
  const about = of === undefined ? { routingKey: user } : { predictionId: of }
  const event = {
    ...about,
    id,
    digest: '00',
    name,
    value,
    occurredAt: timeOf(minute),
    model: every ? undefined : model,
  }
  await insertEvents(store, { source: 'shop', events: [event] })
  await store.query(sql`update events set arrived_at = ${timeOf(at)} where id = ${id}`)
}
/** Returns one page; a user without events has none. */
const pageOf = (limit: number, after?: UserEventsCursor, withinMs = 5 * minuteMs) =>
  listUserEvents(
    store,
    {
      release: 'rel_a',
      model,
      versions: ['new', 'old'],
      generations: [2, 3],
      fromMs: startMs,
      names: ['purchase', 'rating'],
      withinMs,
      delayMs: minuteMs,
    },
    { after, limit },
  )
const read = async (withinMs?: number) =>
  (await pageOf(100, undefined, withinMs)).users.map(({ version, generation, events }) => {
    const { count = 0, sum = 0 } = events?.['purchase'] ?? {}
    return { version, generation, events: count, sum }
  })

it('a user counts once, in the arm of its first request, also when it meets both', async () => {
  await asked(0, { user: 'anna', version: 'old' })
  await asked(1, { user: 'ben' })
  await asked(2, { user: 'anna', generation: 3 })
  await happened(3, { user: 'anna', value: 10 })
  await happened(4, { user: 'anna', value: 20 })
  expect(await read()).toEqual([
    { version: 'old', generation: 2, events: 2, sum: 30 },
    { version: 'new', generation: 2, events: 0, sum: 0 },
  ])
})

it('events count from the first request on, for as long as the policy says, when they arrive in time', async () => {
  await asked(10, { user: 'anna' })
  await happened(9, { user: 'anna', value: 1 })
  await happened(10, { user: 'anna', value: 2 })
  await happened(14, { user: 'anna', value: 4, at: 15 })
  await happened(14, { user: 'anna', value: 8, at: 16 })
  await happened(15, { user: 'anna', value: 16 })
  await happened(12, { user: 'anna', value: 32, name: 'refund' })
  expect(await read()).toMatchObject([{ events: 2, sum: 6 }])
})

it('a user whose events are not due is not read', async () => {
  await asked(0, { user: 'anna' })
  await asked(25, { user: 'ben' })
  await happened(26, { user: 'ben' })
  expect(await read(10 * minuteMs)).toEqual([{ version: 'new', generation: 2, events: 0, sum: 0 }])
})

it('an event of a prediction counts for its user, and after the prediction whatever its clock says', async () => {
  const first = await asked(0, { user: 'anna' })
  const later = await asked(2, { user: 'anna', version: 'old' })
  const alone = await asked(1, {})
  await happened(-3, { of: first, value: 1, at: 1 })
  await happened(3, { of: `${later.slice(0, -4)}0000`, value: 2 })
  await happened(3, { of: alone, value: 4 })
  await happened(3, { of: randomUUID(), value: 8 })
  expect((await read()).map(({ sum }) => sum)).toEqual([3, 4])
})

it('events of another model do not count, nor requests of other releases, stages and versions', async () => {
  await asked(0, { user: 'dora', release: 'rel_b' })
  await asked(0, { user: 'dora', generation: 1, version: 'old' })
  await asked(0, { user: 'dora', version: 'rule' })
  await asked(1, { user: 'anna' })
  await happened(2, { user: 'anna', value: 1, every: false })
  await happened(2, { user: 'dora', value: 2 })
  const other = uniqueName('model')
  await store.query(sql`insert into models (name, definition, code_digest) values (${other}, '{}', 'c')`)
  await happened(2, { user: 'anna', value: 4 })
  await store.query(sql`update events set model = ${other} where value = 4 and id like ${`${model} %`}`)
  expect(await read()).toEqual([{ version: 'new', generation: 2, events: 1, sum: 1 }])
})

it('pages follow one another, also where requests have one time and one user', async () => {
  // The ids are random, so any request of the same time may be the last. User 0 has none of these requests, or a page might contain it
  // twice.
  await asked(0, { user: 'user 0' })
  for (let i = 1; i < 5; i++) await asked(1, { user: `user ${i}`, version: i % 2 === 0 ? 'new' : 'old' })
  await asked(2, { user: 'user 0', version: 'old' })
  await happened(3, { user: 'user 4', name: 'rating', value: 5 })
  const found: UserEvents[] = []
  let after: UserEventsCursor | undefined
  for (const requests of [2, 2, 2, 0]) {
    const page = await pageOf(2, after)
    expect([page.requests, page.users.length]).toEqual([requests, requests])
    found.push(...page.users)
    after = page.last ?? after
  }
  expect(new Set(found.map(({ user }) => user)).size).toBe(5)
  expect(found.filter(({ version }) => version === 'new')).toHaveLength(3)
  expect(found.flatMap(({ events }) => (events === undefined ? [] : [events]))).toEqual([
    { rating: { count: 1, sum: 5 } },
  ])
  expect((await pageOf(2, after)).last).toBeUndefined()
})

it('an event is stored once, and a different event with its id is reported', async () => {
  const event = {
    id: uniqueName('id'),
    digest: '01',
    routingKey: 'anna',
    name: 'purchase',
    value: 1,
    occurredAt: timeOf(0),
  }
  const insert = (digest = '01') => insertEvents(store, { source: 'shop', events: [{ ...event, digest }] })
  expect(await insert()).toEqual({ stored: 1, taken: new Set() })
  expect(await insert()).toEqual({ stored: 0, taken: new Set() })
  expect(await insert('02')).toEqual({ stored: 0, taken: new Set([event.id]) })
})
