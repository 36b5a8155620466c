/**
 * The absolute guard inside the serving process: it counts one replica's own answers of the candidate, one by one,
 * and opens when their failures are beyond doubt. The judge looks every few seconds; a candidate that fails every
 * request would harm hundreds of callers in that time, and three are enough to know.
 */
import { thresholdFor } from '../sequential/alpha-split.ts'
import { guardTest } from '../sequential/one-arm-rate-test.ts'

export interface Breaker {
  /** Counts `answers` in a row without a bad one. */
  good(answers: number): void
  /** Counts one bad answer and says whether the breaker is open now. Once open it stays open. */
  bad(): boolean
  /** Begins the test afresh beside the older starts; called at each tick, so that a late fault is found as fast. */
  restart(): void
  isOpen(): boolean
}

/** `limit` is the tolerated rate of bad answers, `alpha` the probability of ever opening at that rate. */
export function breaker(limit: number, alpha: number): Breaker {
  const test = guardTest(limit)
  const threshold = thresholdFor(alpha)
  let waiting = 0
  let open = false
  return {
    good(answers) {
      waiting += answers
    },
    bad() {
      if (open) return true
      test.add(waiting + 1, 1)
      waiting = 0
      open = test.logE() >= threshold
      return open
    },
    restart() {
      test.add(waiting, 0)
      waiting = 0
      test.restart()
    },
    isOpen: () => open,
  }
}
