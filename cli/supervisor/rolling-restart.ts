/** Restarts the API replicas one by one, each after the previous one is ready, so that the shared port always has a listener. */
import { setTimeout as pause } from 'node:timers/promises'
import type { ApiFetch } from '../../store/tls/api-fetch.ts'
import type { Supervision } from './supervisor.ts'

export interface RestartOptions {
  supervision: Pick<Supervision, 'restart'>
  /** Address of each replica, in order. */
  urls: readonly string[]
  say: (line: string) => void
  call?: ApiFetch
}

const readyMs = 30_000
const pollMs = 25

/** Returns the name of a replica in the supervisor and the log. `index` starts at 0. */
export const replicaName = (index: number): string => (index === 0 ? 'api' : `api-${index + 1}`)

/** Restarts the replicas and returns whether all restarted. Stops at the first failure. */
export async function restartReplicas(options: RestartOptions): Promise<boolean> {
  const { supervision, urls, say, call } = options
  for (const [index, url] of urls.entries()) {
    const name = replicaName(index)
    try {
      await supervision.restart(name)
      await untilOk(`${url}/readyz`, { call })
    } catch (error) {
      say(
        `${name} failed to restart (${(error as Error).message}); the remaining replicas were not restarted`,
      )
      return false
    }
  }
  say('all API replicas restarted')
  return true
}

/** Throws if the address does not respond with 200 in time. */
export async function untilOk(
  address: string,
  { maxMs = readyMs, call = fetch }: { maxMs?: number; call?: ApiFetch } = {},
): Promise<void> {
  const until = performance.now() + maxMs
  for (;;) {
    const answer = await call(address, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer?.status === 200) return
    if (performance.now() > until) throw new Error(`${address} did not answer 200 within ${maxMs} ms`)
    await pause(pollMs)
  }
}
