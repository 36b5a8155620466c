/**
 * Implements streams on Kafka. Answers and the offsets of their records are one transaction, so each record has exactly one answer for
 * consumers that read committed records. Works around three hazards of the client library. It reads offsets while an earlier transaction is
 * still being completed, so positions are read as stable offsets. It drops one of two offsets that are added at the same time, so they are
 * added one after the other. It keeps its position over a rebalance, so each generation starts again from the committed positions.
 */
import {
  Admin,
  AuthenticationError,
  findErrorBy,
  MessagesStreamFallbackModes,
  MessagesStreamModes,
  Producer,
  type Message,
  type MessagesStream,
} from '@platformatic/kafka'
import { setTimeout as pause } from 'node:timers/promises'
import { assignPartitions } from './kafka/assign-partitions.ts'
import { createCommittedConsumer } from './kafka/committed-consumer.ts'
import { createSizeLimits, type SizeLimits } from './kafka/size-limits.ts'
import type { KafkaSettings } from './settings.ts'
import { createReceived } from './received.ts'
import type { SentRecord, StreamSource, Stream, StreamBatch, StreamRecord, Subscription } from './stream.ts'

type KafkaMessage = Message<Buffer, Buffer, Buffer, Buffer>

/** No more records are fetched while this many are in memory. */
const maxBuffered = 20_000
const fetchBytes = 4_194_304
const closeMs = 3_000
const retries = 12

export function openKafka(settings: KafkaSettings): Stream {
  const hint = hintOf(settings)
  const base = {
    clientId: 'tenure',
    bootstrapBrokers: settings.brokers,
    retries,
    retryDelay: retryDelayOf(hint),
    ...(settings.tls === undefined ? {} : { tls: settings.tls }),
    ...(settings.sasl === undefined ? {} : { sasl: settings.sasl }),
  }
  const sizes = createSizeLimits()
  let producer: Producer | undefined
  return {
    subscribe: (source) => subscribe({ base, hint, sizes, sessionMs: settings.sessionMs }, source),
    async produce(records) {
      const open = (producer ??= new Producer({ ...base, idempotent: true }))
      await sizes
        .send(records, (batch) => open.send({ messages: batch.map(messageOf) }))
        .catch((error: unknown) => {
          throw failureOf(error, hint)
        })
    },
    async close() {
      if (producer !== undefined) await ended(producer.close(true))
    },
  }
}

type Base = ConstructorParameters<typeof Admin>[0]

/**
 * Suggests a setting for a broker that closes the connection. With TLS 1.3, the client does not learn that the broker refused its
 * certificate.
 */
function hintOf({ tls }: KafkaSettings): string | undefined {
  if (tls === undefined) return undefined
  if (tls.cert === undefined)
    return 'the broker may ask for a certificate of its clients (ssl.client.auth=required): set kafka.tls.cert and kafka.tls.key in the file of streams'
  return 'the broker may not accept the certificate in kafka.tls.cert: it must trust its authority (ssl.truststore)'
}

/** A transaction is completed a few milliseconds after its commit. The next one must wait for that, but not for a second. */
const retryDelayOf =
  (hint: string | undefined) =>
  (_client: object, _operation: string, attempt: number, _retries: number, error: Error): number => {
    if (findErrorBy(error, 'apiId', 'CONCURRENT_TRANSACTIONS')) return Math.min(5 * attempt, 100)
    const causes = causesOf(error)
    return causes.some(isPermanent) || (hint !== undefined && causes.some(isClosed)) ? 1 : 400
  }

/** Whether the broker closed the connection itself. A broker that is down refuses the next connection instead, with another error. */
const isClosed = ({ message }: Error): boolean => message.startsWith('Connection closed')

/** Whether repeating cannot help: a wrong password or certificate stays wrong. */
function isPermanent(error: Error): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return error instanceof AuthenticationError || /CERT|SIGNATURE|^ERR_(TLS|SSL)/.test(code)
}

/** Returns an error with its causes. The client wraps the original cause in the operation that it gave up. */
function causesOf(error: unknown): Error[] {
  if (!(error instanceof Error)) return []
  const { errors } = error as Partial<AggregateError>
  return [error, ...causesOf((errors as unknown[] | undefined)?.at(-1) ?? error.cause)]
}

function failureOf(error: unknown, hint: string | undefined): Error {
  const causes = causesOf(error)
  const messages = causes.map(({ message }) => message.replace(/\.$/, ''))
  if (hint !== undefined && causes.some(isClosed)) messages.push(hint)
  return new Error(`Kafka: ${[...new Set(messages)].join(': ')}`, { cause: error })
}

/** Whether the group has new members or a new generation. The consumer then joins it again without help. */
const hasMoved = (error: unknown): boolean => findErrorBy(error as Error, 'needsRejoin', true) !== null

interface KafkaBatch extends StreamBatch {
  /** The last message of each partition. */
  lasts: readonly KafkaMessage[]
}

interface Connecting {
  base: Base
  hint: string | undefined
  sizes: SizeLimits
  sessionMs: number
}

async function subscribe(
  { base, hint, sizes, sessionMs }: Connecting,
  source: StreamSource,
): Promise<Subscription> {
  const { topic, group, member } = source
  const consumer = createCommittedConsumer({
    ...base,
    groupId: group,
    sessionTimeout: sessionMs,
    rebalanceTimeout: 2 * sessionMs,
    heartbeatInterval: Math.ceil(sessionMs / 4),
    partitionAssigner: assignPartitions,
    autocommit: false,
    maxBytes: fetchBytes,
    maxBytesPerPartition: fetchBytes,
    maxWaitTime: 500,
  })
  // The broker aborts the transaction of a killed process after `timeout`, or when it is back under the same name.
  const producer = new Producer({
    ...base,
    idempotent: true,
    transactionalId: `tenure-${group}-${topic}-${member}`,
    timeout: 10_000,
  })
  const admin = new Admin(base)
  const received = createReceived<KafkaMessage>()
  /** By partition: the offset after the last commit, and the offset after the last received record. */
  const positions = new Map<number, bigint>()
  const receivedTo = new Map<number, bigint>()
  /** Increases with each assignment of partitions and with each return to the committed positions. */
  let epoch = 0
  let messages: MessagesStream<Buffer, Buffer, Buffer, Buffer> | undefined

  const fail = (error: Error): void => void received.fail(failureOf(error, hint))
  /** Starts to read at the committed positions of the group. */
  const begin = async (): Promise<void> => {
    const startedIn = ++epoch
    received.clear()
    const former = messages
    messages = undefined
    former?.destroy()
    const partitions = consumer.assignments?.find((each) => each.topic === topic)?.partitions ?? []
    positions.clear()
    receivedTo.clear()
    if (partitions.length === 0) return
    const stable = await stableOffsets(admin, group, topic, partitions)
    if (startedIn !== epoch) return
    for (const [partition, offset] of stable) {
      positions.set(partition, offset)
      receivedTo.set(partition, offset)
    }
    const opened = await consumer.consume({
      topics: [topic],
      mode: MessagesStreamModes.MANUAL,
      fallbackMode: MessagesStreamFallbackModes.EARLIEST,
      offsets: [...stable].map(([partition, offset]) => ({ topic, partition, offset })),
    })
    if (startedIn !== epoch) {
      opened.destroy()
      return
    }
    messages = opened
    opened.on('error', (error) => {
      if (startedIn === epoch) fail(error)
    })
    opened.on('data', (message) => {
      // Fetched while the consumer joins the group again: its commit could not name a member. The record is delivered again afterwards.
      const { memberId } = message.metadata['consumer'] as { memberId: string | null }
      if (startedIn !== epoch || memberId === null) return
      receivedTo.set(message.partition, message.offset + 1n)
      if (received.push(message) >= maxBuffered) opened.pause()
    })
  }
  /**
   * Returns the position of the group. A partition may end with offsets without a readable record: transaction markers and aborted records.
   */
  const positionOf = (partition: number): bigint => {
    const committed = positions.get(partition)
    const isDone = receivedTo.get(partition) === committed && messages?.readableLength === 0
    return (isDone ? messages?.offsetsToFetch.get(`${topic}:${partition}`) : undefined) ?? committed ?? 0n
  }
  const beginAgain = (): void => void begin().catch(fail)

  const close = async (): Promise<void> => {
    epoch++
    messages?.destroy()
    await ended(consumer.close(true))
    await Promise.all([ended(producer.close(true)), ended(admin.close())])
  }
  for (const client of [consumer, producer, admin]) client.on('error', fail)
  consumer.on('consumer:heartbeat:stalled', () => fail(new Error(`the group ${group} does not answer`)))
  try {
    // Aborts the transaction of an earlier process with this name, before its records are read again.
    const first = await producer.beginTransaction({ producerId: -1n, producerEpoch: -1 })
    await first.cancel()
    // Keeps the topic tracked while streams are closed and opened; otherwise the consumer would leave and join the group each time.
    consumer.topics.track(topic)
    await consumer.joinGroup({})
    await begin()
  } catch (error) {
    await close()
    throw failureOf(error, hint)
  }
  consumer.on('consumer:group:join', beginAgain)

  return {
    async next(max, signal) {
      const taken = await received.take(max, signal)
      if (received.count() < maxBuffered / 2 && messages?.isPaused()) messages.resume()
      const startedIn = epoch
      const lasts = [...new Map(taken.map((message) => [message.partition, message])).values()]
      return { records: taken.map(recordOf), isLost: () => startedIn !== epoch, lasts } satisfies KafkaBatch
    },
    async commit(batch, records) {
      if (batch.isLost()) return false
      const { lasts } = batch as KafkaBatch
      const transaction = await producer.beginTransaction()
      try {
        await transaction.addConsumer(consumer)
        // The group's coordinator takes the offsets while the partition leaders take the records. Both must end before the transaction
        // does.
        const ends = await Promise.allSettled([
          sizes.send(records, (part) => transaction.send({ messages: part.map(messageOf) })),
          addOffsets(transaction, lasts),
        ])
        for (const end of ends) if (end.status === 'rejected') throw end.reason
        await transaction.commit()
      } catch (error) {
        await ended(transaction.abort())
        if (!hasMoved(error)) {
          fail(error as Error)
          throw failureOf(error, hint)
        }
        if (!batch.isLost()) await begin()
        return false
      }
      if (!batch.isLost()) for (const { partition, offset } of lasts) positions.set(partition, offset + 1n)
      return true
    },
    takes: sizes.takes,
    async lag() {
      const partitions = consumer.assignments?.find((each) => each.topic === topic)?.partitions ?? []
      if (partitions.length === 0) return 0
      const ends = await consumer.listOffsets({ topics: [topic], partitions: { [topic]: partitions } })
      const at = ends.get(topic) ?? []
      return partitions.reduce((sum, each) => sum + Number((at[each] ?? 0n) - positionOf(each)), 0)
    },
    close,
  }
}

type KafkaTransaction = Awaited<ReturnType<Producer['beginTransaction']>>

async function addOffsets(transaction: KafkaTransaction, lasts: readonly KafkaMessage[]): Promise<void> {
  for (const last of lasts) await transaction.addOffset(last)
}

/** Returns the committed offsets once no open transaction can change them. A partition without an offset begins at its first record. */
async function stableOffsets(
  admin: Admin,
  group: string,
  topic: string,
  partitions: number[],
): Promise<Map<number, bigint>> {
  const topics = [{ name: topic, partitionIndexes: partitions }]
  for (;;) {
    try {
      const [found] = await admin.listConsumerGroupOffsets({
        groups: [{ groupId: group, topics }],
        requireStable: true,
      })
      const given = found?.topics.find(({ name }) => name === topic)?.partitions ?? []
      return new Map(
        given.flatMap(({ partitionIndex, committedOffset }) =>
          committedOffset < 0n ? [] : [[partitionIndex, committedOffset]],
        ),
      )
    } catch (error) {
      if (!findErrorBy(error as Error, 'apiId', 'UNSTABLE_OFFSET_COMMIT')) throw error
      await pause(50)
    }
  }
}

const recordOf = ({
  key,
  value,
  topic,
  partition,
  offset,
  timestamp,
  headers,
}: KafkaMessage): StreamRecord => ({
  key,
  // A record without a value is treated as an empty one.
  value: value ?? Buffer.alloc(0),
  place: `${topic}/${partition}/${offset}`,
  atMs: Number(timestamp),
  headerOf(name) {
    for (const [given, text] of headers) if (given.toString().toLowerCase() === name) return text.toString()
    return undefined
  },
})

const headerNames = new Map<string, Buffer>()
function headerName(name: string): Buffer {
  const known = headerNames.get(name)
  if (known !== undefined) return known
  const bytes = Buffer.from(name)
  headerNames.set(name, bytes)
  return bytes
}

function messageOf({ topic, key, value, headers }: SentRecord) {
  const named = new Map<Buffer, Buffer>()
  for (const name in headers) named.set(headerName(name), Buffer.from(headers[name]!))
  return key === undefined ? { topic, value, headers: named } : { topic, key, value, headers: named }
}

/** Waits for an operation that may fail, or never end because the broker is down. */
async function ended(ending: Promise<unknown>): Promise<void> {
  const late = new AbortController()
  await Promise.race([
    ending.catch(() => undefined),
    pause(closeMs, undefined, { signal: late.signal }).catch(() => undefined),
  ])
  late.abort()
}
