/**
 * Provides two clocks to a replica. Leases use the monotonic clock, because a wall clock that is set back would prolong them. Ticks and ids
 * use the database's time, so that replicas with different clocks agree on the tick of a second.
 */

export interface Clock {
  /** Returns milliseconds that only increase, even while the process is frozen. */
  now(): number
  /** Returns the estimated database time in milliseconds since 1970; the machine's time before the first estimate. */
  wall(): number
  /** Corrects the estimate with the database's time, which was read between two moments of `now`. */
  correct(databaseMs: number, sentAt: number, receivedAt: number): void
}

export function createClock(now: () => number = () => performance.now(), wall = Date.now): Clock {
  let offset = wall() - now()
  let best = Infinity
  return {
    now,
    wall: () => now() + offset,
    correct(databaseMs, sentAt, receivedAt) {
      const roundTrip = receivedAt - sentAt
      // The estimate of a slow response is inaccurate. It replaces a better one only when that one is old.
      best = Math.min(best * 1.5 + 0.1, roundTrip)
      if (roundTrip <= best) offset = databaseMs - (sentAt + receivedAt) / 2
    },
  }
}
