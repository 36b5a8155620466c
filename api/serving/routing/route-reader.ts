/**
 * Reads the routes, follows them, stores them on the disk of the replica, and acknowledges them to the database, in this order: a release
 * counts on what is acknowledged.
 */
import { setImmediate as endOfTurn } from 'node:timers/promises'
import {
  acknowledge,
  readFaults,
  readRouting,
  type Replica,
  writeFallbacks,
} from '../../../store/serving/replicas.ts'
import { acknowledgeKillSwitch } from '../../../store/serving/kill-switches.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Clock } from '../clock.ts'
import type { Cache } from './disk-cache.ts'
import type { KillSwitches } from './kill-switches.ts'
import type { LeaseRenewal } from './replica-lease.ts'
import type { ReplicaRouting } from './routing.ts'

export interface RouteReaderDeps {
  store: Store
  clock: Clock
  cache: Cache
  routing: ReplicaRouting
  switches: KillSwitches
  replica: Replica
  /** Whether a drill may inject faults into versions. */
  drills: boolean
  onFault: (version: string, invalidShare: number) => void
}

export interface RouteReader {
  read(): Promise<void>
  /** Acknowledges all routes with the next read. */
  repeatAcknowledgements(): void
}

/** `onLease` is called when a lease after a time without one takes effect. */
export function createRouteReader(
  deps: RouteReaderDeps,
  renewal: LeaseRenewal,
  onLease: () => void,
): RouteReader {
  const { store, clock, routing, cache } = deps
  const acknowledger = createAcknowledger(deps)
  let storedRoutes = ''
  return {
    repeatAcknowledgements: () => acknowledger.repeatAll(),
    async read() {
      if (renewal.isSilent()) return
      const sentAt = clock.now()
      await routing.take(await readRouting(store), sentAt)
      if (renewal.routesRead(sentAt)) onLease()
      if (deps.drills) await injectFaults(deps)
      const now = JSON.stringify([routing.remembered(), cache.signedBy()])
      const isChanged = now !== storedRoutes
      // Before the routes are acknowledged: a replica that is killed afterwards must not restart with the routes before a rollback.
      const stored = isChanged ? await cache.remember(routing.remembered()).catch(errorOf) : undefined
      if (renewal.isRegistered()) await acknowledger.write()
      if (stored !== undefined) throw stored
      storedRoutes = now
      if (isChanged) await cache.forgetFiles()
    },
  }
}

const errorOf = (error: unknown): Error => error as Error

/** Writes which routes and kill switches this replica follows, and its fallback levels, when they have changed. */
function createAcknowledger({ store, routing, switches, replica }: RouteReaderDeps) {
  let mustRepeat = false
  let writtenLevels = '[]'
  const writeFallbackLevels = async (): Promise<void> => {
    const fallbacks = routing.fallbackLevels().filter(({ level }) => level !== 'champion')
    const text = JSON.stringify(fallbacks)
    if (text === writtenLevels) return
    await writeFallbacks(store, { replica: replica.id, fallbacks })
    writtenLevels = text
  }
  return {
    repeatAll: () => void (mustRepeat = true),
    async write() {
      const isChanged = routing.acknowledgements().length + switches.acknowledgements().length > 0
      // Responses of the previous route leave at the end of this turn of the event loop; none may follow the acknowledgement.
      if (mustRepeat || isChanged) await endOfTurn()
      if (mustRepeat) {
        for (const { route } of routing.live()) {
          const { model, epoch, generation } = route
          if (!routing.problems().has(model))
            await acknowledge(store, { replica: replica.id, model, epoch, generation })
        }
        writtenLevels = ''
        mustRepeat = false
      }
      for (const acknowledgement of routing.acknowledgements()) {
        await acknowledge(store, { replica: replica.id, ...acknowledgement })
        routing.acknowledged(acknowledgement)
      }
      for (const acknowledgement of switches.acknowledgements()) {
        await acknowledgeKillSwitch(store, { replica: replica.id, ...acknowledgement })
        switches.acknowledged(acknowledgement)
      }
      await writeFallbackLevels()
    },
  }
}

/** Sets the faults of a drill and reports each change, because a fault that is not removed breaks a healthy version. */
async function injectFaults({ store, routing, onFault }: RouteReaderDeps): Promise<void> {
  const faults = await readFaults(store)
  for (const loaded of routing.loaded()) {
    const invalidShare = Number(faults[loaded.version]?.invalidShare ?? 0)
    if (loaded.invalidShare !== invalidShare) onFault(loaded.version, invalidShare)
    loaded.invalidShare = invalidShare
  }
}
