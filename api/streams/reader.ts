/**
 * Reads a topic while the process runs. A batch is handled, then committed with its answers, in the order of the batches. Three steps
 * overlap: one batch is being answered, the one before it waits for the log, and the broker commits the one before that. A lost connection
 * is opened again.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { reasonOf } from '../../domain/errors.ts'
import type { StreamCount } from './counts.ts'
import type { AnsweredBatch } from './predictions.ts'
import { fitting, type StreamSource, type Stream, type StreamBatch } from './stream.ts'

export interface ReaderOptions {
  stream: Stream
  source: StreamSource
  count: StreamCount
  /**
   * Handles a batch and returns the records to send; undefined when the batch is lost or the process stops first. Calls `begun` when the
   * next batch may start; otherwise the next one starts after this one.
   */
  handle(batch: StreamBatch, begun: () => void): Promise<AnsweredBatch | undefined>
  onError(message: string, error: unknown): void
  stopping: AbortSignal
  /** How often the broker is asked for the lag. */
  lagEveryMs?: number
}

const maxBatch = 2_000
/** The maximum number of handled batches that are not committed yet, besides the current one. */
const maxBehind = 2
const reopenMs = 500

/** Reads until `stopping` aborts. Resolves when the records in progress are committed. */
export async function readTopic(options: ReaderOptions): Promise<void> {
  const { source, stopping, onError, count } = options
  while (!stopping.aborted) {
    try {
      await readOnce(options)
    } catch (error) {
      onError(`the stream of ${source.topic} is interrupted and begins again: ${reasonOf(error)}`, error)
      count.waitsFor = 'broker'
      count.lag = undefined
      await pause(reopenMs, undefined, { signal: stopping }).catch(() => undefined)
    }
  }
}

async function readOnce({
  stream,
  source,
  count,
  handle,
  stopping,
  onError,
  lagEveryMs = 2_000,
}: ReaderOptions): Promise<void> {
  const subscription = await stream.subscribe(source)
  count.waitsFor = undefined
  const interrupted = new AbortController()
  const signal = AbortSignal.any([stopping, interrupted.signal])
  let isMeasuring = false
  /** Also finds a broker that is away from a client that only waits until it is connected again. */
  const measure = (): void => {
    if (isMeasuring) return
    isMeasuring = true
    const found = (lag: number | undefined, isAway: boolean): void => {
      isMeasuring = false
      if (signal.aborted) return
      count.lag = lag
      if (isAway) count.waitsFor ??= 'broker'
      else if (count.waitsFor === 'broker') count.waitsFor = undefined
    }
    subscription.lag().then(
      (lag) => found(lag, false),
      () => found(undefined, true),
    )
  }
  const timer = setInterval(measure, lagEveryMs)
  const commit = async (batch: StreamBatch, answered: AnsweredBatch): Promise<void> => {
    const sent = answered.sent.map((record) => fitting(subscription, record))
    if (!(await subscription.commit(batch, sent))) return
    // An answer that is too large has become a dead letter.
    const dead = answered.dead + sent.filter(({ topic }, at) => topic !== answered.sent[at]!.topic).length
    count.dead += dead
    count.done += batch.records.length - dead
  }
  /**
   * Commits a batch after the one before it. Returns false when the process stopped within a batch. Then no later batch is committed,
   * because the group would skip the unanswered records. A batch after a lost one is lost as well, and its commit reports that.
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
        // Handled here, because the promise may fail before it is awaited below.
        committed.catch(() => interrupted.abort())
      })
      if (commits.length > maxBehind) await commits.shift()
    }
    await Promise.all(commits)
  } finally {
    interrupted.abort()
    clearInterval(timer)
    await Promise.allSettled(commits)
    await subscription.close().catch((error: unknown) => onError('a stream could not be closed', error))
  }
}
