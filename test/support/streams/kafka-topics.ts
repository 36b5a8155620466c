/** Creates Kafka topics and reads what readers of committed records see. */
import {
  Admin,
  MessagesStreamModes,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka'
import { openKafka } from '../../../api/streams/kafka.ts'
import { createCommittedConsumer } from '../../../api/streams/kafka/committed-consumer.ts'
import { randomUUID } from 'node:crypto'
import type { TestTopics } from './conformance.ts'

/** Short, because tests wait for the session of a killed member to expire. */
export const testSessionMs = 1_500

export const kafkaTopics = (address: string, session = testSessionMs): TestTopics => ({
  keepsOrder: true,
  open: () => openKafka({ brokers: [address], sessionMs: session }),
  async create(partitions, ...topics) {
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [address] })
    await admin.createTopics({ topics, partitions, replicas: 1 })
    await admin.close()
  },
  read: (topic) => readCommitted(createCommittedConsumer, address, topic),
})

/** Creates topics of one partition that take no larger message. */
export async function createLimited(
  address: string,
  topics: string[],
  maxMessageBytes: number,
): Promise<void> {
  const admin = new Admin({ clientId: 'test', bootstrapBrokers: [address] })
  const configs = [{ name: 'max.message.bytes', value: String(maxMessageBytes) }]
  await admin.createTopics({ topics, partitions: 1, replicas: 1, configs })
  await admin.close()
}

/** The header of the marker records that end a read. */
const mark = 'test-mark'

/** Reads all current records: sends a marker to each partition and reads up to it. */
export async function readCommitted(
  createConsumer: typeof createCommittedConsumer,
  address: string,
  topic: string,
): ReturnType<TestTopics['read']> {
  const base = { clientId: 'test', bootstrapBrokers: [address] }
  const admin = new Admin(base)
  const partitions = (await admin.metadata({ topics: [topic] })).topics.get(topic)!.partitionsCount
  await admin.close()
  const id = randomUUID()
  const producer = new Producer({ ...base, serializers: stringSerializers })
  await producer.send({
    messages: Array.from({ length: partitions }, (_, partition) => ({
      topic,
      partition,
      value: '',
      headers: { [mark]: id },
    })),
    acks: -1,
  })
  await producer.close()
  const consumer = createConsumer({
    ...base,
    groupId: `reader-${randomUUID()}`,
    deserializers: stringDeserializers,
    maxWaitTime: 100,
  })
  const stream = await consumer.consume({
    topics: [topic],
    mode: MessagesStreamModes.EARLIEST,
    autocommit: false,
  })
  const found: Awaited<ReturnType<TestTopics['read']>> = []
  let left = partitions
  for await (const { key, value, headers } of stream) {
    if (headers.get(mark) === id) left--
    else if (!headers.has(mark)) found.push({ key, value, headers: Object.fromEntries(headers) })
    if (left === 0) break
  }
  await consumer.close(true)
  return found
}

/** Records of one producer's transaction, or records without a transaction (`none`). */
export interface WrittenTransaction {
  by: 'one' | 'two' | 'none'
  names: string[]
  isAborted?: boolean
}

/** Transactions of which readers of committed records see only the names that begin with `wanted`. */
export const transactions: readonly WrittenTransaction[] = [
  { by: 'one', names: ['aborted-1', 'aborted-2'], isAborted: true },
  { by: 'one', names: ['wanted-1', 'wanted-2'] },
  { by: 'one', names: ['aborted-3'], isAborted: true },
  { by: 'none', names: ['wanted-3'] },
  { by: 'two', names: ['aborted-4'], isAborted: true },
  { by: 'one', names: ['wanted-4'] },
  { by: 'two', names: ['wanted-5'] },
  { by: 'one', names: ['aborted-5'], isAborted: true },
]

/** Writes one record per name to the first partition, with the name as key and `valueOf(name)` as value. */
export async function writeTransactions(
  address: string,
  topic: string,
  written: readonly WrittenTransaction[],
  valueOf: (name: string) => string,
): Promise<void> {
  const base = {
    clientId: 'test',
    bootstrapBrokers: [address],
    serializers: stringSerializers,
    retries: 100,
    retryDelay: 20,
  }
  const plain = new Producer(base)
  const transactional = (name: string) =>
    new Producer({ ...base, idempotent: true, transactionalId: `${topic}-${name}` })
  const producers = { one: transactional('one'), two: transactional('two') }
  for (const { by, names, isAborted } of written) {
    const transaction = by === 'none' ? undefined : await producers[by].beginTransaction()
    // Each record is a separate batch.
    for (const key of names)
      await (transaction ?? plain).send({ messages: [{ topic, partition: 0, key, value: valueOf(key) }] })
    await (isAborted ? transaction?.abort() : transaction?.commit())
  }
  for (const each of [plain, producers.one, producers.two]) await each.close()
}
