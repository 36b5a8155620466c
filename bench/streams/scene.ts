/** Starts a broker and a database with a model for the measurements of streams. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Stream } from '../../api/streams/stream.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import type { ApiProcess } from '../../test/support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../test/support/serving/artifact.ts'
import { startKafka, type KafkaBroker } from '../../test/support/streams/kafka-broker.ts'
import { kafkaTopics } from '../../test/support/streams/kafka-topics.ts'
import type { TestTopics } from '../../test/support/streams/conformance.ts'
import { openDatabase, prepareServing, type BenchDatabase } from '../harness/database.ts'

export const partitions = 4
/** Long enough for a busy machine. */
const sessionMs = 6_000
export const irisRequest = JSON.stringify({ instances: [irisRow] })

export interface Scene {
  broker: KafkaBroker
  database: BenchDatabase
  topics: TestTopics
  stream: Stream
  /** Returns the environment of a replica that reads `from` in a group. */
  answering(from: string, group: string): Record<string, string>
  /** Reads a metric of the replica for the topic, by its other label. */
  metric(replica: ApiProcess, name: string, topic: string): Promise<number>
  /** Sends requests, every hundredth invalid when `broken`, and returns their number. */
  send(topic: string, count: number, broken?: boolean): Promise<number>
}

export async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  const broker = await startKafka()
  const database = await openDatabase()
  const topics = kafkaTopics(broker.address, sessionMs)
  const stream = topics.open()
  try {
    const environment = await prepareServing(database, [irisSpec()])
    const { key } = await insertKey(database.store, { name: 'stream', role: 'predictor' })
    const viewer = await insertKey(database.store, { name: 'viewer', role: 'viewer' })
    await work({
      broker,
      database,
      topics,
      stream,
      answering(from, group) {
        const file = join(database.root, `${group}.json`)
        const predictions = [{ model: 'iris', from, to: `${from}.answers`, dead: `${from}.dead`, group }]
        writeFileSync(
          file,
          JSON.stringify({ kafka: { brokers: [broker.address], sessionMs }, key, predictions }),
        )
        return { ...environment, TENURE_STREAMS: file, LOG_LEVEL: 'info' }
      },
      async metric({ url }, name, topic) {
        const headers = { authorization: `Bearer ${viewer.key}` }
        const text = await (await fetch(`${url}/metrics`, { headers })).text()
        const line = text
          .split('\n')
          .find((each) => each.startsWith(`${name}{`) && each.includes(`"${topic}"`))
        return Number(line?.replace(/^.* /, '') ?? Number.NaN)
      },
      async send(topic, count, broken = false) {
        for (let from = 0; from < count; from += 5_000)
          await stream.produce(
            Array.from({ length: Math.min(5_000, count - from) }, (_, place) => ({
              topic,
              key: Buffer.from(`customer-${from + place}`),
              value: Buffer.from(broken && place % 100 === 0 ? '{' : irisRequest),
              headers: {},
              id: '',
            })),
          )
        return count
      },
    })
  } finally {
    await stream.close()
    await database.stop()
    await broker.stop()
  }
}
