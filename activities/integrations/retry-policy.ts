/** Decides when a delivery to another system is retried and when it is dropped. */
import type { IntegrationItem } from '../../store/integrations/outbox.ts'
import { isRequestRefusal } from './http-request.ts'

/** Deliveries are dropped after a month, and sooner after repeated rejections. */
export const mirrorPolicy = {
  pollMs: 2_000,
  leaseMs: 120_000,
  atOnce: 20,
  firstPauseMs: 1_000,
  longestPauseMs: 600_000,
  keptMs: 30 * 86_400_000,
  refusals: 8,
  /** An alert is raised when the oldest delivery has waited this long. */
  lateMs: 3_600_000,
  lookMs: 60_000,
}
export type MirrorPolicy = typeof mirrorPolicy

const mendable: ReadonlySet<number> = new Set([401, 403, 404, 408, 429])

/** Undefined when the delivery is dropped. A wrong key, a wrong address or a busy server can be fixed, so those are retried. */
export function againAfter(
  { attempts, ageMs }: IntegrationItem,
  error: unknown,
  policy: MirrorPolicy,
): number | undefined {
  const isRefused = isRequestRefusal(error) && error.status < 500 && !mendable.has(error.status)
  if (ageMs > policy.keptMs || (isRefused && attempts + 1 >= policy.refusals)) return undefined
  return pauseMs(attempts + 1, policy)
}

export const pauseMs = (times: number, { firstPauseMs, longestPauseMs }: MirrorPolicy): number =>
  Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(times - 1, 20))
