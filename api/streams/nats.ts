/**
 * Implements streams on NATS JetStream, which has no transactions. Answers are sent first, each with an id, and the records are
 * acknowledged when the server has confirmed all answers. A record that is delivered again gets its answer sent again under the same id,
 * which the server drops within the `duplicate_window` of the answer stream. Within that window each record has one answer. Repeated
 * records come after later ones.
 */
import { AckPolicy, jetstream, jetstreamManager, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream'
import { connect, headers as createHeaders, nanos, type NatsConnection } from '@nats-io/transport-node'
import { createReceived } from './received.ts'
import type { NatsSettings } from './settings.ts'
import {
  sizeOfRecord,
  type SentRecord,
  type Stream,
  type StreamBatch,
  type StreamRecord,
  type StreamSource,
  type Subscription,
} from './stream.ts'

/** The header for the key of a record, because NATS records have no key. */
const keyHeader = 'tenure-key'
/**
 * The maximum number of messages in memory. They are requested in turns, because a consumer that requests by itself counts those that it
 * has delivered, and not those that are committed.
 */
const maxBuffered = 2_000
/** The duration of a turn with fewer messages. */
const turnMs = 5_000
/** The maximum number of unconfirmed publications. */
const maxInFlight = 500

export function openNats(settings: NatsSettings): Stream {
  const { servers, tls, user, password, token, sessionMs } = settings
  let opened: Promise<NatsConnection> | undefined
  const connection = (): Promise<NatsConnection> => {
    if (opened !== undefined) return opened
    const opening = connect({
      servers,
      name: 'tenure',
      // Refuses a server without TLS before the password is sent.
      ...(tls === undefined ? {} : { tls }),
      ...(user === undefined ? {} : { user, pass: password ?? '' }),
      ...(token === undefined ? {} : { token }),
      maxReconnectAttempts: -1,
    })
    // The client closes a connection for good after two authorization errors in a row, as a change of the password causes. The next
    // call connects again.
    const forget = (): void => {
      if (opened === opening) opened = undefined
    }
    opening.then((connected) => connected.closed()).then(forget, forget)
    opened = opening
    return opening
  }
  return {
    subscribe: async (source) => subscribe(await connection(), sessionMs, source),
    produce: async (records) => publish(await connection(), records),
    async close() {
      await (await opened)?.close()
    },
  }
}

async function publish(connection: NatsConnection, records: readonly SentRecord[]): Promise<void> {
  const js = jetstream(connection)
  for (let at = 0; at < records.length; at += maxInFlight)
    await Promise.all(
      records.slice(at, at + maxInFlight).map(({ topic, key, value, headers, id }) => {
        const sent = createHeaders()
        for (const [name, text] of Object.entries(headers)) sent.set(name, headerText(text))
        if (key !== undefined) sent.set(keyHeader, headerText(key.toString()))
        return js.publish(topic, value, { headers: sent, ...(id === '' ? {} : { msgID: id }) })
      }),
    )
}

/** A line break would end the header. */
const headerText = (text: string): string => text.replaceAll(/[\r\n]+/g, ' ')

interface NatsBatch extends StreamBatch {
  messages: readonly JsMsg[]
}

async function subscribe(
  connection: NatsConnection,
  sessionMs: number,
  source: StreamSource,
): Promise<Subscription> {
  const { topic, group } = source
  const manager = await jetstreamManager(connection)
  const name = await manager.streams.find(topic)
  // Consumer names must not contain dots.
  const durable = group.replaceAll('.', '_')
  const config = {
    durable_name: durable,
    filter_subject: topic,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(sessionMs),
    max_ack_pending: 10 * maxBuffered,
  }
  // An existing consumer gets the present settings. One with another topic would stop to deliver the records of that topic.
  await manager.consumers.add(name, config).catch(async () => {
    const { filter_subject: other } = (await manager.consumers.info(name, durable)).config
    if (other !== topic)
      throw new Error(
        `NATS: the group ${group} reads ${other} of the stream ${name}: give the stream of ${topic} another group`,
      )
    await manager.consumers.update(name, durable, config)
  })
  const consumer = await jetstream(connection).consumers.get(name, durable)
  const received = createReceived<JsMsg>()
  /** By their number in the stream: the newest delivery of each message that is not committed. */
  const held = new Map<number, JsMsg>()
  let isClosed = false
  let turn: ConsumerMessages | undefined
  let hasRoom = (): void => {}
  const fail = (error: Error): Error => received.fail(new Error(`NATS: ${error.message}`, { cause: error }))
  const request = async (): Promise<void> => {
    while (!isClosed) {
      if (held.size > maxBuffered / 2) {
        await new Promise<void>((resolve) => (hasRoom = resolve))
        continue
      }
      turn = await consumer.fetch({ max_messages: maxBuffered - held.size, expires: turnMs })
      for await (const message of turn) {
        if (isClosed) {
          message.nak()
          continue
        }
        // The server delivers a message again that was not kept in time. Its first delivery is being answered.
        if (!held.has(message.seq)) received.push(message)
        held.set(message.seq, message)
      }
    }
  }
  request().catch((error: Error) => {
    if (!isClosed) fail(error)
  })
  // The server would deliver a message that is not acknowledged within this time to another member.
  const keeping = setInterval(() => {
    for (const message of held.values()) message.working()
  }, sessionMs / 3)

  return {
    async next(max, signal) {
      const taken = await received.take(max, signal)
      return { records: taken.map(recordOf), isLost: () => isClosed, messages: taken } satisfies NatsBatch
    },
    async commit(batch, records) {
      try {
        await publish(connection, records)
        const { messages: taken } = batch as NatsBatch
        await Promise.all(taken.map(({ seq }) => held.get(seq)!.ackAck()))
        for (const { seq } of taken) held.delete(seq)
        hasRoom()
        return true
      } catch (error) {
        throw fail(error as Error)
      }
    },
    takes: (record) => sizeOfRecord(record) <= (connection.info?.max_payload ?? Infinity),
    async lag() {
      const { num_pending, num_ack_pending } = await consumer.info()
      return num_pending + num_ack_pending
    },
    async close() {
      isClosed = true
      clearInterval(keeping)
      hasRoom()
      // Ends with the turn, which the client may leave open until its time is over.
      turn?.close().catch(() => {})
      for (const message of held.values()) message.nak()
      if (!connection.isClosed()) await connection.flush()
    },
  }
}

function recordOf({ seq, subject, data, headers, timestamp }: JsMsg): StreamRecord {
  const key = headers?.get(keyHeader)
  return {
    key: key === undefined || key === '' ? undefined : Buffer.from(key),
    value: Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    place: `${subject}/${seq}`,
    atMs: Date.parse(timestamp),
    headerOf(name) {
      const given = headers?.keys().find((each) => each.toLowerCase() === name)
      return given === undefined ? undefined : headers?.get(given)
    },
  }
}
