/**
 * Stops the candidate inside the serving process: counts one replica's own requests of the candidate and opens when its failures are
 * certain (K4). The judge runs every few seconds, in which a candidate that fails every request would harm hundreds of requests.
 */
import { thresholdFor } from '../sequential/alpha-split.ts'
import { guardTest } from '../sequential/one-arm-rate-test.ts'

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
