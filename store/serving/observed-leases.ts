/**
 * Decides by the monotonic clock of this process which leases of replicas are over. By the database's clock, all would end at once when
 * it is set ahead or another server takes over, although the replicas still serve: they too time their leases by monotonic clocks.
 */

/** A lease as read by a query. */
export interface StoredLease {
  id: string
  /** The end of the lease by the database's clock, which changes with each renewal. */
  leaseUntilMs: number
  leaseMs: number
  /** How long it has been over by the database's clock; negative while it is in force. */
  silentMs: number
  /** The start time of the server that was read. Another server may lack the last renewals. */
  serverStartedMs: number
}

/**
 * - `live`: it may be in force.
 * - `silent`: it is over, for less than an hour.
 * - `gone`: it is over for longer.
 */
export type LeaseStatus = 'live' | 'silent' | 'gone'

export interface ObservedLeases {
  now(): number
  /** The status of each lease of the database, read by a query that was sent at `sentAt`. */
  take(leases: readonly StoredLease[], sentAt: number): LeaseStatus[]
}

interface Sighting {
  leaseUntilMs: number
  serverStartedMs: number
  /** The time of the first response that contained the lease. */
  seenAt: number
  /** Whether it was then in force, or over for less than an hour. */
  wasRecent: boolean
}

/** Longer than a usual outage; afterwards a silent replica counts as gone. */
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
        // The lease was written before its first response arrived, and no renewal was stored when this query was sent.
        const overMs = sentAt - sighting.seenAt - lease.leaseMs
        if (overMs < 0) return 'live'
        // The database's clock covers replicas that were silent before this process started.
        const isRecent = lease.silentMs < silentForMs || (sighting.wasRecent && overMs < silentForMs)
        return isRecent ? 'silent' : 'gone'
      })
    },
  }
}
