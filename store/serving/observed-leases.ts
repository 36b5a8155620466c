/**
 * Decides by the monotonic clock of this process which leases of replicas are over. By the clock of the database all would end at once when it is
 * set ahead, or when another server takes over, while the replicas still serve: they count their leases on monotonic clocks too.
 */

/** A lease as a query has read it. */
export interface StoredLease {
  id: string
  /** When it ends by the clock of the database: another moment with each renewal. */
  leaseUntilMs: number
  leaseMs: number
  /** For how long it is over by the clock of the database; negative while it is not. */
  silentMs: number
  /** The start of the server that was read. Another server may lack the last renewals. */
  serverStartedMs: number
}

/**
 * - `live`: it may be in force.
 * - `silent`: it is over, for less than an hour.
 * - `gone`: it is over for longer.
 */
export type LeaseStanding = 'live' | 'silent' | 'gone'

export interface ObservedLeases {
  now(): number
  /** The standing of each lease of the database, read by a query that was sent at `sentAt`. */
  take(leases: readonly StoredLease[], sentAt: number): LeaseStanding[]
}

interface Sighting {
  leaseUntilMs: number
  serverStartedMs: number
  /** When its first answer came. */
  seenAt: number
  /** Whether it was in force then, or over for less than an hour. */
  wasRecent: boolean
}

/** Longer than an outage that a person waits for; afterwards a silent replica counts as gone. */
export const silentForMs = 3_600_000

export function createObservedLeases(now = () => performance.now()): ObservedLeases {
  let sightings = new Map<string, Sighting>()
  const sightingOf = (lease: StoredLease): Sighting => {
    const { id, leaseUntilMs, serverStartedMs, silentMs } = lease
    const before = sightings.get(id)
    if (before?.leaseUntilMs === leaseUntilMs && before.serverStartedMs === serverStartedMs) return before
    return { leaseUntilMs, serverStartedMs, seenAt: now(), wasRecent: silentMs < silentForMs }
  }
  return {
    now,
    take(leases, sentAt) {
      const all = leases.map((lease) => ({ lease, sighting: sightingOf(lease) }))
      sightings = new Map(all.map(({ lease, sighting }) => [lease.id, sighting]))
      return all.map(({ lease, sighting }) => {
        // It was written before its first answer came, and no renewal is stored when this query was sent.
        const overMs = sentAt - sighting.seenAt - lease.leaseMs
        if (overMs < 0) return 'live'
        // The clock of the database knows of replicas that were silent before this process began.
        const isRecent = lease.silentMs < silentForMs || (sighting.wasRecent && overMs < silentForMs)
        return isRecent ? 'silent' : 'gone'
      })
    },
  }
}
