/**
 * Sends records in batches that the broker takes. The client sends all records for a partition as one batch, and the limit of a batch
 * (`max.message.bytes`) differs between topics. A refusal teaches the limit. The producer cannot continue after one, so the caller sends all
 * records again by another producer.
 */
import { findErrorBy } from '@platformatic/kafka'
import { defaultBatchBytes, sizeOfRecord, type SentRecord } from '../stream.ts'

export interface SizeLimits {
  /** Sends the records, in their order. Throws the error of the first batch that is refused. */
  send(
    records: readonly SentRecord[],
    send: (batch: readonly SentRecord[]) => Promise<unknown>,
  ): Promise<void>
  takes(record: SentRecord): boolean
}

export function createSizeLimits(): SizeLimits {
  let batchBytes = defaultBatchBytes
  const recordBytes = new Map<string, number>()
  const learnFrom = (batch: readonly SentRecord[]): void => {
    const [first, ...others] = batch
    if (others.length > 0) batchBytes = Math.min(batchBytes, Math.ceil(sizeOfAll(batch) / 2))
    else recordBytes.set(first!.topic, sizeOfRecord(first!) - 1)
  }
  return {
    async send(records, send) {
      for (const batch of batchesWithin(records, batchBytes))
        await send(batch).catch((error: unknown) => {
          if (isTooLarge(error)) learnFrom(batch)
          throw error
        })
    },
    takes: (record) => sizeOfRecord(record) <= (recordBytes.get(record.topic) ?? Infinity),
  }
}

const isTooLarge = (error: unknown): boolean =>
  ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'].some(
    (id) => findErrorBy(error as Error, 'apiId', id) !== null,
  )

const sizeOfAll = (records: readonly SentRecord[]): number =>
  records.reduce((sum, record) => sum + sizeOfRecord(record), 0)

/** Divides records into batches of at most this size, in their order. A larger record is a batch by itself. */
function* batchesWithin(records: readonly SentRecord[], maxBytes: number): Generator<SentRecord[]> {
  let batch: SentRecord[] = []
  let bytes = 0
  for (const record of records) {
    const size = sizeOfRecord(record)
    if (batch.length > 0 && bytes + size > maxBytes) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(record)
    bytes += size
  }
  if (batch.length > 0) yield batch
}
