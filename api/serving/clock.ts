/**
 * Two clocks of one replica. Leases are kept on the monotonic one, because a wall clock that is set back would
 * prolong them; ticks and ids carry the database's time, because replicas whose clocks differ would otherwise put the
 * same second into different ticks.
 */

export interface Clock {
  /** Milliseconds that only ever rise, also over a frozen process. */
  now(): number
  /** The database's time in milliseconds since 1970, as last estimated; the machine's own before the first. */
  wall(): number
  /** Takes in the database's time, read between two moments of `now`. */
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
      // A slow answer says little about when it was made; it is believed only while nothing better is known.
      best = Math.min(best * 1.5 + 0.1, roundTrip)
      if (roundTrip <= best) offset = databaseMs - (sentAt + receivedAt) / 2
    },
  }
}
