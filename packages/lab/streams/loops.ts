/** Compares the records per second of a replica with those of a loop that only consumes and produces the same bytes. */
import { setTimeout as pause } from 'node:timers/promises'
import { readTopic } from '../../../api/streams/reader.ts'
import { startApiProcess } from '../../../test/support/serving/api-process.ts'
import { cpuMs, watchFamily } from '../harness/processor-time.ts'
import { partitions, type Scene } from '../../../test/support/streams/scene.ts'

/** Number of records of each round. */
export interface LoopRates {
  bare: LoopRate[]
  bestEffort: LoopRate[]
  durable: LoopRate[]
}

export interface LoopRate {
  perSecond: number
  /** CPU time per record, in microseconds. */
  cpuUs: LoopCosts
}

/** CPU time of the loop's process, of Postgres and of the broker. */
export interface LoopCosts {
  loop: number
  postgres: number
  broker: number
}

/** The share of records before the measured ones, while V8 compiles, and after them. */
const warmUp = 0.4
const margin = 0.1
const lookMs = 500

export async function measureLoops(scene: Scene, rounds: number, count: number): Promise<LoopRates> {
  const { topics, send } = scene
  const from = 'loop'
  await topics.create(partitions, from, `${from}.answers`, `${from}.dead`)
  await send(from, count)
  const rates: LoopRates = { bare: [], bestEffort: [], durable: [] }
  let answer = Buffer.alloc(300, 'x')
  for (let round = 0; round < rounds; round++) {
    rates.bestEffort.push(await answered(scene, from, `best-${round}`, count, {}))
    const [first] = await topics.read(`${from}.answers`)
    answer = Buffer.from(first!.value)
    rates.bare.push(await bare(scene, from, `bare-${round}`, count, answer))
    rates.durable.push(
      await answered(scene, from, `durable-${round}`, count, { TENURE_PREDICTION_LOG: 'durable' }),
    )
  }
  return rates
}

/** Runs the loop of a replica, with the bytes of one answer instead of predictions. */
async function bare(scene: Scene, topic: string, group: string, count: number, value: Buffer) {
  const ending = new AbortController()
  const counted = { topic, done: 0, dead: 0, lag: 0, waitsFor: undefined }
  const pace = createPace(count, watchCosts(scene, { child: process }))
  const to = `${topic}.answers`
  const looking = setInterval(() => {
    pace.at(counted.done)
    if (counted.done >= count) ending.abort()
  }, lookMs)
  await readTopic({
    stream: scene.stream,
    source: { topic, group, member: 'bare' },
    count: counted,
    handle: ({ records }) =>
      Promise.resolve({
        dead: 0,
        sent: records.map(({ key, place }) => ({
          topic: to,
          key,
          value,
          headers: { 'tenure-source': place },
          id: place,
        })),
      }),
    onError: (message) => console.error(message),
    stopping: ending.signal,
  })
  clearInterval(looking)
  return pace.rate()
}

async function answered(
  scene: Scene,
  topic: string,
  group: string,
  count: number,
  mode: Record<string, string>,
): Promise<LoopRate> {
  const replica = await startApiProcess({ ...scene.answering(topic, group), ...mode })
  const pace = createPace(count, watchCosts(scene, replica))
  // Each poll costs the replica a scrape, which takes milliseconds.
  for (let done = 0; !(done >= count); await pause(lookMs)) {
    done = await scene.metric(replica, 'tenure_stream_records_total', topic)
    pace.at(done)
  }
  await replica.end('SIGTERM')
  return pace.rate()
}

/** Returns the CPU time so far, in milliseconds. */
function watchCosts({ database, broker }: Scene, loop: Parameters<typeof cpuMs>[0]): () => LoopCosts {
  const [postgres, kafka] = [watchFamily(database.pid()), watchFamily(broker.pid())]
  return () => ({ loop: cpuMs(loop), postgres: postgres(), broker: kafka() })
}

/** Returns the rate between two counts, measured when they are passed. */
function createPace(count: number, costs: () => LoopCosts) {
  let first: { done: number; ms: number; costs: LoopCosts } | undefined
  let last = { done: 0, ms: 0, costs: { loop: 0, postgres: 0, broker: 0 } }
  return {
    at(done: number) {
      const now = { done, ms: performance.now(), costs: costs() }
      if (done >= warmUp * count) first ??= now
      if (last.done < (1 - margin) * count) last = now
    },
    rate(): LoopRate {
      const records = last.done - first!.done
      const usOf = (part: keyof LoopCosts): number =>
        ((last.costs[part] - first!.costs[part]) / records) * 1_000
      return {
        perSecond: (records / (last.ms - first!.ms)) * 1_000,
        cpuUs: { loop: usOf('loop'), postgres: usOf('postgres'), broker: usOf('broker') },
      }
    },
  }
}
