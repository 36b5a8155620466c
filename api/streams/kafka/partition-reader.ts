/**
 * Reads the partitions that the group has assigned to this member, from the committed positions on. The client keeps its position over a
 * rebalance, so each generation starts again.
 */
import {
  findErrorBy,
  MessagesStreamFallbackModes,
  MessagesStreamModes,
  type Admin,
  type Consumer,
  type Message,
  type MessagesStream,
} from '@platformatic/kafka'
import { setTimeout as pause } from 'node:timers/promises'
import type { ReceivedMessages } from '../received.ts'

export type KafkaMessage = Message<Buffer, Buffer, Buffer, Buffer>

/** No more records are fetched while this many are in memory. */
const maxBuffered = 20_000

export interface PartitionReader {
  /** Starts to read at the committed positions of the group. */
  begin(): Promise<void>
  end(): void
  /** Increases with each assignment of partitions and with each return to the committed positions. */
  epoch(): number
  /** Fetches again when half of the buffer is free. */
  resume(): void
  /** The partitions of the topic that this member reads. */
  partitions(): number[]
  /** Moves the committed positions past these messages. */
  committed(lasts: readonly KafkaMessage[]): void
  /**
   * Returns the position of the group. A partition may end with offsets without a readable record: transaction markers and aborted
   * records.
   */
  positionOf(partition: number): bigint
}

export interface PartitionReaderDeps {
  consumer: Consumer<Buffer, Buffer, Buffer, Buffer>
  admin: Admin
  received: ReceivedMessages<KafkaMessage>
  topic: string
  group: string
  fail: (error: Error) => void
}

export function createPartitionReader(deps: PartitionReaderDeps): PartitionReader {
  const { consumer, admin, received, topic, group, fail } = deps
  /** By partition: the offset after the last commit, and the offset after the last received record. */
  const positions = new Map<number, bigint>()
  const receivedTo = new Map<number, bigint>()
  let epoch = 0
  let messages: MessagesStream<Buffer, Buffer, Buffer, Buffer> | undefined

  const partitions = (): number[] =>
    consumer.assignments?.find((each) => each.topic === topic)?.partitions ?? []
  const startAt = (offsets: ReadonlyMap<number, bigint>) =>
    consumer.consume({
      topics: [topic],
      mode: MessagesStreamModes.MANUAL,
      fallbackMode: MessagesStreamFallbackModes.EARLIEST,
      offsets: [...offsets].map(([partition, offset]) => ({ topic, partition, offset })),
    })
  const receive = (message: KafkaMessage): number => {
    receivedTo.set(message.partition, message.offset + 1n)
    return received.push(message)
  }
  return {
    partitions,
    async begin() {
      const startedIn = ++epoch
      received.clear()
      const former = messages
      messages = undefined
      former?.destroy()
      const assigned = partitions()
      positions.clear()
      receivedTo.clear()
      if (assigned.length === 0) return
      const stable = await stableOffsets(admin, group, topic, assigned)
      if (startedIn !== epoch) return
      for (const [partition, offset] of stable) {
        positions.set(partition, offset)
        receivedTo.set(partition, offset)
      }
      const opened = await startAt(stable)
      if (startedIn !== epoch) {
        opened.destroy()
        return
      }
      messages = opened
      opened.on('error', (error) => {
        if (startedIn === epoch) fail(error)
      })
      opened.on('data', (message) => {
        // Fetched while the consumer joins the group again: its commit could not name a member. The record is delivered again afterwards.
        const { memberId } = message.metadata['consumer'] as { memberId: string | null }
        if (startedIn !== epoch || memberId === null) return
        if (receive(message) >= maxBuffered) opened.pause()
      })
    },
    end() {
      epoch++
      messages?.destroy()
    },
    epoch: () => epoch,
    resume() {
      if (received.count() < maxBuffered / 2 && messages?.isPaused()) messages.resume()
    },
    committed(lasts) {
      for (const { partition, offset } of lasts) positions.set(partition, offset + 1n)
    },
    positionOf(partition) {
      const committed = positions.get(partition)
      const isDone = receivedTo.get(partition) === committed && messages?.readableLength === 0
      return (isDone ? messages?.offsetsToFetch.get(`${topic}:${partition}`) : undefined) ?? committed ?? 0n
    },
  }
}

/** Returns the committed offsets once no open transaction can change them. A partition without an offset begins at its first record. */
async function stableOffsets(
  admin: Admin,
  group: string,
  topic: string,
  partitions: number[],
): Promise<Map<number, bigint>> {
  const topics = [{ name: topic, partitionIndexes: partitions }]
  for (;;) {
    try {
      const [found] = await admin.listConsumerGroupOffsets({
        groups: [{ groupId: group, topics }],
        requireStable: true,
      })
      const given = found?.topics.find(({ name }) => name === topic)?.partitions ?? []
      return new Map(
        given.flatMap(({ partitionIndex, committedOffset }) =>
          committedOffset < 0n ? [] : [[partitionIndex, committedOffset]],
        ),
      )
    } catch (error) {
      if (!findErrorBy(error as Error, 'apiId', 'UNSTABLE_OFFSET_COMMIT')) throw error
      await pause(50)
    }
  }
}
