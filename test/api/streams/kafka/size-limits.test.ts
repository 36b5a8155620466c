/** Tests records and batches that are larger than a topic of a real Kafka broker takes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deadLetter } from '../../../../api/streams/dead-letter.ts'
import { readTopic } from '../../../../api/streams/reader.ts'
import type { SentRecord, Stream, StreamRecord } from '../../../../api/streams/stream.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { sentRecord } from '../../../support/streams/conformance.ts'
import { startKafka, whyNoKafka, type KafkaBroker } from '../../../support/streams/kafka-broker.ts'

const missing = whyNoKafka()
// The client does not load on earlier versions of Node.js.
const support = missing === undefined ? await import('../../../support/streams/kafka-topics.ts') : undefined
const maxMessageBytes = 50_000

describe.skipIf(missing !== undefined)(
  missing === undefined ? 'a topic with a limit' : `a topic with a limit (skipped: ${missing})`,
  () => {
    let broker: KafkaBroker
    let stream: Stream
    beforeAll(async () => {
      broker = await startKafka()
      stream = support!.kafkaTopics(broker.address).open()
    })
    afterAll(async () => {
      await stream?.close()
      await broker?.stop()
    })

    /** Reads a topic until all its records are answered, and returns the counts. */
    const answerAll = async (
      topic: string,
      total: number,
      answer: (record: StreamRecord) => SentRecord,
    ): Promise<{ done: number; dead: number }> => {
      const count = { topic, done: 0, dead: 0, lag: 0, waitsFor: undefined }
      const ending = new AbortController()
      const reading = readTopic({
        stream,
        source: { topic, group: topic, member: 'one' },
        count,
        async handle({ records }) {
          return { sent: records.map(answer), dead: 0 }
        },
        onError: () => {},
        stopping: ending.signal,
      })
      await expect.poll(() => count.done + count.dead).toBe(total)
      ending.abort()
      await reading
      return { done: count.done, dead: count.dead }
    }

    it('gets the answers of many records, which are more than a batch of it may hold', async () => {
      const [from, to] = [uniqueName('from'), uniqueName('to')]
      await support!.kafkaTopics(broker.address).create(1, from, to)
      const names = Array.from({ length: 300 }, (_, place) => `r${place}`)
      await stream.produce(names.map((name) => sentRecord(from, name)))
      const counts = await answerAll(from, names.length, ({ key, place }) => ({
        ...sentRecord(to, 'x'.repeat(5_000), String(key)),
        id: place,
      }))
      expect(counts).toEqual({ done: names.length, dead: 0 })
      const found = await support!.kafkaTopics(broker.address).read(to)
      expect(found.map(({ key }) => key)).toEqual(names)
    })

    it('gets no answer that is larger than its limit: a dead letter says so, without what is too large for its topic', async () => {
      const [from, to, dead] = [uniqueName('from'), uniqueName('to'), uniqueName('dead')]
      const topics = support!.kafkaTopics(broker.address)
      await topics.create(1, from)
      await support!.createLimited(broker.address, [to, dead], maxMessageBytes)
      const names = ['a', 'large', 'b', 'larger', 'c']
      const valueOf = (name: string) => (name === 'larger' ? 'y'.repeat(maxMessageBytes + 1_000) : name)
      await stream.produce(names.map((name) => sentRecord(from, valueOf(name), name)))
      const tooLarge = new DomainError('body_too_large', 'the answer is too large')
      const counts = await answerAll(from, names.length, (record) => {
        const isLarge = String(record.key).startsWith('large')
        return {
          ...sentRecord(to, 'x'.repeat(isLarge ? maxMessageBytes + 1_000 : 20_000), String(record.key)),
          id: record.place,
          instead: () => deadLetter(dead, 'group', record, tooLarge),
        }
      })
      expect(counts).toEqual({ done: 3, dead: 2 })
      expect((await topics.read(to)).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
      const letters = await topics.read(dead)
      expect(letters.map(({ value }) => value)).toEqual(['large', ''])
      expect(letters.map(({ headers }) => [headers['tenure-error'], headers['tenure-reason']])).toEqual([
        ['body_too_large', 'the answer is too large'],
        ['body_too_large', 'too large for this topic, so left out: the answer is too large'],
      ])
    })
  },
)
