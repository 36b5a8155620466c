/** Troubles that repeat many times a second while a server is away, said once in ten seconds each, with how often they came. */
import type { ApiLog } from '../deps.ts'

const everyMs = 10_000

export function createThrottledLog(log: ApiLog, now: () => number = () => performance.now()) {
  const said = new Map<string, { at: number; unsaid: number }>()
  return (what: string, error?: unknown): void => {
    const last = said.get(what)
    if (last !== undefined && now() - last.at < everyMs) {
      last.unsaid++
      return
    }
    said.set(what, { at: now(), unsaid: 0 })
    const cause = error instanceof Error ? error.message : undefined
    log.warn({ cause, repeated: last?.unsaid ?? 0 }, what)
  }
}
