/**
 * Creates a consumer that skips the records of aborted transactions by the rule of Kafka's own consumer. The consumer of
 * @platformatic/kafka 2.12.1 tracks one transaction per producer. When a producer has aborted several within one fetch, it returns some
 * aborted records and skips committed ones. It also returns the records of a transaction that ends after the fetch.
 * `test/api/streams/kafka.test.ts` fails when the library is fixed; then delete this file.
 */
import {
  Consumer,
  IS_CONTROL,
  IS_TRANSACTIONAL,
  kGetApi,
  type ConsumerOptions,
  type fetchV17,
} from '@platformatic/kafka'

type FetchedPartition = fetchV17.FetchResponse['responses'][number]['partitions'][number]
type FetchedBatch = NonNullable<FetchedPartition['records']>[number]
/** Sends a request to a broker; the last argument receives the response. */
type Api = ((...args: unknown[]) => void) & { async: unknown; key: number; version: number }
type Received<T> = (error: Error | null, response?: T) => void

export function createCommittedConsumer<
  Key = Buffer,
  Value = Buffer,
  HeaderKey = Buffer,
  HeaderValue = Buffer,
>(
  options: ConsumerOptions<Key, Value, HeaderKey, HeaderValue>,
): Consumer<Key, Value, HeaderKey, HeaderValue> {
  const consumer = new Consumer(options)
  const getApi = consumer[kGetApi].bind(consumer)
  return Object.assign(consumer, {
    /** Corrects the response before the consumer reads it. */
    [kGetApi](name: string, callback: Received<never>): void {
      getApi(name, (error, api) => {
        const given: unknown = name === 'Fetch' && api !== undefined ? withoutAborted(api as Api) : api
        callback(error, given as never)
      })
    },
  })
}

function withoutAborted(fetch: Api): Api {
  const corrected = (...args: unknown[]): void => {
    const received = args.pop() as Received<fetchV17.FetchResponse>
    fetch(...args, (error: Error | null, response?: fetchV17.FetchResponse) => {
      for (const { partitions } of response?.responses ?? []) for (const each of partitions) dropAborted(each)
      received(error, response)
    })
  }
  return Object.assign(corrected, { async: fetch.async, key: fetch.key, version: fetch.version })
}

/**
 * Empties the batches of aborted transactions. The batches themselves stay, because the consumer continues after the last batch that it
 * sees.
 */
export function dropAborted(partition: Pick<FetchedPartition, 'abortedTransactions' | 'records'>): void {
  const { abortedTransactions, records } = partition
  if (!abortedTransactions?.length || !records) return
  const beginnings = abortedTransactions.toSorted((one, other) =>
    one.firstOffset < other.firstOffset ? -1 : 1,
  )
  /** The producers whose current transaction was aborted. */
  const aborting = new Set<bigint>()
  let begun = 0
  for (const batch of records) {
    const lastOffset = batch.firstOffset + BigInt(batch.lastOffsetDelta)
    for (; begun < beginnings.length && beginnings[begun]!.firstOffset <= lastOffset; begun++)
      aborting.add(beginnings[begun]!.producerId)
    if (batch.attributes & IS_CONTROL) {
      if (isAbort(batch)) aborting.delete(batch.producerId)
    } else if (batch.attributes & IS_TRANSACTIONAL && aborting.has(batch.producerId)) batch.records = []
  }
  // Stops the consumer from applying its own rule as well.
  partition.abortedTransactions = []
}

/** Whether a control record is an abort. Its key holds the version and the type, which is 0 for an abort. */
const isAbort = ({ records }: FetchedBatch): boolean => records[0]?.key?.readInt16BE(2) === 0
