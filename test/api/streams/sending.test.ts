/** Tests the alert events that are sent: once, in order, and again when the broker has not accepted them. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { streamCountOf } from '../../../api/streams/counts.ts'
import { startSendingAlerts } from '../../../api/streams/sending.ts'
import type { SentRecord, Stream } from '../../../api/streams/stream.ts'
import { acknowledgeAlert, resolveAlert, upsertAlert } from '../../../store/monitoring/alerts.ts'
import { openServingFixture, type ServingFixture } from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture

beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture?.close())

interface Event {
  id: string
  type: string
  subject: string
  data: { model: string | null; message: string }
}

/** Makes a broker that stores what it receives and is away at first. */
function brokerThatWasAway() {
  const events: { key: string; event: Event }[] = []
  let isAway = true
  const stream: Stream = {
    subscribe: () => Promise.reject(new Error('nothing is read here')),
    async produce(records: readonly SentRecord[]) {
      if (isAway) throw new Error('away')
      for (const { key, value } of records)
        events.push({ key: String(key), event: JSON.parse(String(value)) as Event })
    },
    close: async () => {},
  }
  return { stream, events, comeBack: () => void (isAway = false) }
}

it('alert events are sent once by several processes, in order, although the broker was away', async () => {
  const { store } = fixture
  const { stream, events, comeBack } = brokerThatWasAway()
  const errors: string[] = []
  const start = () =>
    startSendingAlerts({
      store,
      stream,
      topic: 'alerts',
      source: '/here',
      onError: (message) => void errors.push(message),
    })
  const alertOf = (model: string) => ({
    dedupeKey: `service/${model}/errors`,
    model,
    severity: 'critical' as const,
    kind: 'service_errors' as const,
    message: `${model} fails`,
  })
  const first = await upsertAlert(store, alertOf('m0'))
  const second = await upsertAlert(store, alertOf('m1'))
  const senders = [start(), start()]
  await expect.poll(() => errors).toContain('the topic alerts cannot be sent alerts')
  const count = streamCountOf('alerts')
  expect(count).toMatchObject({ waitsFor: 'broker', done: 0 })
  comeBack()
  await expect.poll(() => events.length).toBe(2)
  await acknowledgeAlert(store, { id: second, by: 'anna' })
  // An unchanged alert is not an event; another alert with the same key is.
  await upsertAlert(store, alertOf('m0'))
  await resolveAlert(store, 'service/m0/errors', 'measured')
  const third = await upsertAlert(store, alertOf('m0'))
  await expect.poll(() => events.length).toBe(5)
  await expect.poll(() => count).toMatchObject({ waitsFor: undefined, done: 5 })
  // All events of an old alert are sent, so the alert is forgotten and not sent again.
  await store.pool.query(`update alerts set raised_at = now() - interval '2 hours' where id = ${first}`)
  await expect
    .poll(
      async () => (await store.pool.query('select 1 from sent_alerts where alert_id = $1', [first])).rowCount,
    )
    .toBe(0)
  await Promise.all(senders.map((sender) => sender.stop()))
  const { rows } = await store.pool.query(`select seq from stream_positions where name = 'alerts alerts'`)
  expect(rows).toEqual([{ seq: first }])
  expect(events.slice(0, 2).map(({ event }) => [event.type, event.subject])).toEqual([
    ['tenure.alert.raised', String(first)],
    ['tenure.alert.raised', String(second)],
  ])
  expect(
    events
      .map(({ event, key }) => `${event.type} ${event.subject} ${key}`)
      .slice(2)
      .sort(),
  ).toEqual(
    [
      `tenure.alert.acknowledged ${second} m1`,
      `tenure.alert.resolved ${first} m0`,
      `tenure.alert.raised ${third} m0`,
    ].sort(),
  )
  expect(new Set(events.map(({ event }) => event.id)).size).toBe(5)
  expect(events[0]!.event.data).toMatchObject({ model: 'm0', message: 'm0 fails' })
})
