/**
 * Tests streams on a real Kafka broker: the behaviour that every broker must have, and a replica that reads topics.
 * test/interop/stream-kills.test.ts kills it.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../../api/server.ts'
import type { Stream } from '../../../api/streams/stream.ts'
import { releaseActions, startSending } from '../../../api/streams/sending.ts'
import { appendAudit, readRows, type AuditRow } from '../../../store/audit/audit-log.ts'
import { checkout, readConfig } from '../../../temporal.config.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  until,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { sentRecord, testConformance } from '../../support/streams/conformance.ts'
import { startKafka, whyNoKafka, type KafkaBroker } from '../../support/streams/kafka-broker.ts'
import type { WrittenTransaction } from '../../support/streams/kafka-topics.ts'
import { testSentPredictions } from '../../support/streams/sent-predictions.ts'

const missing = whyNoKafka()
// The client does not load on earlier versions of Node.js.
const client = missing === undefined ? await import('../../../api/streams/kafka.ts') : undefined
const support = missing === undefined ? await import('../../support/streams/kafka-topics.ts') : undefined
const kafkaTopics = (address: string) => support!.kafkaTopics(address)

describe.skipIf(missing !== undefined)(
  missing === undefined ? 'Kafka' : `Kafka (skipped: ${missing})`,
  () => {
    let broker: KafkaBroker
    let fixture: ServingFixture
    let key: string
    let admin: string
    beforeAll(async () => {
      const [started, opened] = await Promise.all([startKafka(), openServingFixture()])
      broker = started
      fixture = opened
      admin = await fixture.key()
      key = await fixture.key({ role: 'predictor', models: ['iris'] })
      await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
    })
    afterAll(async () => {
      await fixture?.close()
      await broker?.stop()
    })

    describe('as a stream', () => testConformance(() => kafkaTopics(broker.address)))

    describe('as a topic of the prediction log', () =>
      testSentPredictions(() => ({
        fixture,
        topics: kafkaTopics(broker.address),
        settings: { kafka: { brokers: [broker.address] } },
        restart: broker.restart,
      })))

    it('delivers the records of every topic to a group that reads several', async () => {
      const topics = kafkaTopics(broker.address)
      const names = [uniqueName('one'), uniqueName('two'), uniqueName('three')]
      await topics.create(2, ...names)
      const stream = topics.open()
      await stream.produce(
        names.flatMap((topic) => ['a', 'b', 'c', 'd', 'e', 'f'].map((value) => sentRecord(topic, value))),
      )
      const ends = AbortSignal.timeout(600_000)
      const read = await Promise.all(
        names.map(async (topic) => {
          const subscription = await stream.subscribe({ topic, group: `g-${names[0]}`, member: topic })
          const values: string[] = []
          while (values.length < 6 && !ends.aborted) {
            const batch = await subscription.next(10, ends)
            const isCommitted = batch.records.length > 0 && (await subscription.commit(batch, []))
            if (isCommitted) values.push(...batch.records.map(({ value }) => String(value)))
          }
          return { subscription, values: values.sort().join('') }
        }),
      )
      expect(read.map(({ values }) => values)).toEqual(['abcdef', 'abcdef', 'abcdef'])
      for (const { subscription } of read) await subscription.close()
      await stream.close()
    })

    it('accepts SASL, and a wrong password is reported', async () => {
      const { create } = kafkaTopics(broker.address)
      const topic = uniqueName('topic')
      await create(1, topic)
      const sasl = (password: string) =>
        client!.openKafka({
          brokers: [broker.saslAddress],

          sasl: { mechanism: 'PLAIN', username: 'tenure', password },
          sessionMs: support!.testSessionMs,
        })
      const [known, stranger] = [sasl('secret'), sasl('wrong')]
      await known.produce([sentRecord(topic, 'a')])
      expect(await kafkaTopics(broker.address).read(topic)).toHaveLength(1)
      await expect(stranger.produce([sentRecord(topic, 'b')])).rejects.toThrow('SASL authentication failed')
      await Promise.all([known.close(), stranger.close()])
    })

    it('accepts TLS with a certificate, or with SASL, and no client that trusts another authority', async () => {
      const { tls, tlsAddress, saslTlsAddress } = broker
      const topic = uniqueName('topic')
      await kafkaTopics(broker.address).create(1, topic)
      const streams: Stream[] = []
      const open = (address: string, more: object): Stream => {
        const stream = client!.openKafka({ brokers: [address], sessionMs: support!.testSessionMs, ...more })
        streams.push(stream)
        return stream
      }
      const sasl = { mechanism: 'PLAIN', username: 'tenure', password: 'secret' }
      await open(tlsAddress, { tls: tls.client }).produce([sentRecord(topic, 'a')])
      await open(saslTlsAddress, { tls: tls.bare, sasl }).produce([sentRecord(topic, 'b')])
      expect(await kafkaTopics(broker.address).read(topic)).toHaveLength(2)
      const refused = [
        { tls: tls.stranger, sasl },
        { tls: {}, sasl },
      ]
      for (const more of refused)
        await expect(open(saslTlsAddress, more).produce([sentRecord(topic, 'c')])).rejects.toThrow(
          'verify the first certificate',
        )
      // A listener that requires a certificate, and a client without one or with a certificate of another authority.
      const strangers: [object, string][] = [
        [{ tls: tls.bare }, 'set kafka.tls.cert and kafka.tls.key'],
        [{ tls: tls.unknown }, 'may not accept the certificate in kafka.tls.cert'],
      ]
      for (const [more, what] of strangers)
        await expect(open(tlsAddress, more).produce([sentRecord(topic, 'd')])).rejects.toThrow(what)
      expect(await kafkaTopics(broker.address).read(topic)).toHaveLength(2)
      for (const stream of streams) await stream.close()
    })

    const prepared = async (partitions = 1) => {
      const from = uniqueName('requests')
      const topics = { from, to: `${from}.answers`, dead: `${from}.dead` }
      await kafkaTopics(broker.address).create(partitions, from, topics.to, topics.dead)
      const state = fixture.directory()
      const file = join(state, 'streams.json')
      const write = (predictions: object, ofKey = key) =>
        writeFileSync(
          file,
          JSON.stringify({
            kafka: { brokers: [broker.address], sessionMs: support!.testSessionMs },
            key: ofKey,
            predictions: [predictions],
          }),
        )
      write({ model: 'iris', from, to: topics.to, group: from })
      const environment = {
        DATABASE_URL: fixture.databaseUrl,
        TENURE_STATE: state,
        TENURE_ARTIFACTS: fixture.artifactRoot,
        TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
        TENURE_PORT: '0',
        TENURE_BUILD_ID: 'test',
        TENURE_STREAMS: file,
      }
      const stream = kafkaTopics(broker.address).open()
      const send = (count: number, broken: (place: number) => boolean = () => false, name = 'k') =>
        stream.produce(
          Array.from({ length: count }, (_, place) =>
            sentRecord(from, broken(place) ? '{"instances":' : JSON.stringify(request()), `${name}${place}`),
          ),
        )
      const seen = async () => {
        const { read } = kafkaTopics(broker.address)
        const [answers, dead] = [await read(topics.to), await read(topics.dead)]
        const sources = [...answers, ...dead].map(({ headers }) => headers['tenure-source'])
        return { answers, dead, sources: new Set(sources).size, records: sources.length }
      }
      return { topics, environment, send, seen, write, close: () => stream.close() }
    }
    const metricsOf = async ({ url }: { url: string }, topic: string): Promise<Record<string, number>> => {
      const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${admin}` } })
      const lines = (await answer.text()).split('\n').filter((line) => line.includes(`topic="${topic}"`))
      return Object.fromEntries(
        lines.map((line) => [
          line.replace(/topic="[^"]*",?/, '').replace(/ .*$/, ''),
          Number(line.replace(/^.* /, '')),
        ]),
      )
    }

    it('has one answer or dead letter for each record, from a replica that stops and starts again', async () => {
      const { topics, environment, send, seen, close } = await prepared(2)
      const start = () => startServer(readConfig(environment), pino({ level: 'silent' }))
      await send(50, (place) => place % 10 === 0)
      let server: RunningServer = await start()
      await until(
        async () =>
          (await metricsOf(server, topics.from))['tenure_stream_records_total{result="done"}'] === 45,
        '45 answers',
      )
      // The lag is measured every two seconds; a busy machine needs longer for the records.
      await expect
        .poll(() => metricsOf(server, topics.from))
        .toMatchObject({ 'tenure_stream_records_total{result="dead"}': 5, 'tenure_stream_lag{}': 0 })
      await server.stop('a test')
      await send(30, () => false, 'later')
      server = await start()
      await until(
        async () =>
          (await metricsOf(server, topics.from))['tenure_stream_records_total{result="done"}'] === 75,
        '75',
      )
      await server.stop('the test ends')
      const { answers, dead, sources, records } = await seen()
      expect([answers.length, dead.length, sources, records]).toEqual([75, 5, 80, 80])
      expect(dead.map(({ headers }) => headers['tenure-error'])).toEqual(
        Array.from({ length: 5 }, () => 'body_not_json'),
      )
      await close()
    })

    const wantedOf = (written: readonly WrittenTransaction[]) =>
      written.flatMap(({ names }) => names).filter((name) => name.startsWith('wanted'))

    it('has one answer for each committed record of senders who abort several transactions', async () => {
      const { topics, environment, seen, close } = await prepared()
      const { transactions, writeTransactions } = support!
      await writeTransactions(broker.address, topics.from, transactions, () => JSON.stringify(request()))
      const server = await startServer(readConfig(environment), pino({ level: 'silent' }))
      const done = 'tenure_stream_records_total{result="done"}'
      await until(async () => (await metricsOf(server, topics.from))[done]! >= 5, '5 answers')
      await server.stop('the test ends')
      const { answers, dead } = await seen()
      expect(answers.map(({ key }) => key)).toEqual(wantedOf(transactions))
      expect(dead).toEqual([])
      // Fails when the client is fixed: then delete api/streams/kafka/committed-consumer.ts and use its Consumer.
      const { Consumer } = await import('@platformatic/kafka')
      const misread = await support!.readCommitted(
        (options) => new Consumer(options),
        broker.address,
        topics.from,
      )
      expect(misread.map(({ key }) => key)).not.toEqual(wantedOf(transactions))
      await close()
    })

    it('leaves out an aborted transaction that is larger than a fetch, and has no lag behind the end of the last one', async () => {
      const topic = uniqueName('topic')
      await kafkaTopics(broker.address).create(1, topic)
      const large = Array.from({ length: 14 }, (_, place) => `aborted-${place}`)
      const written: WrittenTransaction[] = [
        { by: 'one', names: ['wanted-1'] },
        { by: 'one', names: large, isAborted: true },
        { by: 'one', names: ['wanted-2'] },
      ]
      // 9 MB, while a fetch takes 4 MB.
      const valueOf = (name: string) => name.padEnd(name.startsWith('wanted') ? 1 : 700_000, '.')
      await support!.writeTransactions(broker.address, topic, written, valueOf)
      const stream = kafkaTopics(broker.address).open()
      const subscription = await stream.subscribe({ topic, group: topic, member: 'one' })
      const found: string[] = []
      while (found.at(-1) !== 'wanted-2') {
        const batch = await subscription.next(100, new AbortController().signal)
        found.push(...batch.records.map(({ key: name }) => String(name)))
        expect(await subscription.commit(batch, [])).toBe(true)
      }
      expect(found).toEqual(wantedOf(written))
      await expect.poll(() => subscription.lag()).toBe(0)
      await subscription.close()
      await stream.close()
    })

    it('does not mistake the end of a transaction without records in the fetch for the end of another', async () => {
      const { dropAborted } = await import('../../../api/streams/kafka/committed-consumer.ts')
      // The producer and its writes at each offset: a record, or the end of its transaction.
      const written = [
        [1n, 'aborted'],
        [1n, 'abort'],
        [1n, 'wanted'],
        [2n, 'aborted'],
        [1n, 'commit'],
        [1n, 'abort'],
        [1n, 'wanted'],
        [2n, 'abort'],
        [1n, 'commit'],
        [1n, 'aborted'],
      ] as const
      const batches = written.map(([producerId, what], offset) => {
        const end = ['abort', 'commit'].indexOf(what)
        return {
          producerId,
          firstOffset: BigInt(offset + 100),
          lastOffsetDelta: 0,
          attributes: end < 0 ? 16 : 48,
          records: [end < 0 ? { key: Buffer.from(what) } : { key: Buffer.from([0, 0, 0, end]) }],
        }
      })
      const partition = {
        // The first transaction of the second producer began before the fetch; the list is ordered by the ends.
        abortedTransactions: [
          { producerId: 1n, firstOffset: 100n },
          { producerId: 2n, firstOffset: 90n },
          { producerId: 1n, firstOffset: 109n },
        ],
        records: batches,
      }
      dropAborted(partition as never)
      const left = batches.flatMap(({ attributes, records }) =>
        attributes === 16 ? records.map(({ key: name }) => String(name)) : [],
      )
      expect(left).toEqual(['wanted', 'wanted'])
      expect(partition.abortedTransactions).toEqual([])
    })

    it('waits while its key may not make predictions', async () => {
      const { topics, environment, send, write, seen, close } = await prepared()
      const labeller = await fixture.key({ role: 'labeller' })
      write({ model: 'iris', from: topics.from, to: topics.to }, labeller)
      await send(1)
      const server = await startServer(readConfig(environment), pino({ level: 'silent' }))
      await until(
        async () => (await metricsOf(server, topics.from))['tenure_stream_waiting{code="forbidden"}'] === 1,
        'the wait',
      )
      await server.stop('the test ends')
      expect(await seen()).toMatchObject({ records: 0 })
      await close()
    })

    it('has its outcomes and events stored, and waits while its key is limited to a model', async () => {
      const { topics, environment, close } = await prepared()
      const [outcomes, events] = [uniqueName('outcomes'), uniqueName('events')]
      await kafkaTopics(broker.address).create(1, outcomes, events, `${outcomes}.dead`, `${events}.dead`)
      const stream = kafkaTopics(broker.address).open()
      const [prediction_id, at] = [randomUUID(), '2026-01-01T00:00:00Z']
      const event = { id: events, routing_key: 'u', name: 'purchase', occurred_at: at }
      await stream.produce([
        sentRecord(outcomes, JSON.stringify({ prediction_id, value: 'setosa', observed_at: at })),
        sentRecord(outcomes, '{}'),
        sentRecord(events, JSON.stringify(event)),
      ])
      const limited = await fixture.key({ role: 'labeller', models: ['iris'] })
      writeFileSync(
        environment.TENURE_STREAMS,
        JSON.stringify({
          kafka: { brokers: [broker.address], sessionMs: support!.testSessionMs },
          key: await fixture.key({ role: 'labeller' }),
          outcomes: [{ from: outcomes, group: outcomes }],
          events: [
            { from: events, group: events },
            { from: topics.from, group: topics.from, key: limited },
          ],
        }),
      )
      await stream.produce([sentRecord(topics.from, JSON.stringify(event))])
      const server = await startServer(readConfig(environment), pino({ level: 'silent' }))
      const done = 'tenure_stream_records_total{result="done"}'
      await until(async () => (await metricsOf(server, outcomes))[done] === 1, 'the outcome')
      await until(async () => (await metricsOf(server, events))[done] === 1, 'the event')
      await until(
        async () => (await metricsOf(server, topics.from))['tenure_stream_waiting{code="forbidden"}'] === 1,
        'the wait',
      )
      await server.stop('the test ends')
      const [dead] = await kafkaTopics(broker.address).read(`${outcomes}.dead`)
      expect(dead).toMatchObject({ value: '{}', headers: { 'tenure-error': 'invalid_request' } })
      const rows = await fixture.store.query(sql`
        select prediction_id::text as id from outcomes where prediction_id = ${prediction_id}::uuid
        union all select id from events where id = ${events}`)
      expect(rows).toEqual([{ id: prediction_id }, { id: events }])
      await stream.close()
      await close()
    })

    it('receives the audit log as CloudEvents, once by several processes, in order, and release events separately', async () => {
      const [audit, releases] = [uniqueName('audit'), uniqueName('releases')]
      const topics = kafkaTopics(broker.address)
      await topics.create(3, audit, releases)
      const { store } = fixture
      const append = (action: string, model: string, step: number) =>
        store.transaction((database) =>
          appendAudit(database, { actor: 'a', action, subject: `s${step}`, model, detail: { step } }),
        )
      for (const step of [1, 2, 3]) await append('release.turn', `m${step % 2}`, step)
      await append('key.created', 'm0', 4)
      const stream = topics.open()
      const start = (topic: string, actions?: readonly string[]) =>
        startSending({
          store,
          stream,
          topic,
          ...(actions && { actions }),
          source: '/here',
          onError: () => {},
        })
      const senders = [start(audit), start(audit), start(releases, releaseActions)]
      await append('release.ended', 'm1', 5)
      const eventsOf = async (topic: string) =>
        (await topics.read(topic)).map(({ key: model, value, headers }) => ({
          model,
          type: headers['content-type'],
          event: JSON.parse(value) as Record<string, unknown> & { id: string; data: AuditRow },
        }))
      const rows = await readRows(store, 0, 1_000)
      await until(async () => (await eventsOf(audit)).length >= rows.length, 'all rows')
      const sentOfReleases = async () =>
        (await eventsOf(releases))
          .map(({ event }) => String(event['type']))
          .filter((type) => type.startsWith('tenure.release.'))
      await until(async () => (await sentOfReleases()).length === 4, 'the rows of releases')
      await Promise.all(senders.map((sender) => sender.stop()))
      const events = await eventsOf(audit)
      expect(events.map(({ event }) => event.id).sort()).toEqual(rows.map(({ hash }) => hash).sort())
      for (const model of ['m0', 'm1'])
        expect(events.filter((each) => each.model === model).map(({ event }) => event.data.seq)).toEqual(
          rows.filter((row) => row.model === model).map(({ seq }) => seq),
        )
      const last = rows.at(-1)!
      expect(events.find(({ event }) => event.id === last.hash)).toEqual({
        model: 'm1',
        type: 'application/cloudevents+json; charset=UTF-8',
        event: {
          specversion: '1.0',
          id: last.hash,
          source: '/here',
          type: 'tenure.release.ended',
          subject: 's5',
          time: last.at,
          datacontenttype: 'application/json',
          data: expect.objectContaining({
            seq: last.seq,
            actor: 'a',
            detail: { step: 5 },
            model: 'm1',
          }) as object,
        },
      })
      expect((await eventsOf(releases)).some(({ event }) => event['type'] === 'tenure.key.created')).toBe(
        false,
      )
      await stream.close()
    })

    it('works as the how-to says', async () => {
      const page = readFileSync(join(checkout, 'docs/how-to/streams/kafka.md'), 'utf8')
      const [file, body] = blocksOf(page).flatMap(({ language, text }) => (language === 'json' ? [text] : []))
      const { from, to } = (JSON.parse(file!) as { predictions: { from: string; to: string }[] })
        .predictions[0]!
      const { topics, environment, close } = await prepared()
      await kafkaTopics(broker.address).create(1, from, to, `${from}.dead`)
      writeFileSync(
        environment.TENURE_STREAMS,
        file!.replace('kafka-1:9092', broker.address).replace('tnr_…', key),
      )
      const stream = kafkaTopics(broker.address).open()
      await stream.produce([sentRecord(from, body!, 'customer-7')])
      const server = await startServer(readConfig(environment), pino({ level: 'silent' }))
      const { read } = kafkaTopics(broker.address)
      await until(async () => (await read(to)).length === 1, 'the answer')
      await server.stop('the test ends')
      const [answer] = await read(to)
      expect(answer).toMatchObject({ key: 'customer-7', headers: { 'tenure-source': `${from}/0/0` } })
      expect(idIn(answer!.value)).toMatch(/^[0-9a-f-]{36}$/)
      expect(await read(topics.to)).toEqual([])
      await stream.close()
      await close()
    })
  },
)

const idIn = (value: string): string =>
  (JSON.parse(value) as { predictions: { id: string }[] }).predictions[0]!.id
