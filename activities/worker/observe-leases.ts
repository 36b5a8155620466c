/**
 * Reads the leases of all replicas periodically. An acknowledgement waits for a silent replica until this process has observed it for a
 * whole lease; without these reads, each rollback by the worker would wait for a replica that died long ago.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Deps } from '../deps.ts'
import { listRecentReplicas } from '../../store/serving/replicas.ts'

const everyMs = 2_000

/** Ends with the signal. */
export async function observeLeases(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    // After a failed read, the next acknowledgement waits longer.
    await listRecentReplicas(store).catch((error: unknown) =>
      log.debug({ error: String(error) }, 'the leases of the replicas were not read'),
    )
    await pause(everyMs, undefined, { signal, ref: false }).catch(() => {})
  }
}
