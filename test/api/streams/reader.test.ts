/** Tests the loop that reads a topic: what overlaps, what waits, and what is counted. */
import { expect, it } from 'vitest'
import type { StreamCount } from '../../../api/streams/counts.ts'
import { readTopic } from '../../../api/streams/reader.ts'
import type { StreamBatch, Subscription } from '../../../api/streams/stream.ts'

const batchOf = (place: string): StreamBatch => ({
  records: [{ key: undefined, value: Buffer.alloc(0), place, atMs: 0, headerOf: () => undefined }],
  isLost: () => false,
})

interface Script {
  batches: StreamBatch[]
  /** The result of a commit of the batch. */
  commit(place: string): Promise<boolean>
  /** Undefined for a batch that the process abandons; `begun` lets the next batch begin. */
  handle?(place: string, begun: () => void): Promise<boolean> | void
  lag?(): Promise<number>
}

/** Runs a reader over the batches and returns the events in order. */
async function read({ batches, commit, handle = () => undefined, lag = async () => 0 }: Script) {
  const events: string[] = []
  const errors: string[] = []
  const ending = new AbortController()
  let waiting: StreamBatch[] = []
  const passed = new Set<StreamBatch>()
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
      passed.add(batch)
      return committed
    },
    takes: () => true,
    lag,
    async close() {
      events.push('closed')
    },
  }
  const count: StreamCount = { topic: 'asked', done: 0, dead: 0, lag: undefined, waitsFor: undefined }
  const reading = readTopic({
    stream: {
      async subscribe() {
        waiting = batches.filter((each) => !passed.has(each))
        return subscription
      },
      produce: async () => {},
      close: async () => {},
    },
    source: { topic: 'asked', group: 'group', member: 'member' },
    count,
    async handle(batch, begun) {
      events.push(`handle ${placeOf(batch)}`)
      const isAnswered = (await handle(placeOf(batch), begun)) ?? true
      return isAnswered ? { sent: [], dead: 0 } : undefined
    },
    onError: (message) => void errors.push(message),
    stopping: ending.signal,
    lagEveryMs: 10,
  })
  return { events, errors, count, reading, stop: () => ending.abort() }
}

it('the next batch is handled while the broker commits the previous one, and commits keep their order', async () => {
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

it('a reader that is stopped waits for the pending commit, and counts only what it has committed', async () => {
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

it('a batch is handled while the previous one waits and the one before is committed, and no further one', async () => {
  const ends = new Map<string, (isAnswered: boolean) => void>()
  const run = await read({
    batches: ['a', 'b', 'c', 'd'].map(batchOf),
    commit: (place) =>
      place === 'a' ? new Promise((resolve) => ends.set('commit', resolve)) : Promise.resolve(true),
    handle(place, begun) {
      if (place !== 'b') return undefined
      begun()
      return new Promise((resolve) => ends.set(place, resolve))
    },
  })
  await expect.poll(() => run.events.at(-1)).toBe('handle c')
  expect(run.events.filter((event) => event.startsWith('commit'))).toEqual(['commit a'])
  ends.get('b')!(true)
  ends.get('commit')!(true)
  await expect.poll(() => run.count.done).toBe(4)
  run.stop()
  await run.reading
  expect(run.events.filter((event) => event.startsWith('committed'))).toEqual(
    ['a', 'b', 'c', 'd'].map((place) => `committed ${place}`),
  )
})

it('a batch after one that the stopping process abandons is not committed', async () => {
  let leave = (_isAnswered: boolean): void => {}
  const run = await read({
    batches: ['left', 'behind'].map(batchOf),
    commit: () => Promise.resolve(true),
    handle(place, begun) {
      if (place === 'behind') return undefined
      begun()
      return new Promise((resolve) => (leave = resolve))
    },
  })
  await expect.poll(() => run.events.at(-1)).toBe('handle behind')
  run.stop()
  leave(false)
  await run.reading
  expect(run.events).toEqual(['handle left', 'handle behind', 'closed'])
})

it('a failing commit interrupts the stream, which is reopened and read again', async () => {
  let fails = true
  const run = await read({
    batches: ['a', 'b', 'c'].map(batchOf),
    commit(place) {
      const isFirst = fails && place === 'a'
      fails = false
      return isFirst ? Promise.reject(new Error('away')) : Promise.resolve(true)
    },
  })
  await expect.poll(() => run.count.done).toBe(3)
  run.stop()
  await run.reading
  expect(run.errors).toEqual(['the stream of asked is interrupted and begins again: away'])
  expect(run.events.filter((event) => event.startsWith('committed'))).toEqual(
    ['a', 'b', 'c'].map((place) => `committed ${place}`),
  )
  expect(run.events.lastIndexOf('commit a')).toBeGreaterThan(run.events.indexOf('closed'))
})

it('a batch that cannot be handled interrupts the stream at once, although no other follows', async () => {
  let fails = true
  const run = await read({
    batches: [batchOf('a')],
    commit: () => Promise.resolve(true),
    handle() {
      if (!fails) return undefined
      fails = false
      throw new Error('a defect')
    },
  })
  await expect.poll(() => run.count.done).toBe(1)
  run.stop()
  await run.reading
  expect(run.errors).toEqual(['the stream of asked is interrupted and begins again: a defect'])
})

it('a broker that is away while the client waits for it is told, and the lag is not known, until it answers', async () => {
  let isAway = false
  const run = await read({
    batches: [],
    commit: () => Promise.resolve(true),
    lag: () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(7)),
  })
  await expect.poll(() => run.count).toMatchObject({ lag: 7, waitsFor: undefined })
  isAway = true
  await expect.poll(() => run.count).toMatchObject({ lag: undefined, waitsFor: 'broker' })
  isAway = false
  await expect.poll(() => run.count).toMatchObject({ lag: 7, waitsFor: undefined })
  // The wait for another cause is not that for the broker.
  run.count.waitsFor = 'model_refused'
  isAway = true
  await expect.poll(() => run.count.lag).toBe(undefined)
  expect(run.count.waitsFor).toBe('model_refused')
  run.stop()
  await run.reading
})
