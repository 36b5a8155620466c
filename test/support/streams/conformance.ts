/** Defines the behaviour that streams require from every broker. Each implementation runs these tests against a real broker. */
import { expect, it } from 'vitest'
import type { SentRecord, Stream, StreamBatch, Subscription } from '../../../api/streams/stream.ts'
import { uniqueName } from '../servers/servers.ts'

export interface TestTopics {
  open(): Stream
  /** Whether redelivered records come in their order. */
  keepsOrder: boolean
  /** Creates topics with this many partitions if the broker has partitions. */
  create(partitions: number, ...names: string[]): Promise<void>
  /** Returns the records that readers of a topic see. */
  read(topic: string): Promise<{ key: string; value: string; headers: Record<string, string> }[]>
}

const never = new AbortController().signal

export const sentRecord = (topic: string, value: string, key = value): SentRecord => ({
  topic,
  key: Buffer.from(key),
  value: Buffer.from(value),
  headers: { 'content-type': 'text/plain' },
  id: `${topic}/${value}`,
})

const valuesOf = ({ records }: StreamBatch): string[] => records.map(({ value }) => String(value))
const echo = (topic: string, batch: StreamBatch): SentRecord[] =>
  batch.records.map(({ value, key, place }) => ({
    ...sentRecord(topic, `${String(value)}!`, String(key)),
    id: `echo/${place}`,
  }))

export function testConformance(topics: () => TestTopics): void {
  const subscribe = (stream: Stream, topic: string, member = 'one') =>
    stream.subscribe({ topic, group: `group-${topic}`, member })
  /** Reads all records and commits each batch with echoes of its records. */
  const drain = async (from: Subscription, to: string, count: number): Promise<string[]> => {
    const values: string[] = []
    while (values.length < count) {
      const batch = await from.next(7, never)
      if (await from.commit(batch, echo(to, batch))) values.push(...valuesOf(batch))
    }
    return values
  }
  const prepared = async (count: number, partitions = 1) => {
    const [from, to] = [uniqueName('from'), uniqueName('to')]
    await topics().create(partitions, from, to)
    const stream = topics().open()
    const values = Array.from({ length: count }, (_, number) => `r${number}`)
    await stream.produce(values.map((value) => sentRecord(from, value)))
    return { stream, from, to, values }
  }

  it('delivers the records of a partition in order, and a later subscription starts after the last commit', async () => {
    const { stream, from, to, values } = await prepared(20)
    const first = await subscribe(stream, from)
    expect(await drain(first, to, 20)).toEqual(values)
    await first.close()
    await stream.produce([sentRecord(from, 'next')])
    const second = await subscribe(stream, from)
    expect(valuesOf(await second.next(100, never))).toEqual(['next'])
    await second.close()
    await stream.close()
    expect((await topics().read(to)).map(({ value }) => value)).toEqual(values.map((value) => `${value}!`))
  })

  it('delivers a record with its key, position and time', async () => {
    const { stream, from, to } = await prepared(1)
    const subscription = await subscribe(stream, from)
    const { records } = await subscription.next(100, never)
    expect(records).toHaveLength(1)
    const { key, place, atMs } = records[0]!
    expect(String(key)).toBe('r0')
    expect(place.startsWith(`${from}/`)).toBe(true)
    expect(Math.abs(atMs - Date.now())).toBeLessThan(600_000)
    await drain(subscription, to, 0)
    await subscription.close()
    await stream.close()
  })

  it('redelivers an uncommitted batch, and publishes one answer for each of its records', async () => {
    const { stream, from, to, values } = await prepared(5)
    const first = await subscribe(stream, from)
    expect(valuesOf(await first.next(3, never))).toEqual(values.slice(0, 3))
    await first.close()
    const second = await subscribe(stream, from)
    const inOrder = (found: string[]) => (topics().keepsOrder ? found : found.sort())
    expect(inOrder(await drain(second, to, 5))).toEqual(values)
    expect(await second.lag()).toBe(0)
    await second.close()
    await stream.close()
    expect(inOrder((await topics().read(to)).map(({ value }) => value))).toEqual(
      values.map((value) => `${value}!`),
    )
  })

  it('distributes records among the members of a group while members join and leave, with one answer for each record', async () => {
    const { stream, from, to, values } = await prepared(200, 4)
    const answered: string[] = []
    const ends = new AbortController()
    const work = async (member: string): Promise<void> => {
      const subscription = await subscribe(stream, from, member)
      while (!ends.signal.aborted) {
        const batch = await subscription.next(5, ends.signal)
        if (batch.records.length > 0 && (await subscription.commit(batch, echo(to, batch))))
          answered.push(...valuesOf(batch))
        if (answered.length >= values.length) ends.abort()
      }
      await subscription.close()
    }
    await Promise.all([work('one'), work('two')])
    await stream.close()
    expect(answered.sort()).toEqual([...values].sort())
    const seen = await topics().read(to)
    expect(seen.map(({ value }) => value).sort()).toEqual(values.map((value) => `${value}!`).sort())
  })

  it('ends a wait for records on request', async () => {
    const { stream, from } = await prepared(0)
    const subscription = await subscribe(stream, from)
    const ends = new AbortController()
    const waiting = subscription.next(1, ends.signal)
    ends.abort()
    expect((await waiting).records).toEqual([])
    await subscription.close()
    await stream.close()
  })
}
