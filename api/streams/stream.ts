/**
 * Defines what a message broker does for Tenure: records are read in groups, and what they cause is sent in the same step that moves the
 * group past them. Each broker implements it in a file of its own, and `test/api/streams/` holds all of them to the same tests.
 */
import type { HeaderSource } from '../serving/request/protocol.ts'

export interface Stream {
  /** Joins the group that shares the records of a topic. `onError` receives what the subscription survives. */
  subscribe(source: StreamSource): Promise<Subscription>
  /** Sends records, at least once. */
  produce(records: readonly SentRecord[]): Promise<void>
  close(): Promise<void>
}

export interface StreamSource {
  topic: string
  group: string
  /** Distinguishes the members of a group. The same process has the same name after a restart. */
  member: string
}

/** One member's part of a topic. */
export interface Subscription {
  /**
   * The next records, each partition in order, at most `max`; where the broker does not keep it, records that come again come later. Waits for the first one; resolves without records when `signal` aborts.
   * Rejects when the connection is lost; a new subscription then begins after the last commit.
   */
  next(max: number, signal: AbortSignal): Promise<StreamBatch>
  /**
   * Sends the records and moves the group past the batch, both or neither. False when neither happened, because another member reads these
   * records now or they will come again here. Rejects when the connection is lost.
   */
  commit(batch: StreamBatch, records: readonly SentRecord[]): Promise<boolean>
  /** Records that the group has not passed, in the part of this member. */
  lag(): Promise<number>
  close(): Promise<void>
}

export interface StreamBatch {
  records: readonly StreamRecord[]
  /** Whether its records belong to another member by now, so that work on them is lost. */
  isLost(): boolean
}

export interface StreamRecord extends HeaderSource {
  key: Buffer | undefined
  value: Buffer
  /** `topic/partition/offset`, the same at each delivery. */
  place: string
  /** When it was written, in milliseconds since 1970: a topic that is created again repeats its places. */
  atMs: number
  /** Whether the broker delivers it again, perhaps behind records that came later; absent where it does not say. */
  isRepeated?: boolean
}

export interface SentRecord {
  topic: string
  key: Buffer | undefined
  value: Buffer
  headers: Readonly<Record<string, string>>
  /** The same when the record is sent again. */
  id: string
}

/** Of what a group sends for a record: the same at each delivery, and another one in a topic that is created again. */
export const idOfSent = (group: string, { place, atMs }: Pick<StreamRecord, 'place' | 'atMs'>): string =>
  `${group}/${place}/${atMs}`
