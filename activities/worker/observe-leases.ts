/**
 * Reads the leases of all replicas again and again, because an acknowledgement waits for a replica that is silent until this process has observed
 * it for a lease. Without it, each rollback by the worker would wait for a replica that died long before.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Deps } from '../deps.ts'
import { listRecentReplicas } from '../../store/serving/routing.ts'

const everyMs = 2_000

/** Ends with the signal. */
export async function observeLeases(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    // Without an answer, the next acknowledgement waits longer.
    await listRecentReplicas(store).catch((error: unknown) =>
      log.debug({ error: String(error) }, 'the leases of the replicas were not read'),
    )
    await pause(everyMs, undefined, { signal, ref: false }).catch(() => {})
  }
}
