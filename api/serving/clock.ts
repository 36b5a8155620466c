/**
 * Keeps two clocks of a replica. Leases use the monotonic one, because a wall clock that is set back would prolong them;
 * ticks and ids use the database's time, so that replicas with different clocks agree on the tick of a second.
 */

export interface Clock {
  /** Milliseconds that only increase, also while the process is frozen. */
  now(): number
  /** The database's time in milliseconds since 1970, as last estimated; the machine's before the first estimate. */
  wall(): number
  /** Corrects the estimate by the database's time, read between two moments of `now`. */
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
      // A slow response is an inaccurate estimate; it is used only while no better one is recent.
      best = Math.min(best * 1.5 + 0.1, roundTrip)
      if (roundTrip <= best) offset = databaseMs - (sentAt + receivedAt) / 2
    },
  }
}
