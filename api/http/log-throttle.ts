/** Limits an error that repeats many times per second to one log line in ten seconds, with the number of repetitions. */
import type { ApiLog } from '../deps.ts'

const everyMs = 10_000

export function createThrottledLog(log: ApiLog) {
  const logged = new Map<string, { at: number; repeated: number }>()
  return (what: string, error?: unknown): void => {
    const last = logged.get(what)
    const at = performance.now()
    if (last !== undefined && at - last.at < everyMs) {
      last.repeated++
      return
    }
    logged.set(what, { at, repeated: 0 })
    const cause = error instanceof Error ? error.message : undefined
    log.warn({ cause, repeated: last?.repeated ?? 0 }, what)
  }
}
