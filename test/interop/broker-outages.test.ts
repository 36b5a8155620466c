/**
 * Tests streams whose broker is killed under load, and is away for longer than every time limit of its clients: no record is lost or counted
 * twice, and metrics, alerts and `tenure doctor` tell of it until it is back. TENURE_TEST_AWAY_S is how long it is away.
 */
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { describe, expect, it, onTestFailed, onTestFinished } from 'vitest'
import { findingsOfDatabase } from '../../cli/doctor/database.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { diagnose } from '../../store/maintenance/diagnostics.ts'
import { environmentWith } from '../../temporal.config.ts'
import { irisRequest, partitions, withScene, type BrokerKind, type Scene } from '../support/streams/scene.ts'
import { startApiProcess, startLoad, type ApiProcess } from '../support/serving/api-process.ts'
import { whyNoKafka } from '../support/streams/kafka-broker.ts'
import { whyNoNats } from '../support/streams/nats-server.ts'

const outageAlertMs = 2_000
/** Longer than the retries, the sessions and the transactions of the clients. */
const awayMs = Number(environmentWith({})['TENURE_TEST_AWAY_S'] ?? 30) * 1_000

/** Polls at a pace that leaves the machine to the broker. */
const holdsSoon = (what: string, holds: () => Promise<boolean>): Promise<void> =>
  expect.poll(holds, { message: what, interval: 200 }).toBe(true)

const names = (start: string, kind: string) =>
  Object.fromEntries(
    ['asked', 'events', 'outcomes', 'audit', 'alerts', 'log'].map((each) => [
      each,
      `${start}.${kind}.${each}`,
    ]),
  ) as Record<'asked' | 'events' | 'outcomes' | 'audit' | 'alerts' | 'log', string>

/** Starts a replica with every kind of stream, in both directions. */
async function startAll(scene: Scene, start: string, kind: BrokerKind) {
  const topic = names(start, kind)
  const { asked, events, outcomes } = topic
  const sent = [topic.audit, topic.alerts, topic.log]
  const dead = [asked, events, outcomes].map((each) => `${each}.dead`)
  await scene.topics.create(partitions, asked, `${asked}.answers`, events, outcomes, ...dead, ...sent)
  const { key } = await insertKey(scene.database.store, { name: `labels-${start}`, role: 'labeller' })
  const replica = await startApiProcess({
    ...scene.environment(`${start}-${kind}`, {
      predictions: [{ model: 'iris', from: asked, to: `${asked}.answers`, group: `asked-${start}` }],
      events: [{ from: events, group: `events-${start}`, key }],
      outcomes: [{ from: outcomes, group: `outcomes-${start}`, key }],
      out: { audit: topic.audit, alerts: topic.alerts, predictions: topic.log },
    }),
    TENURE_PREDICTION_LOG: 'durable',
    TENURE_OUTAGE_ALERT_MS: String(outageAlertMs),
  })
  return { topic, replica }
}

/** Sends small batches until it is stopped. A batch may be in the topic although the broker has not confirmed it. */
function startSending(scene: Scene, topic: string, valueOf: (place: number) => string, pauseMs = 50) {
  let going = true
  let place = 0
  let confirmed = 0
  const count = 10
  const running = (async () => {
    while (going) {
      const records = Array.from({ length: count }, () => ({
        topic,
        key: Buffer.from(`customer-${place % 50}`),
        value: Buffer.from(valueOf(place)),
        headers: {},
        id: `${topic}/${place++}`,
      }))
      await scene.stream.produce(records).then(
        () => (confirmed += count),
        () => undefined,
      )
      await pause(pauseMs)
    }
  })()
  return {
    confirmed: () => confirmed,
    async stop() {
      going = false
      await running
    },
  }
}

const event = (place: number) =>
  JSON.stringify({
    id: `event-${place}`,
    routing_key: `customer-${place % 50}`,
    name: 'bought',
    value: place,
    occurred_at: '2026-01-01T00:00:00Z',
  })

const waiting = async (scene: Scene, replica: ApiProcess, topics: readonly string[]): Promise<string[]> => {
  const found = await Promise.all(
    topics.map(
      async (topic) => [topic, await scene.metric(replica, 'tenure_stream_waiting', topic)] as const,
    ),
  )
  return found.flatMap(([topic, value]) => (value === 1 ? [topic] : []))
}

/** Waits until every record of the topic is passed. */
const isDrained = async (scene: Scene, replica: ApiProcess, topic: string) =>
  holdsSoon(
    `the end of ${topic}`,
    async () => (await scene.metric(replica, 'tenure_stream_lag', topic)) === 0,
  )

/** Compares the records of the topic of requests with their answers, and the answers with the log. */
async function expectAnswers(scene: Scene, asked: string): Promise<{ records: number }> {
  const { read } = scene.topics
  const [answers, dead] = [await read(`${asked}.answers`), await read(`${asked}.dead`)]
  const records = (await read(asked)).length
  const sources = new Set(answers.map(({ headers }) => headers['tenure-source']))
  expect({ answers: answers.length, sources: sources.size, dead: dead.length }).toEqual({
    answers: records,
    sources: records,
    dead: 0,
  })
  const ids = answers.map(
    ({ value }) => (JSON.parse(value) as { predictions: { id: string }[] }).predictions[0]!.id,
  )
  const [logged] = await scene.database.store.query<{ rows: number; ids: number }>(
    sql`select count(*)::integer as rows, count(distinct id)::integer as ids from predictions where id = any (${ids}::uuid[])`,
  )
  expect(logged).toEqual({ rows: records, ids: records })
  return { records }
}

/** Compares the records of the topic of events with the rows. */
async function expectEvents(scene: Scene, topic: string): Promise<{ events: number }> {
  const sent = new Set(
    (await scene.topics.read(topic)).map(({ value }) => (JSON.parse(value) as { id: string }).id),
  )
  const rows = await scene.database.store.query<{ id: string }>(sql`select id from events`)
  expect(await scene.topics.read(`${topic}.dead`)).toEqual([])
  expect([rows.length, rows.filter(({ id }) => sent.has(id)).length]).toEqual([sent.size, sent.size])
  return { events: sent.size }
}

const missing: Record<BrokerKind, string | undefined> = { kafka: whyNoKafka(), nats: whyNoNats() }

describe.each(['kafka', 'nats'] as const)('%s', (kind) => {
  it.skipIf(missing[kind] !== undefined)(
    'is killed five times among predictions and events, and once away: each record counts once, and all is told',
    async () => {
      await withScene(async (scene) => {
        const { store } = scene.database
        const { topic, replica } = await startAll(scene, 'outage', kind)
        onTestFailed(() => {
          process.stderr.write(
            `${replica.lines
              .slice(-40)
              .map((line) => JSON.stringify(line))
              .join('\n')}\n`,
          )
        })
        const asking = startSending(scene, topic.asked, () => irisRequest)
        const labelling = startSending(scene, topic.events, event)
        const load = startLoad(replica.url, {
          path: '/v1/models/iris/predict',
          body: irisRequest,
          callers: 2,
          rate: 20,
          // On a busy machine Postgres may not store a row in time, with and without a broker.
          refusals: ['overloaded', 'prediction_log_unavailable'],
        })
        onTestFinished(async () => {
          for (const each of [asking, labelling, load]) await each.stop()
          await replica.end('SIGKILL')
        })
        const passed = async (of: string) =>
          (await scene.metric(replica, 'tenure_stream_records_total', of)) || 0

        // Each kill is in the middle of a stream that moves.
        for (let kill = 0; kill < 5; kill++) {
          const [before, stored] = [await passed(topic.asked), await passed(topic.events)]
          await holdsSoon(
            'records that pass',
            async () => (await passed(topic.asked)) > before && (await passed(topic.events)) > stored,
          )
          await pause(200 * Math.random())
          await scene.broker.restart()
        }

        const all = [topic.asked, topic.events, topic.outcomes, topic.audit, topic.alerts, topic.log]
        await holdsSoon('streams that pass', async () => (await waiting(scene, replica, all)).length === 0)
        const isOpen = async () =>
          (await store.query(sql`select from alerts where kind = 'stream_waiting' and resolved_at is null`))
            .length > 0
        await holdsSoon('the end of the alert', async () => !(await isOpen()))

        const killedMs = performance.now()
        await scene.broker.kill()
        // An alert and an audit row that must reach their topics later.
        await upsertAlert(store, {
          dedupeKey: 'service/iris/errors',
          model: 'iris',
          severity: 'warning',
          kind: 'service_errors',
          message: 'while the broker is away',
        })
        await store.transaction((database) =>
          appendAudit(database, {
            actor: 'a',
            action: 'key.created',
            subject: 'away',
            model: 'iris',
            detail: {},
          }),
        )
        await holdsSoon(
          'every stream to wait',
          async () => (await waiting(scene, replica, all)).length === all.length,
        )
        const metricMs = performance.now() - killedMs
        // It names first those that waited first.
        await holdsSoon('the alert with each topic', async () => {
          const [alert] = await store.query<{ message: string }>(
            sql`select message from alerts where kind = 'stream_waiting' and resolved_at is null`,
          )
          return all.every((each) => alert?.message.includes(`${each} (broker)`) === true)
        })
        const alertMs = performance.now() - killedMs
        const doctor = async () =>
          findingsOfDatabase(scene.database.url, await diagnose(scene.database.url, 'test'), {
            running: true,
          }).find(({ check }) => check === 'alerts')
        expect(await doctor()).toMatchObject({
          state: 'warning',
          found: expect.stringContaining('stream_waiting'),
        })
        await pause(awayMs - (performance.now() - killedMs))
        await scene.broker.start()
        const backMs = performance.now()
        await holdsSoon(
          'streams that pass again',
          async () => (await waiting(scene, replica, all)).length === 0,
        )
        const passesMs = performance.now() - backMs
        await holdsSoon('the end of the alert', async () => !(await isOpen()))
        const resolvedMs = performance.now() - backMs
        expect(await doctor()).toMatchObject({ state: 'ok' })

        await asking.stop()
        await labelling.stop()
        await load.stop()
        for (const each of [topic.asked, topic.events, topic.outcomes]) await isDrained(scene, replica, each)
        // What is sent has an event for each row.
        const inTopic = async (of: string) =>
          new Set((await scene.topics.read(of)).map(({ value }) => (JSON.parse(value) as { id: string }).id))
        const rowsIn = async (query: ReturnType<typeof sql>) =>
          (await store.query<{ rows: number }>(query))[0]!.rows
        for (const [of, query] of [
          [topic.audit, sql`select count(*)::integer as rows from audit`],
          [
            topic.log,
            sql`select count(*)::integer as rows from predictions, prediction_topics
              where topic = ${topic.log} and predictions.stored_in > begins_after`,
          ],
        ] as const)
          await holdsSoon(`each row in ${of}`, async () => (await inTopic(of)).size === (await rowsIn(query)))
        await holdsSoon('the alert in its topic', async () =>
          (await scene.topics.read(topic.alerts)).some(({ value }) =>
            value.includes('while the broker is away'),
          ),
        )
        expect([load.failed(), load.answered() > 0]).toEqual([0, true])
        await replica.end('SIGTERM')
        const { records } = await expectAnswers(scene, topic.asked)
        const { events } = await expectEvents(scene, topic.events)
        expect(records).toBeGreaterThanOrEqual(asking.confirmed())
        expect(events).toBeGreaterThanOrEqual(labelling.confirmed())
        process.stderr.write(
          `${kind}: 5 kills and ${awayMs / 1_000} s away; ${records} predictions and ${events} events, each once; ${load.answered()} over HTTP, 0 failed; ` +
            `told by the metric after ${(metricMs / 1_000).toFixed(1)} s, by the alert after ${(alertMs / 1_000).toFixed(1)} s; ` +
            `all streams pass ${(passesMs / 1_000).toFixed(1)} s after it is back, the alert ends after ${(resolvedMs / 1_000).toFixed(1)} s\n`,
        )
      }, kind)
    },
  )
})
