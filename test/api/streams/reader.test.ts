/** Tests the loop that reads a topic: what overlaps, what waits, and what is counted. */
import { expect, it } from 'vitest'
import { readTopic } from '../../../api/streams/reader.ts'
import type { StreamBatch, Subscription } from '../../../api/streams/stream.ts'

const batchOf = (place: string): StreamBatch => ({
  records: [{ key: undefined, value: Buffer.alloc(0), place, atMs: 0, headerOf: () => undefined }],
  isLost: () => false,
})

interface Script {
  batches: StreamBatch[]
  /** What a commit of the batch comes to. */
  commit(place: string): Promise<boolean>
  handle?(place: string): void
}

/** Runs a reader over the batches and returns what happened, in order. */
async function read({ batches, commit, handle = () => undefined }: Script) {
  const events: string[] = []
  const errors: string[] = []
  const ending = new AbortController()
  const waiting = [...batches]
  const placeOf = ({ records }: StreamBatch): string => records[0]!.place
  const subscription: Subscription = {
    async next(_max, signal) {
      const given = waiting.shift()
      if (given !== undefined) return given
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return { records: [], isLost: () => false }
    },
    async commit(batch) {
      events.push(`commit ${placeOf(batch)}`)
      const committed = await commit(placeOf(batch))
      events.push(`${committed ? 'committed' : 'lost'} ${placeOf(batch)}`)
      return committed
    },
    lag: async () => 0,
    async close() {
      events.push('closed')
    },
  }
  const count = { topic: 'asked', done: 0, dead: 0, lag: 0, waitsFor: undefined }
  const reading = readTopic({
    stream: { subscribe: async () => subscription, produce: async () => {}, close: async () => {} },
    source: { topic: 'asked', group: 'group', member: 'member' },
    count,
    async handle(batch) {
      events.push(`handle ${placeOf(batch)}`)
      handle(placeOf(batch))
      return { sent: [], dead: 0 }
    },
    onError: (message) => void errors.push(message),
    stopping: ending.signal,
  })
  return { events, errors, count, reading, stop: () => ending.abort() }
}

it('the next batch is handled while the broker commits the former one, and commits keep their order', async () => {
  let finish = (_committed: boolean): void => {}
  const first = new Promise<boolean>((resolve) => (finish = resolve))
  const run = await read({
    batches: ['a', 'b'].map(batchOf),
    commit: (place) => (place === 'a' ? first : Promise.resolve(true)),
    // The first commit cannot end before the second batch is handled.
    handle: (place) => void (place === 'b' && finish(true)),
  })
  await expect.poll(() => run.count.done).toBe(2)
  run.stop()
  await run.reading
  expect(run.events).toEqual([
    'handle a',
    'commit a',
    'handle b',
    'committed a',
    'commit b',
    'committed b',
    'closed',
  ])
})

it('a reader that is stopped waits for the commit under way, and counts what it has committed only', async () => {
  let finish = (_committed: boolean): void => {}
  const run = await read({
    batches: [batchOf('lost'), batchOf('kept')],
    commit: (place) =>
      place === 'lost' ? Promise.resolve(false) : new Promise((resolve) => (finish = resolve)),
  })
  await expect.poll(() => run.events.at(-1)).toBe('commit kept')
  run.stop()
  finish(true)
  await run.reading
  expect(run.events.slice(-2)).toEqual(['committed kept', 'closed'])
  expect(run.count.done).toBe(1)
})

it('a commit that fails interrupts the stream, which is opened anew', async () => {
  const run = await read({
    batches: ['a', 'b', 'c'].map(batchOf),
    commit: (place) => (place === 'a' ? Promise.reject(new Error('away')) : Promise.resolve(true)),
  })
  await expect.poll(() => run.count.done).toBe(1)
  run.stop()
  await run.reading
  expect(run.errors).toEqual(['the stream of asked is interrupted and begins again: away'])
  // The batch behind the failed one is not committed: it comes again.
  expect(run.events).not.toContain('commit b')
  expect(run.events).toContain('committed c')
})
