/** How often other systems are tried, for how long, and what is given up. */
import type { IntegrationItem } from '../../store/integrations/outbox.ts'
import { isRequestRefusal } from './http-request.ts'

/** Of a month at most: what could not be told by then is given up, and so is sooner what is refused again and again. */
export const mirrorPolicy = {
  pollMs: 2_000,
  leaseMs: 120_000,
  atOnce: 20,
  firstPauseMs: 1_000,
  longestPauseMs: 600_000,
  keptMs: 30 * 86_400_000,
  refusals: 8,
  /** People are told when the oldest has waited for so long. */
  lateMs: 3_600_000,
  lookMs: 60_000,
}
export type MirrorPolicy = typeof mirrorPolicy

const mendable: ReadonlySet<number> = new Set([401, 403, 404, 408, 429])

/** Nothing when it is given up. A key that does not open, an address that is wrong and a busy server may all be mended. */
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
