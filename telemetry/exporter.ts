/**
 * Sends batches to a collector in the background. The queue is bounded: while the collector is unreachable, the newest entries are dropped
 * and counted.
 */
import { boundedText } from '../store/bounded-text.ts'
import { outgoingFetch } from '../store/outgoing-fetch.ts'
import type { Signal, TelemetrySettings } from './settings.ts'

export interface Exporter<T> {
  add(entry: T): void
  /** Sends the queued entries, within the timeout of one request. */
  stop(): Promise<void>
}

export interface ExportCounts {
  sent: number
  dropped: number
}

export type CountsOfSignals = Record<Signal, ExportCounts>

export const noCounts = (): CountsOfSignals => ({
  traces: { sent: 0, dropped: 0 },
  metrics: { sent: 0, dropped: 0 },
  logs: { sent: 0, dropped: 0 },
})

const maxAnswerBytes = 1_000

/** Throws if the collector has not accepted the signal. */
export async function postSignal(
  { urls, headers, timeoutMs }: TelemetrySettings,
  signal: Signal,
  body: object,
): Promise<void> {
  const answer = await outgoingFetch(urls[signal]!, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  const text = await boundedText(answer, maxAnswerBytes)
  if (!answer.ok) throw new Error(`the collector responded ${answer.status}: ${text}`)
}

export interface ExporterOptions<T> {
  settings: TelemetrySettings
  signal: Signal
  counts: ExportCounts
  encode(batch: readonly T[]): object
  onError(error: unknown): void
}

export function createExporter<T>({
  settings,
  signal,
  counts,
  encode,
  onError,
}: ExporterOptions<T>): Exporter<T> {
  const { delayMs, maxQueued, maxBatch } = settings
  let waiting: T[] = []
  let isAway = false
  let timer: NodeJS.Timeout | undefined
  let sending: Promise<void> | undefined
  const send = async (): Promise<void> => {
    const batch = waiting.slice(0, maxBatch)
    waiting = waiting.slice(maxBatch)
    try {
      await postSignal(settings, signal, encode(batch))
      counts.sent += batch.length
      isAway = false
    } catch (error) {
      // Not retried: the next batch shows whether the collector is back.
      counts.dropped += batch.length
      // Reported once, because the log line about it would also be sent to the collector.
      if (!isAway) onError(error)
      isAway = true
    }
  }
  const plan = (): void => {
    if (sending !== undefined || timer !== undefined) return
    timer = setTimeout(flush, delayMs)
    timer.unref()
  }
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (sending !== undefined || waiting.length === 0) return
    sending = send().finally(() => {
      sending = undefined
      if (waiting.length >= maxBatch) flush()
      else if (waiting.length > 0) plan()
    })
  }
  return {
    add(entry) {
      if (waiting.length >= maxQueued) {
        counts.dropped++
        return
      }
      waiting.push(entry)
      if (waiting.length >= maxBatch) flush()
      else plan()
    },
    async stop() {
      const untilMs = performance.now() + settings.timeoutMs
      while (sending !== undefined || waiting.length > 0) {
        if (performance.now() > untilMs) break
        flush()
        await sending
      }
      clearTimeout(timer)
    },
  }
}
