/** Limits an error that repeats many times per second to one log line in ten seconds, with the number of repetitions. */
import type { ApiLog } from '../deps.ts'

const everyMs = 10_000

export function createThrottledLog(log: ApiLog, now: () => number = () => performance.now()) {
  const logged = new Map<string, { at: number; repeated: number }>()
  return (what: string, error?: unknown): void => {
    const last = logged.get(what)
    if (last !== undefined && now() - last.at < everyMs) {
      last.repeated++
      return
    }
    logged.set(what, { at: now(), repeated: 0 })
    const cause = error instanceof Error ? error.message : undefined
    log.warn({ cause, repeated: last?.repeated ?? 0 }, what)
  }
}
