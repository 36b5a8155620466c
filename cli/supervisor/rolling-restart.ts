/**
 * Restarts the API replicas one after the other: the next one only when the one before answers its golden rows again, so
 * that there is always somebody on the port they share.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Supervision } from './supervisor.ts'

export interface RestartOptions {
  supervision: Pick<Supervision, 'restart'>
  /** Of each replica alone, in their order. */
  urls: readonly string[]
  say: (line: string) => void
}

const readyMs = 30_000
const pollMs = 25

/** The name of a replica in the supervisor and in the log, from 0. */
export const replicaName = (index: number): string => (index === 0 ? 'api' : `api-${index + 1}`)

/** Whether all were restarted; it stops at the first that does not come back. */
export async function restartReplicas({ supervision, urls, say }: RestartOptions): Promise<boolean> {
  for (const [index, url] of urls.entries()) {
    const name = replicaName(index)
    try {
      await supervision.restart(name)
      await untilReady(url)
    } catch (error) {
      say(`${name} did not come back (${(error as Error).message}); the others are left as they are`)
      return false
    }
  }
  say('every API replica was restarted')
  return true
}

async function untilReady(url: string): Promise<void> {
  const until = performance.now() + readyMs
  for (;;) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer?.status === 200) return
    if (performance.now() > until) throw new Error(`it was not ready within ${readyMs} ms`)
    await pause(pollMs)
  }
}
