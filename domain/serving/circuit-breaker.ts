/**
 * Stops the candidate inside the serving process: counts one replica's own requests of the candidate and opens when its failures are
 * certain (K4). The judge runs every few seconds, in which a candidate that fails every request would harm hundreds of requests. It gets
 * no further requests from a replica that has dropped the candidate, so it is told of the breakers.
 */
import { thresholdFor } from '../sequential/alpha-split.ts'
import { guardTest } from '../sequential/one-arm-rate-test.ts'
import type { Reason } from '../verdict.ts'

export interface Breaker {
  /** Counts consecutive successful requests. */
  good(requests: number): void
  /** Counts one failed request; returns whether the breaker is open. Once open it stays open. */
  bad(): boolean
  /** Begins the test again beside the older starts; called at each tick, so that a late fault is found as fast. */
  restart(): void
  isOpen(): boolean
}

/** `limit` is the tolerated failure rate, 0..0.95; `alpha` the probability of ever opening at that rate. */
export function breaker(limit: number, alpha: number): Breaker {
  const test = guardTest(limit)
  const threshold = thresholdFor(alpha)
  let pending = 0
  let open = false
  return {
    good(requests) {
      pending += requests
    },
    bad() {
      if (open) return true
      test.add(pending + 1, 1)
      pending = 0
      open = test.logE() >= threshold
      return open
    },
    restart() {
      test.add(pending, 0)
      pending = 0
      test.restart()
    },
    isOpen: () => open,
  }
}

export interface BreakerCounts {
  /** Replicas that have dropped the candidate, because its failures there were certain. */
  open: number
  /** Replicas that serve the candidate or have dropped it. */
  replicas: number
}

/**
 * Whether the open breakers are certain enough for a rollback; null while none is open. Each has reached twice the evidence that they
 * need together (`breakerAlpha`), so that their mean reaches it where half of the replicas have dropped the candidate. Fewer hold the stage: the
 * other replicas serve the candidate on, and may tell otherwise.
 */
export function breakerReason(
  counts: BreakerCounts | undefined,
): { isCertain: boolean; reason: Reason } | null {
  if (counts === undefined || counts.open === 0) return null
  const { open, replicas } = counts
  const message = `${open} of ${replicas} replicas dropped the candidate: their circuit breakers opened on its failed requests`
  return { isCertain: 2 * open >= replicas, reason: { code: 'breaker', message, values: { open, replicas } } }
}
