/**
 * Tests which prediction log rows are sent when transactions overlap, a request is too large, and a database restarts its transaction
 * numbers.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startSendingPredictions } from '../../../api/streams/sending-predictions.ts'
import type { SentRecord, Stream } from '../../../api/streams/stream.ts'
import {
  numberPredictions,
  renumberPredictions,
  sendPredictions,
} from '../../../store/integrations/outbox.ts'
import type { Database } from '../../../store/postgres.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let fixture: ServingFixture
let version: string

beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec())
  await numberPredictions(fixture.store)
})
afterAll(() => fixture?.close())

const oneRow = (): Buffer => Buffer.from(new Float32Array([5, 3, 1, 0.25]).buffer)

/** Stores a request of iris and returns its id. */
async function store(database: Database, { instances = 1, features = oneRow() } = {}): Promise<string> {
  const id = `${randomUUID().slice(0, -4)}0000`
  await database.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us, reference)
    values (${id}, now(), 'iris', ${version}, 'champion', 1, ${instances}, ${features},
      array(select 0.5::real from generate_series(1, ${3 * instances})), 10, 'A-7')`)
  return id
}

/** Returns the ids that are sent now. */
async function sendNow(topic: string): Promise<string[]> {
  const sent: string[] = []
  while (
    (await sendPredictions(
      fixture.store,
      topic,
      async (rows) => void sent.push(...rows.map(({ id }) => id)),
    )) !== 0
  );
  return sent
}

/** Waits for the transactions of other test files, because the databases of a server share transaction numbers. */
async function othersEnded(): Promise<void> {
  const [now] = await fixture.store.query<{ number: number }>(sql`select txid_current() as number`)
  const isOver = async () => {
    const [seen] = await fixture.store.query<{ oldest: number }>(
      sql`select txid_snapshot_xmin(txid_current_snapshot()) as oldest`,
    )
    return seen!.oldest > now!.number
  }
  await expect.poll(isOver).toBe(true)
}

/** Returns the ids that are sent after the transactions of other test files. */
async function sendLater(topic: string): Promise<string[]> {
  await othersEnded()
  return sendNow(topic)
}

it('a row waits for every transaction that began before its own', async () => {
  const topic = uniqueName('topic')
  const { store: database } = fixture
  await sendLater(topic)
  let early = ''
  let late = ''
  await database.transaction(async (open) => {
    early = await store(open)
    late = await store(database)
    expect(await sendNow(topic)).toEqual([])
  })
  expect(await sendLater(topic)).toEqual([early, late])
  expect(await sendLater(topic)).toEqual([])
})

it('rows that a broker did not accept are sent again', async () => {
  const topic = uniqueName('topic')
  await sendLater(topic)
  const id = await store(fixture.store)
  await othersEnded()
  await expect(
    sendPredictions(fixture.store, topic, () => Promise.reject(new Error('away'))),
  ).rejects.toThrow('away')
  expect(await sendLater(topic)).toEqual([id])
})

it('a large request ends a batch, and one beyond the limit of brokers is sent without its rows', async () => {
  const topic = uniqueName('topic')
  await sendLater(topic)
  const sent: SentRecord[][] = []
  const stream: Stream = {
    subscribe: () => Promise.reject(new Error('nothing is read here')),
    produce: async (records) => void sent.push([...records]),
    close: async () => {},
  }
  const instances = 20_000
  const large = await store(fixture.store, { instances, features: Buffer.alloc(16 * instances) })
  const erased = await store(fixture.store, { features: Buffer.alloc(0) })
  const sender = startSendingPredictions({
    store: fixture.store,
    stream,
    topic,
    source: '/here',
    onError: () => {},
  })
  await expect.poll(() => sent.flat().length).toBe(2)
  await sender.stop()
  const events = sent.flat().map(({ value }) => JSON.parse(String(value)) as { id: string; data: object })
  expect(events).toMatchObject([
    { id: large, data: { instances, predictions: [], isTooLarge: true } },
    {
      id: erased,
      data: { instances: 1, reference: 'A-7', predictions: [{ id: erased, outputs: [0.5, 0.5, 0.5] }] },
    },
  ])
  expect(JSON.stringify(events[1])).not.toContain('features')
})

it('a restored database whose transactions have smaller numbers sends what is new', async () => {
  const topic = uniqueName('topic')
  const { store: database } = fixture
  await sendLater(topic)
  const former = await store(database)
  // As in a dump of a server with higher transaction numbers.
  const further = 1_000_000
  await database.query(sql`update predictions set stored_in = stored_in + ${further} where id = ${former}`)
  await database.query(sql`update prediction_topics set stored_in = stored_in + ${further}`)
  await database.query(sql`alter table only predictions alter column stored_in drop default`)
  await renumberPredictions(database)
  const fresh = await store(database)
  expect(await sendLater(topic)).toEqual([former, fresh])
  await numberPredictions(database)
  const last = await store(database)
  expect(await sendLater(topic)).toEqual([last])
})
