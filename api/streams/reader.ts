/**
 * Reads a topic for as long as the process runs: a batch is handled, then committed with what it caused, in the order of the batches. Three steps
 * overlap: one batch is asked for its answers, the one before waits for the log, and the broker commits the one before that. A lost connection is
 * opened anew.
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
  /**
   * What the records of a batch cause; undefined when the batch is lost or the process stops first. `begun` is called when the next batch may be handled
   * while this one waits; without a call, its end says so.
   */
  handle(batch: StreamBatch, begun: () => void): Promise<AnsweredBatch | undefined>
  onError(message: string, error: unknown): void
  stopping: AbortSignal
}

const maxBatch = 2_000
/** Batches that are handled and not committed yet, behind the one that is. */
const maxBehind = 2
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
  const interrupted = new AbortController()
  const signal = AbortSignal.any([stopping, interrupted.signal])
  /**
   * Commits a batch behind the former one. False when the process has stopped in a batch: no later one is committed then, because the group would pass it.
   * A batch behind a lost one is lost as well, and its commit says so.
   */
  const commitBehind = async (
    former: Promise<boolean> | undefined,
    batch: StreamBatch,
    handled: Promise<AnsweredBatch | undefined>,
  ): Promise<boolean> => {
    const answered = await handled
    if ((await former) === false) return false
    if (answered === undefined) return batch.isLost()
    await commit(batch, answered)
    return true
  }
  const commits: Promise<boolean>[] = []
  try {
    while (!signal.aborted) {
      const batch = await subscription.next(maxBatch, signal)
      if (batch.records.length === 0) continue
      await new Promise<void>((begun) => {
        const handled = handle(batch, begun)
        const committed = commitBehind(commits.at(-1), batch, handled)
        commits.push(committed)
        handled.then(
          () => begun(),
          () => begun(),
        )
        // Awaited below, which may be later than it fails.
        committed.catch(() => interrupted.abort())
      })
      if (commits.length > maxBehind) await commits.shift()
    }
    await Promise.all(commits)
  } finally {
    clearInterval(timer)
    await Promise.allSettled(commits)
    await subscription.close().catch((error: unknown) => onError('a stream could not be closed', error))
  }
}
