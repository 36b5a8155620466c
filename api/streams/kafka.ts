/**
 * Implements streams on Kafka. Answers and the offsets of their records are one transaction, so each record has exactly one answer for
 * consumers that read committed records. Works around three hazards of the client library. It reads offsets while an earlier transaction is
 * still being completed, so positions are read as stable offsets. It drops one of two offsets that are added at the same time, so they are
 * added one after the other. It keeps its position over a rebalance, so each generation starts again from the committed positions.
 */
import { Admin, Producer } from '@platformatic/kafka'
import { assignPartitions } from './kafka/assign-partitions.ts'
import { createCommittedConsumer } from './kafka/committed-consumer.ts'
import { hasMoved, hintOf, kafkaFailure, retryDelayOf, waitForEnd } from './kafka/failures.ts'
import { createPartitionReader, type KafkaMessage } from './kafka/partition-reader.ts'
import { createSizeLimits, type SizeLimits } from './kafka/size-limits.ts'
import type { KafkaSettings } from './settings.ts'
import { createReceived } from './received.ts'
import type { SentRecord, StreamSource, Stream, StreamBatch, StreamRecord, Subscription } from './stream.ts'

const fetchBytes = 4_194_304
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
          throw kafkaFailure(error, hint)
        })
    },
    async close() {
      if (producer !== undefined) await waitForEnd(producer.close(true))
    },
  }
}

type Base = ConstructorParameters<typeof Admin>[0]

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
  const fail = (error: Error): void => void received.fail(kafkaFailure(error, hint))
  const reader = createPartitionReader({ consumer, admin, received, topic, group, fail })
  const beginAgain = (): void => void reader.begin().catch(fail)

  const close = async (): Promise<void> => {
    reader.end()
    await waitForEnd(consumer.close(true))
    await Promise.all([waitForEnd(producer.close(true)), waitForEnd(admin.close())])
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
    await reader.begin()
  } catch (error) {
    await close()
    throw kafkaFailure(error, hint)
  }
  consumer.on('consumer:group:join', beginAgain)

  return {
    async next(max, signal) {
      const taken = await received.take(max, signal)
      reader.resume()
      const startedIn = reader.epoch()
      const lasts = [...new Map(taken.map((message) => [message.partition, message])).values()]
      const isLost = () => startedIn !== reader.epoch()
      return { records: taken.map(recordOf), isLost, lasts } satisfies KafkaBatch
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
        await waitForEnd(transaction.abort())
        if (!hasMoved(error)) {
          fail(error as Error)
          throw kafkaFailure(error, hint)
        }
        if (!batch.isLost()) await reader.begin()
        return false
      }
      if (!batch.isLost()) reader.committed(lasts)
      return true
    },
    takes: sizes.takes,
    async lag() {
      const partitions = reader.partitions()
      if (partitions.length === 0) return 0
      const ends = await consumer.listOffsets({ topics: [topic], partitions: { [topic]: partitions } })
      const at = ends.get(topic) ?? []
      return partitions.reduce((sum, each) => sum + Number((at[each] ?? 0n) - reader.positionOf(each)), 0)
    },
    close,
  }
}

type KafkaTransaction = Awaited<ReturnType<Producer['beginTransaction']>>

async function addOffsets(transaction: KafkaTransaction, lasts: readonly KafkaMessage[]): Promise<void> {
  for (const last of lasts) await transaction.addOffset(last)
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
