/**
 * Renews the lease of a replica. A lease after a time without one takes effect only when the routes have been read since: in that time
 * releases did not wait for this replica, and a version may have been rolled back.
 */
import { readSilence } from '../../../store/release/drills.ts'
import {
  deleteExpiredReplicas,
  renewLease,
  type Replica,
  introduceReplica,
} from '../../../store/serving/replicas.ts'
import type { Store } from '../../../store/postgres.ts'
import type { ProcessIdentity } from '../../../store/process-identity.ts'
import type { Clock } from '../clock.ts'
import type { Lease } from './routing.ts'

export interface LeaseDeps {
  store: Store
  clock: Clock
  lease: Lease
  replica: Replica
  /** Allows it to end the leases of killed replicas of its machine. */
  identity?: ProcessIdentity
  leaseMs: number
  onError: (what: string, error: unknown) => void
}

export interface LeaseRenewal {
  /** Renews the lease. Throws when the routes were not read for the time of a lease. */
  renew(): Promise<void>
  /** Whether the database has stored a lease of this process. */
  isRegistered(): boolean
  /** Whether a drill simulates the loss of this replica, which then neither writes nor reads, and falls back by itself. */
  isSilent(): boolean
  /** Takes note of a successful read of the routes that began at `sentAt`. Returns whether a lease after a time without one takes effect. */
  routesRead(sentAt: number): boolean
}

export function createLeaseRenewal(deps: LeaseDeps, readRoutes: () => Promise<unknown>): LeaseRenewal {
  const { store, clock, lease, replica, identity, leaseMs } = deps
  let isRegistered = false
  let isIntroduced = false
  let silentUntil = 0
  /** The start of the last successful read of the routes. */
  let readAt = clock.now()
  /** A lease that waits for the routes to be read. */
  let pending: { at: number; until: number } | undefined

  const isSilent = (): boolean => clock.now() < silentUntil
  /** Before this replica is ready, because from then on a rollback that another replica receives must reach it. */
  const introduce = async (): Promise<void> => {
    if (isIntroduced) return
    if (identity !== undefined) await introduceReplica(store, { ...identity, id: replica.id })
    isIntroduced = true
    await deleteExpiredReplicas(store)
  }

  return {
    isSilent,
    isRegistered: () => isRegistered,
    async renew() {
      if (!isSilent()) silentUntil = clock.now() + (await readSilence(store, replica.id))
      if (isSilent()) return
      // A replica that cannot read the routes must lose its lease: otherwise it would serve a version that is rolled back elsewhere.
      if (clock.now() - readAt > leaseMs) await readRoutes()
      const sentAt = clock.now()
      const unreadMs = Math.round(sentAt - readAt)
      if (unreadMs > leaseMs) throw new Error(`the routes were not read for ${unreadMs} ms`)
      await renewLease(store, { replica, leaseMs })
      isRegistered = true
      await introduce().catch((error: unknown) => deps.onError('the start was not announced', error))
      const renewed = { at: clock.now(), until: sentAt + leaseMs }
      if (renewed.at < lease.until) lease.until = Math.max(lease.until, renewed.until)
      else {
        pending = renewed
        await readRoutes()
      }
    },
    routesRead(sentAt) {
      readAt = sentAt
      if (pending === undefined || sentAt < pending.at) return false
      lease.until = Math.max(lease.until, pending.until)
      pending = undefined
      return true
    },
  }
}
