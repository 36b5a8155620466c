/** Creates topics of a Kafka broker, and reads what readers of committed records see. */
import {
  Admin,
  Consumer,
  MessagesStreamModes,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka'
import { openKafka } from '../../../api/streams/kafka.ts'
import { randomUUID } from 'node:crypto'
import type { TestTopics } from './conformance.ts'

/** Short, because a member that was killed is waited for. */
export const testSessionMs = 1_500

export const kafkaTopics = (address: string, session = testSessionMs): TestTopics => ({
  keepsOrder: true,
  open: () => openKafka({ brokers: [address], sessionMs: session }),
  async create(partitions, ...topics) {
    const admin = new Admin({ clientId: 'test', bootstrapBrokers: [address] })
    await admin.createTopics({ topics, partitions, replicas: 1 })
    await admin.close()
  },
  read: (topic) => readCommitted(address, topic),
})

/** The header of the records that mark the end of what is read. */
const mark = 'test-mark'

/** Everything up to now: a last record is sent to each partition, and read up to there. */
async function readCommitted(address: string, topic: string): ReturnType<TestTopics['read']> {
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
  const consumer = new Consumer({
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
