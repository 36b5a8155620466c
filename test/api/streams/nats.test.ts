/** Tests streams on a real NATS server with JetStream. */
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BrokerCertificates } from '../../../api/streams/settings.ts'
import { deadLetter } from '../../../api/streams/dead-letter.ts'
import { openNats } from '../../../api/streams/nats.ts'
import { fitting } from '../../../api/streams/stream.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { sentRecord, testConformance } from '../../support/streams/conformance.ts'
import { natsTopics, startNats, whyNoNats, type NatsServer } from '../../support/streams/nats-server.ts'
import { testSentPredictions } from '../../support/streams/sent-predictions.ts'
import { openServingFixture, type ServingFixture } from '../../support/serving/serving-fixture.ts'

const missing = whyNoNats()

describe.skipIf(missing !== undefined)(
  missing === undefined ? 'NATS JetStream' : `NATS JetStream (skipped: ${missing})`,
  () => {
    let server: NatsServer
    let fixture: ServingFixture
    beforeAll(async () => {
      const [started, opened] = await Promise.all([startNats(), openServingFixture()])
      server = started
      fixture = opened
    })
    afterAll(async () => {
      await fixture?.close()
      await server?.stop()
    })

    describe('as a stream', () => testConformance(() => natsTopics(server.address)))

    describe('as a topic of the prediction log', () =>
      testSentPredictions(() => ({
        fixture,
        topics: natsTopics(server.address),
        settings: { nats: { servers: [server.address] } },
        restart: () => server.restart(),
      })))

    it('requests no more than 2,000 records that are not committed, and all in the end', async () => {
      const topics = natsTopics(server.address)
      const topic = uniqueName('topic')
      await topics.create(1, topic)
      const stream = topics.open()
      const count = 3_000
      await stream.produce(Array.from({ length: count }, (_, place) => sentRecord(topic, `r${place}`)))
      const subscription = await stream.subscribe({ topic, group: 'g', member: 'm' })
      const connection = await connect({ servers: [server.address] })
      const { consumers } = await jetstreamManager(connection)
      const held = async () => (await consumers.info(topic, 'g')).num_ack_pending
      await expect.poll(held).toBe(2_000)
      expect(await subscription.lag()).toBe(count)
      let passed = 0
      while (passed < count) {
        const batch = await subscription.next(700, new AbortController().signal)
        expect(await held()).toBeLessThanOrEqual(2_000)
        expect(await subscription.commit(batch, [])).toBe(true)
        passed += batch.records.length
      }
      expect([passed, await held()]).toEqual([count, 0])
      await connection.close()
      await subscription.close()
      await stream.close()
    })

    it('gives a reader a record once, although the server delivers it again because the process did not keep it in time', async () => {
      const topics = natsTopics(server.address)
      const topic = uniqueName('topic')
      await topics.create(1, topic)
      const stream = openNats({ servers: [server.address], sessionMs: 500 })
      await stream.produce([sentRecord(topic, 'a'), sentRecord(topic, 'b')])
      const subscription = await stream.subscribe({ topic, group: 'g', member: 'm' })
      const values: string[] = []
      let last = await subscription.next(2, new AbortController().signal)
      const batches = [last]
      values.push(...last.records.map(({ value }) => String(value)))
      if (values.length < 2) {
        last = await subscription.next(2, new AbortController().signal)
        batches.push(last)
        values.push(...last.records.map(({ value }) => String(value)))
      }
      expect(values).toEqual(['a', 'b'])
      // The process does nothing for three sessions.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
      const connection = await connect({ servers: [server.address] })
      const { consumers } = await jetstreamManager(connection)
      await expect.poll(async () => (await consumers.info(topic, 'g')).num_redelivered).toBe(2)
      await connection.close()
      await stream.produce([sentRecord(topic, 'c')])
      const { records } = await subscription.next(10, new AbortController().signal)
      expect(records.map(({ value }) => String(value))).toEqual(['c'])
      for (const batch of batches) expect(await subscription.commit(batch, [])).toBe(true)
      await subscription.close()
      await stream.close()
    })

    it('keeps one of two records with the same id', async () => {
      const topics = natsTopics(server.address)
      const topic = uniqueName('topic')
      await topics.create(1, topic)
      const stream = topics.open()
      await stream.produce([sentRecord(topic, 'a'), sentRecord(topic, 'b'), sentRecord(topic, 'a')])
      await stream.produce([sentRecord(topic, 'b')])
      await stream.close()
      expect((await topics.read(topic)).map(({ key, value }) => [key, value])).toEqual([
        ['a', 'a'],
        ['b', 'b'],
      ])
    })

    it('accepts a session with another length for an existing group', async () => {
      const topics = natsTopics(server.address)
      const topic = uniqueName('topic')
      await topics.create(1, topic)
      for (const sessionMs of [1_500, 3_000]) {
        const stream = openNats({ servers: [server.address], sessionMs })
        await (await stream.subscribe({ topic, group: 'g', member: 'm' })).close()
        await stream.close()
      }
    })

    it('rejects a group that reads another topic of the same stream, whose records it would no longer get', async () => {
      const [one, other, name] = [uniqueName('one'), uniqueName('other'), uniqueName('stream')]
      const connection = await connect({ servers: [server.address] })
      await (await jetstreamManager(connection)).streams.add({ name, subjects: [one, other] })
      await connection.close()
      const stream = natsTopics(server.address).open()
      const subscription = await stream.subscribe({ topic: one, group: 'g', member: 'm' })
      await expect(stream.subscribe({ topic: other, group: 'g', member: 'm' })).rejects.toThrow(
        `the group g reads ${one} of the stream ${name}: give the stream of ${other} another group`,
      )
      await stream.produce([sentRecord(one, 'a')])
      const { records } = await subscription.next(1, new AbortController().signal)
      expect(records.map(({ value }) => String(value))).toEqual(['a'])
      await subscription.close()
      await stream.close()
    })

    it('takes no record that is larger than a message of the server, and a dead letter without its value', async () => {
      const [topic, dead] = [uniqueName('topic'), uniqueName('dead')]
      const topics = natsTopics(server.address)
      await topics.create(1, topic, dead)
      const stream = topics.open()
      await stream.produce([{ ...sentRecord(topic, 'a'), value: Buffer.alloc(1_048_000, 'x') }])
      const subscription = await stream.subscribe({ topic, group: `group-${topic}`, member: 'm' })
      const batch = await subscription.next(1, new AbortController().signal)
      const [record] = batch.records
      const letter = deadLetter(dead, 'group', record!, new Error('w'))
      const sent = fitting(subscription, {
        ...letter,
        value: Buffer.concat([record!.value, Buffer.alloc(600)]),
      })
      expect(subscription.takes(sentRecord(topic, 'a'))).toBe(true)
      expect(await subscription.commit(batch, [sent])).toBe(true)
      expect((await topics.read(dead)).map(({ value, headers }) => [value, headers['tenure-error']])).toEqual(
        [['', 'internal']],
      )
      await subscription.close()
      await stream.close()
    })

    it('rejects a topic that no stream of the server holds', async () => {
      const stream = natsTopics(server.address).open()
      await expect(stream.subscribe({ topic: 'absent', group: 'g', member: 'm' })).rejects.toThrow(
        'no stream',
      )
      await stream.close()
    })

    it('accepts TLS with a certificate, and no connection without one, nor a server that offers no TLS', async () => {
      const secured = await startNats({ tls: true })
      try {
        const { client, bare, stranger } = secured.tls!
        const address = secured.address.replace('127.0.0.1', 'localhost')
        const subscribed = async (servers: string, tls: BrokerCertificates | undefined) => {
          const stream = openNats({ servers: [servers], ...(tls && { tls }), sessionMs: 1_500 })
          try {
            await stream.subscribe({ topic: 'absent', group: 'g', member: 'm' })
          } finally {
            await stream.close().catch(() => {})
          }
        }
        await expect(subscribed(address, client)).rejects.toThrow('no stream')
        // At once, because some are told by a deadline.
        await Promise.all([
          expect(subscribed(address, bare)).rejects.toThrow(),
          expect(subscribed(address, stranger)).rejects.toThrow(/self-signed|verify/),
          expect(subscribed(address, undefined)).rejects.toThrow(),
          expect(subscribed(server.address, client)).rejects.toThrow("does not support 'tls'"),
        ])
      } finally {
        await secured.stop()
      }
    })

    it('is connected again when the server accepts its password again', async () => {
      const guarded = await startNats()
      try {
        const topic = uniqueName('topic')
        await natsTopics(guarded.address).create(1, topic)
        const login = { user: 'tenure', password: 'right' }
        const stream = openNats({ servers: [guarded.address], ...login, sessionMs: 1_500 })
        const produced = () =>
          stream.produce([sentRecord(topic, 'a')]).then(
            () => 'sent',
            (error: Error) => error.message,
          )
        expect(await produced()).toBe('sent')
        await guarded.restart('wrong')
        await expect.poll(produced).toMatch(/authorization|closed/i)
        await guarded.restart('right')
        await expect.poll(produced).toBe('sent')
        await stream.close()
      } finally {
        await guarded.stop()
      }
    })

    it('is connected again after a failed connection', async () => {
      const stream = openNats({ servers: ['127.0.0.1:1'], sessionMs: 1_500 })
      await expect(stream.produce([sentRecord('t', 'a')])).rejects.toThrow('connection refused')
      await expect(stream.produce([sentRecord('t', 'a')])).rejects.toThrow('connection refused')
      await stream.close()
    })
  },
)
