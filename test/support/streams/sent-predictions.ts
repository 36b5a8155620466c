/** Defines which prediction log rows every broker must receive, through kills of the sending process and of the broker. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { expect, it } from 'vitest'
import { startApiProcess } from '../serving/api-process.ts'
import { irisSpec } from '../serving/artifact.ts'
import { request, startReplica, until, type ServingFixture } from '../serving/serving-fixture.ts'
import { keyPlacesOf } from '../serving/sign-versions.ts'
import { uniqueName } from '../servers/servers.ts'
import type { TestTopics } from './conformance.ts'

export interface SendingPlace {
  fixture: ServingFixture
  topics: TestTopics
  /** The broker's entry in the streams file. */
  settings: object
  /** Kills the broker and starts it again. */
  restart(): Promise<void>
}

interface SentPrediction {
  id: string
  type: string
  data: { model: string; predictions: { id: string; features: object; outputs: number[] }[] }
}

export function testSentPredictions(place: () => SendingPlace): void {
  it('receives every row of the prediction log, in order per model, although the sender and the broker are killed', async () => {
    const { fixture, topics, settings, restart } = place()
    const { store } = fixture
    const topic = uniqueName('predictions')
    await topics.create(2, topic)
    const replica = await startReplica(fixture)
    const models = [uniqueName('m'), uniqueName('m')]
    for (const model of models)
      await replica.follows(await fixture.route(model, { proven: await fixture.register(irisSpec(model)) }))
    const manifest = JSON.stringify({ preprocessing: irisSpec().preprocessing })
    await store.query(sql`update versions set manifest = ${manifest} where model = any (${models})`)
    const stateDir = fixture.directory()
    const file = join(stateDir, 'streams.json')
    writeFileSync(file, JSON.stringify({ ...settings, out: { predictions: topic } }))
    const startSender = () =>
      startApiProcess({
        DATABASE_URL: fixture.databaseUrl,
        TENURE_STATE: stateDir,
        TENURE_ARTIFACTS: fixture.artifactRoot,
        TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
        TENURE_STREAMS: file,
        LOG_LEVEL: 'info',
      })
    const counts = async () => {
      const [row] = await store.query<{ sent: number; stored: number }>(sql`
        select coalesce((select sent from prediction_topics where topic = ${topic}), -1) as sent,
          (select count(*) from predictions where stored_in is not null and model = any (${models})) as stored`)
      return row!
    }
    // Predictions are stored before the topic exists.
    replica.ask(models[0]!, request())
    await until(async () => (await store.query(sql`select from predictions`)).length > 0, 'a row')
    let sender = await startSender()
    await until(async () => (await counts()).sent === 0, 'the topic')
    const asked: string[] = []
    const asking = setInterval(() => {
      for (let i = 0; i < 4; i++) asked.push(replica.ask(models[i % 2]!, request()).predictions[0]!.id)
    }, 10)
    await until(async () => (await counts()).sent > 100, 'the first events')
    const seen = asked.length
    await Promise.all([restart(), sender.end('SIGKILL')])
    await until(() => asked.length > seen + 100, 'predictions while nothing is sent')
    sender = await startSender()
    const { sent } = await counts()
    await until(async () => (await counts()).sent > sent + 100, 'more events')
    await sender.end('SIGKILL')
    clearInterval(asking)
    sender = await startSender()
    await until(async () => (await counts()).stored === asked.length, 'all rows in the log')
    await until(async () => (await counts()).sent === asked.length, 'all rows in the topic')
    await sender.end('SIGTERM')
    await replica.stop()

    const events = (await topics.read(topic)).map(({ key, value }) => ({
      key,
      event: JSON.parse(value) as SentPrediction,
    }))
    const rows = await store.query<{ id: string; model: string }>(sql`
      select id::text, model from predictions where stored_in is not null and model = any (${models})
      order by stored_in, at, id`)
    const ids = new Set(events.map(({ event }) => event.id))
    expect([ids.size, rows.length]).toEqual([asked.length, asked.length])
    for (const model of models) {
      const firsts = new Set(events.filter(({ key }) => key === model).map(({ event }) => event.id))
      const expected = rows.filter((row) => row.model === model).map(({ id }) => id)
      if (topics.keepsOrder) expect([...firsts]).toEqual(expected)
      else expect([...firsts].sort()).toEqual([...expected].sort())
    }
    expect(events[0]!.event).toMatchObject({
      type: 'tenure.prediction',
      data: { model: events[0]!.key, predictions: [{ features: request().instances[0] }] },
    })
    expect(asked).toContain(events[0]!.event.data.predictions[0]!.id)
  })
}
