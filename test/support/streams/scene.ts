/** Starts a broker and a database with a model for the measurements of streams. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Stream } from '../../../api/streams/stream.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import type { ApiProcess } from '../serving/api-process.ts'
import { irisRow, irisSpec } from '../serving/artifact.ts'
import { startKafka, type KafkaBroker } from './kafka-broker.ts'
import { natsTopics, startNats } from './nats-server.ts'
import type { TestTopics } from './conformance.ts'
import { openDatabase, prepareServing, type BenchDatabase } from '../servers/private-database.ts'

export const partitions = 4
/** Long enough for a busy machine. */
const sessionMs = 6_000
export const irisRequest = JSON.stringify({ instances: [irisRow] })

export interface Scene {
  broker: Pick<KafkaBroker, 'address' | 'pid' | 'kill' | 'start' | 'restart'>
  database: BenchDatabase
  topics: TestTopics
  stream: Stream
  /** Returns the environment of a replica with these streams. Without a key of its own, a stream has that of a predictor. */
  environment(name: string, streams: object): Record<string, string>
  /** Returns the environment of a replica that reads `from` in a group. */
  answering(from: string, group: string): Record<string, string>
  /** Reads the first value of a metric of the replica for the topic; NaN without one. */
  metric(replica: ApiProcess, name: string, topic: string): Promise<number>
  /** Sends requests, every hundredth invalid when `broken`, and returns their number. */
  send(topic: string, count: number, broken?: boolean): Promise<number>
}

export type BrokerKind = 'kafka' | 'nats'

export async function withScene(
  work: (scene: Scene) => Promise<void>,
  kind: BrokerKind = 'kafka',
): Promise<void> {
  const broker = kind === 'kafka' ? await startKafka() : await startNats()
  const database = await openDatabase()
  const { address } = broker
  // The client of Kafka does not load on every version of Node.js.
  const topics =
    kind === 'kafka'
      ? (await import('./kafka-topics.ts')).kafkaTopics(address, sessionMs)
      : natsTopics(address, sessionMs)
  const settings =
    kind === 'kafka'
      ? { kafka: { brokers: [address], sessionMs } }
      : { nats: { servers: [address], sessionMs } }
  const stream = topics.open()
  try {
    const environment = await prepareServing(database, [irisSpec()])
    const { key } = await insertKey(database.store, { name: 'stream', role: 'predictor' })
    const viewer = await insertKey(database.store, { name: 'viewer', role: 'viewer' })
    const environmentOf = (name: string, streams: object): Record<string, string> => {
      const file = join(database.root, `${name}.json`)
      writeFileSync(file, JSON.stringify({ ...settings, key, ...streams }))
      return { ...environment, TENURE_STREAMS: file, LOG_LEVEL: 'info' }
    }
    await work({
      broker,
      database,
      topics,
      stream,
      environment: environmentOf,
      answering: (from, group) =>
        environmentOf(group, {
          predictions: [{ model: 'iris', from, to: `${from}.answers`, dead: `${from}.dead`, group }],
        }),
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
