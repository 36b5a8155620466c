/** Compares the records a second that a replica answers with those of a loop that consumes and produces the same bytes and does nothing else. */
import { setTimeout as pause } from 'node:timers/promises'
import { startApiProcess } from '../../test/support/serving/api-process.ts'
import { partitions, type Scene } from './scene.ts'

export interface LoopRates {
  bare: number[]
  bestEffort: number[]
  durable: number[]
}

/** The share of the records before and behind the measured ones. */
const margin = 0.1
const lookMs = 250

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

async function bare({ stream }: Scene, topic: string, group: string, count: number, value: Buffer) {
  const subscription = await stream.subscribe({ topic, group, member: 'bare' })
  const never = new AbortController().signal
  const pace = createPace(count)
  for (let done = 0; done < count;) {
    const batch = await subscription.next(2_000, never)
    const answers = batch.records.map(({ key, place }) => ({
      topic: `${topic}.answers`,
      key,
      value,
      headers: { 'tenure-source': place },
      id: place,
    }))
    if (await subscription.commit(batch, answers)) done += batch.records.length
    pace.at(done)
  }
  await subscription.close()
  return pace.rate()
}

async function answered(
  scene: Scene,
  topic: string,
  group: string,
  count: number,
  mode: Record<string, string>,
): Promise<number> {
  const replica = await startApiProcess({ ...scene.answering(topic, group), ...mode })
  const pace = createPace(count)
  // Each look costs the replica a scrape, which takes milliseconds.
  for (let done = 0; !(done >= count); await pause(lookMs)) {
    done = await scene.metric(replica, 'tenure_stream_records_total', topic)
    pace.at(done)
  }
  await replica.end('SIGTERM')
  return pace.rate()
}

/** The rate between two counts, which are known when they are passed. */
function createPace(count: number) {
  let first: { done: number; ms: number } | undefined
  let last = { done: 0, ms: 0 }
  return {
    at(done: number) {
      const now = { done, ms: performance.now() }
      if (done >= margin * count) first ??= now
      if (last.done < (1 - margin) * count) last = now
    },
    rate: () => ((last.done - first!.done) / (last.ms - first!.ms)) * 1_000,
  }
}
