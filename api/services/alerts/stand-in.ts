/**
 * Delivers alerts while the control worker does not: it was killed or is frozen, or Temporal is unreachable. Every replica does so,
 * because each notification is claimed by one sender.
 */
import type { DeliveryDeps } from '../../../activities/alerts/delivery/deliver.ts'
import { isDelivering } from '../../../store/monitoring/notifications.ts'
import { startLoop, type Loop } from '../../serving/poll-loop.ts'

/** The control worker records a sign every five seconds, or later when a channel takes ten seconds to fail. */
const standInPolicy = { everyMs: 5_000, silentMs: 20_000 }

export function standInForDelivery(
  deps: DeliveryDeps & { log: { info(fields: Record<string, unknown>, message: string): void } },
  onError: (what: string, error: unknown) => void,
  { everyMs, silentMs } = standInPolicy,
): Loop {
  let standsIn = false
  const work = async (): Promise<void> => {
    const wasIn = standsIn
    standsIn = !(await isDelivering(deps.store, silentMs))
    if (standsIn !== wasIn)
      deps.log.info(
        { silentMs },
        standsIn ? 'delivering alerts for the control worker' : 'the control worker delivers alerts',
      )
    if (!standsIn) return
    // Loaded when needed, because a replica has no other use for the code of the channels.
    const { deliverAlerts } = await import('../../../activities/alerts/delivery/deliver.ts')
    await deliverAlerts(deps)
  }
  return startLoop(work, { everyMs, onError: (error) => onError('alerts could not be delivered', error) })
}
