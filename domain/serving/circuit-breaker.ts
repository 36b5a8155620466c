/**
 * Stops the candidate inside the serving process. Counts one replica's own requests to the candidate and opens when its failures are
 * statistically certain (`one-arm-rate-test.ts`). The judge runs only every few seconds, in which a failing candidate would harm hundreds of requests. A
 * replica that has dropped the candidate sends it no more requests, so the judge gets the states of the breakers too.
 */
import { oneArmRateTest, thresholdFor } from '@tenure/sequential'
import type { Reason } from '../verdict.ts'

export interface Breaker {
  /** Counts consecutive successful requests. */
  good(requests: number): void
  /** Counts one failed request; returns whether the breaker is open. Once open it stays open. */
  bad(): boolean
  /**
   * Starts another copy of the test beside the older ones. Called at each tick, so that a late fault is found as fast as an early one.
   */
  restart(): void
  isOpen(): boolean
}

/** `limit` is the tolerated failure rate, 0..0.95; `alpha` the probability of ever opening at that rate. */
export function breaker(limit: number, alpha: number): Breaker {
  const test = oneArmRateTest(limit)
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
  /** Replicas whose breakers are open, because the candidate's failures there were certain. */
  open: number
  /** Replicas that serve the candidate or whose breakers are open. */
  replicas: number
}

/**
 * The reason for a rollback when the open breakers are certain enough; null while none is open. Each open breaker has twice the evidence
 * that all need together (`breakerAlpha`), so the mean suffices when half of the replicas have dropped the candidate. With fewer, the
 * stage is held: the other replicas still serve the candidate and may give other evidence.
 */
export function breakerReason(
  counts: BreakerCounts | undefined,
): { isCertain: boolean; reason: Reason } | null {
  if (counts === undefined || counts.open === 0) return null
  const { open, replicas } = counts
  const message = `${open} of ${replicas} replicas dropped the candidate: their circuit breakers opened on its failed requests`
  return { isCertain: 2 * open >= replicas, reason: { code: 'breaker', message, values: { open, replicas } } }
}
