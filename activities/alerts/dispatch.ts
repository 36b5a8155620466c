/**
 * Delivers alert notifications for the workflow `alerts` and records a heartbeat. Replicas deliver the notifications while the heartbeat
 * is stale.
 */
import { deliverAlerts } from './delivery/deliver.ts'
import { writeDeliverySign } from '../../store/monitoring/notifications.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'

/**
 * Returns the number of delivered messages. `forMs`: how long one activity dispatches before the workflow starts the next; `everyMs`:
 * the polling interval without a notification from Postgres.
 */
export const dispatchAlerts =
  (deps: Deps, { forMs = 600_000, everyMs = 5_000 }: { forMs?: number; everyMs?: number } = {}) =>
  (): Promise<number> =>
    withHeartbeat(async (beat) => {
      const until = performance.now() + forMs
      let sent = 0
      // A notification that arrives during a dispatch is kept for the wait after it.
      let isNew = false
      const unlisten = deps.store.listen('tenure_alerts', () => (isNew = true))
      try {
        while (performance.now() < until) {
          sent += await deliverAlerts(deps)
          await writeDeliverySign(deps.store)
          beat.check()
          const nextAt = performance.now() + everyMs
          while (!isNew && performance.now() < nextAt) await beat.sleep(Math.min(100, everyMs))
          isNew = false
        }
      } finally {
        await unlisten()
      }
      return sent
    })
