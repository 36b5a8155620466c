/** Tests that a list of a caller becomes statements of the server's own size, and that the parts give what one statement gave. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { insertEvents } from '../../../store/monitoring/events.ts'
import {
  awaitAnswered,
  awaitReferenced,
  findAnswered,
  insertOutcomes,
} from '../../../store/monitoring/outcomes.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const sent = 1_700
const observedAt = '2026-03-01T00:00:00.000Z'
const ids = Array.from({ length: sent }, () => randomUUID())

let store: Store
/** The longest list of each statement that was asked. */
const lengths: number[] = []
const measured: Database = {
  query: (statement) => {
    lengths.push(...statement.values.filter(Array.isArray).map(({ length }) => length))
    return store.query(statement)
  },
}

beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us, reference)
    select request_of(id), now(), 'm', 'm_v1.0.0', 'champion', 1, 65536, '', '{1}', 1, 'order ' || place
    from unnest(${ids}::uuid[]) with ordinality as sent (id, place)`)
})
afterAll(() => store.close())

const outcomes = ids.map((predictionId) => ({ predictionId, value: true, observedAt }))
const events = ids.map((id) => ({
  id,
  digest: 'ab'.repeat(32),
  predictionId: id,
  name: 'bought',
  value: 1,
  occurredAt: observedAt,
}))
const references = ids.map((_, place) => ({ model: 'm', reference: `order ${place + 1}`, observedAt }))

describe.each<[string, () => Promise<number>, number]>([
  ['outcomes that are stored', () => insertOutcomes(measured, { outcomes, source: 'test' }), sent],
  ['outcomes that are sent again', () => insertOutcomes(measured, { outcomes, source: 'test' }), 0],
  [
    'events that are stored',
    async () => (await insertEvents(measured, { events, source: 'test' })).stored,
    sent,
  ],
  ['predictions by id', async () => (await findAnswered(measured, ids)).size, sent],
  ['awaited predictions', async () => (await awaitAnswered(measured, ids)).size, sent],
  [
    'requests by reference',
    async () => (await awaitReferenced(measured, references, { keyId: undefined, limit: 2 })).flat().length,
    sent,
  ],
])('%s', (_name, run, count) => {
  it(`are all found in statements of at most 500 rows`, async () => {
    lengths.length = 0
    expect(await run()).toBe(count)
    expect(Math.max(...lengths)).toBe(500)
  })
})
