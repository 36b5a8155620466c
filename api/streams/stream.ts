/**
 * Defines what a message broker does for Tenure: it delivers records to groups, and sends the answers in the same step that commits the
 * records. Each broker has its own implementation, and `test/api/streams/` runs the same tests on all of them.
 */
import type { HeaderSource } from '../serving/request/protocol.ts'

export interface Stream {
  /** Joins the group that shares the records of a topic. `onError` receives errors that do not end the subscription. */
  subscribe(source: StreamSource): Promise<Subscription>
  /** Sends records, each at least once. */
  produce(records: readonly SentRecord[]): Promise<void>
  close(): Promise<void>
}

export interface StreamSource {
  topic: string
  group: string
  /** Identifies a member of the group. The same process has the same name after a restart. */
  member: string
}

/** The partitions of a topic that one member reads. */
export interface Subscription {
  /**
   * Returns the next records, at most `max`, each partition in order; a broker that does not keep the order delivers repeated records
   * later. Waits for the first record; returns none when `signal` aborts. Rejects when the connection is lost; a new subscription then
   * starts after the last commit.
   */
  next(max: number, signal: AbortSignal): Promise<StreamBatch>
  /**
   * Sends the records and commits the batch, both or neither. Returns false when neither happened, because another member reads these
   * records now or they are delivered here again. Rejects when the connection is lost.
   */
  commit(batch: StreamBatch, records: readonly SentRecord[]): Promise<boolean>
  /** Whether the broker takes a record of this size; true until it has refused one. */
  takes(record: SentRecord): boolean
  /** Returns the number of records that the group has not committed, in the partitions of this member. */
  lag(): Promise<number>
  close(): Promise<void>
}

export interface StreamBatch {
  records: readonly StreamRecord[]
  /** Whether another member has taken over the records, so that work on them is lost. */
  isLost(): boolean
}

export interface StreamRecord extends HeaderSource {
  key: Buffer | undefined
  value: Buffer
  /** `topic/partition/offset`; the same at each delivery. */
  place: string
  /** When the record was written, in milliseconds since 1970. A topic that is deleted and created again reuses its positions. */
  atMs: number
}

export interface SentRecord {
  topic: string
  key: Buffer | undefined
  value: Buffer
  headers: Readonly<Record<string, string>>
  /** The id of the record; the same when it is sent again. */
  id: string
  /** What is sent in its place when the broker takes no record of this size. */
  instead?: () => SentRecord
}

/** Returns the id of an answer: the same at each delivery of the record, and another one in a topic that is created again. */
export const idOfSent = (group: string, { place, atMs }: Pick<StreamRecord, 'place' | 'atMs'>): string =>
  `${group}/${place}/${atMs}`

/** Brokers refuse a message or a batch of more than a megabyte, unless they are configured otherwise. */
export const defaultBatchBytes = 800_000

/** The bytes around a record and around a header, at most. */
const [frameBytes, headerBytes] = [100, 4]

/** The size of a record on its way to the broker, rounded up. */
export function sizeOfRecord({ key, value, headers, id }: SentRecord): number {
  const fields = Object.entries(headers).reduce(
    (sum, [name, text]) => sum + name.length + Buffer.byteLength(text) + headerBytes,
    0,
  )
  return frameBytes + value.byteLength + (key?.byteLength ?? 0) + id.length + fields
}

/** Returns the record, or what is sent in its place when the broker takes no record of its size. */
export function fitting({ takes }: Pick<Subscription, 'takes'>, record: SentRecord): SentRecord {
  let sent = record
  while (sent.instead !== undefined && !takes(sent)) sent = sent.instead()
  return sent
}
