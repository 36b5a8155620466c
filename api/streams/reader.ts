/**
 * Reads a topic for as long as the process runs: a batch is handled, then committed with what it caused. The next batch is handled while the
 * broker commits. A lost connection is opened anew.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { reasonOf } from '../../domain/errors.ts'
import type { StreamCount } from './counts.ts'
import type { AnsweredBatch } from './predictions.ts'
import type { StreamSource, Stream, StreamBatch } from './stream.ts'

export interface ReaderOptions {
  stream: Stream
  source: StreamSource
  count: StreamCount
  /** What the records of a batch cause; undefined when the batch is lost or the process stops first. */
  handle(batch: StreamBatch): Promise<AnsweredBatch | undefined>
  onError(message: string, error: unknown): void
  stopping: AbortSignal
}

const maxBatch = 2_000
const reopenMs = 500
const lagMs = 2_000

/** Resolves when `stopping` aborts and what is under way is committed. */
export async function readTopic(options: ReaderOptions): Promise<void> {
  const { source, stopping, onError, count } = options
  while (!stopping.aborted) {
    try {
      await readOnce(options)
    } catch (error) {
      onError(`the stream of ${source.topic} is interrupted and begins again: ${reasonOf(error)}`, error)
      count.waitsFor = 'broker'
      await pause(reopenMs, undefined, { signal: stopping }).catch(() => undefined)
    }
  }
}

async function readOnce({ stream, source, count, handle, stopping, onError }: ReaderOptions): Promise<void> {
  const subscription = await stream.subscribe(source)
  count.waitsFor = undefined
  const measure = (): void =>
    void subscription.lag().then(
      (lag) => (count.lag = lag),
      () => undefined,
    )
  const timer = setInterval(measure, lagMs)
  const commit = async (batch: StreamBatch, { sent, dead }: AnsweredBatch): Promise<void> => {
    if (!(await subscription.commit(batch, sent))) return
    count.dead += dead
    count.done += batch.records.length - dead
  }
  let committing = Promise.resolve()
  try {
    while (!stopping.aborted) {
      const batch = await subscription.next(maxBatch, stopping)
      if (batch.records.length === 0) continue
      const handled = await handle(batch)
      // In order: a batch whose former one was not committed is lost as well, and its commit says so.
      await committing
      if (handled === undefined) continue
      committing = commit(batch, handled)
      // It is awaited above and below, which may be later than it fails.
      committing.catch(() => undefined)
    }
    await committing
  } finally {
    clearInterval(timer)
    await committing.catch(() => undefined)
    await subscription.close().catch((error: unknown) => onError('a stream could not be closed', error))
  }
}
