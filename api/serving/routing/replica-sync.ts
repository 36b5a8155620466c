/**
 * Keeps a replica in step with the database: renews its lease, reads the routes, acknowledges them, and writes its counts. Each task
 * has its own loop and deadline, so that one slow statement delays nothing else.
 */
import { setImmediate as endOfTurn } from 'node:timers/promises'
import {
  endLease,
  observePeers,
  replicaStarted,
  type PeerReplica,
  writeResources,
  acknowledge,
  readFaults,
  type Replica,
  writeFallbacks,
} from '../../../store/serving/replicas.ts'
import { readRouting } from '../../../store/serving/routing.ts'
import { writeTicks, insertPairs } from '../../../store/release/evidence.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { insertFailedRequests } from '../../../store/review/failed-requests.ts'
import { isTimeout } from '../../../store/outage.ts'
import type { FailedRequests } from '../counters/failed-requests.ts'
import type { FeatureHistograms } from '../counters/feature-histograms.ts'
import { startLoop, type Loop } from '../poll-loop.ts'
import type { Meter } from '../counters/process-stats.ts'
import { createLeaseRenewal, type LeaseDeps, type LeaseRenewal } from './replica-lease.ts'
import type { Shadow } from './shadow.ts'
import type { RequestFields } from './request-fields.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import { acknowledgeKillSwitch } from '../../../store/serving/kill-switches.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Clock } from '../clock.ts'
import type { Cache } from './disk-cache.ts'
import type { KillSwitches } from './kill-switches.ts'
import type { ReplicaRouting } from './routing.ts'

export interface ReplicaDeps extends LeaseDeps, RouteReaderDeps {
  histograms: FeatureHistograms
  shadow: Shadow
  /** Which fields requests may carry. Default: the features of the version that answers. */
  fields?: Pick<RequestFields, 'read'>
  counters: CounterRegistry
  failures: FailedRequests
  /** Measures the resources of this process. Default: none are reported. */
  meter?: Meter
  /** Called with the other replicas, which a rollback must reach while Postgres is unreachable. */
  onPeers?: (peers: PeerReplica[]) => void
  /** How long a start waits for a Postgres that neither responds nor rejects. */
  startMs?: number
}

const pollMs = 2_000
/** Shorter ticks are written late. */
const countsMs = 50
/** How often feature histograms are written. Drift is judged on windows of hours. */
const histogramMs = 5_000
const resourcesMs = 10_000
const peersMs = 2_000
const pairsMs = 500
/** A Postgres that has not responded for this long is unreachable. A busy one misses the deadline of the first connection. */
const defaultStartMs = 3_500
const tickBatchSize = 1_000
const pairBatchSize = 500

export function startReplicaSync(deps: ReplicaDeps) {
  const { store, lease, counters, replica, meter, onPeers } = deps
  const reportError = (what: string) => (error: unknown) => deps.onError(what, error)
  const repeat = (work: () => Promise<void>, everyMs: number, failure: string): Loop =>
    startLoop(work, { everyMs, onError: reportError(failure) })
  let markStarted = (): void => {}
  const started = new Promise<void>((resolve) => (markStarted = resolve))
  setTimeout(markStarted, deps.startMs ?? defaultStartMs).unref()

  const { writeCounts, writeHistograms } = createCountWriter(deps)
  const renewal = createLeaseRenewal(deps, () => routes.wake())
  const reader = createRouteReader(deps, renewal, () => {
    void (fields?.wake() ?? Promise.resolve()).then(markStarted)
  })
  const renew = (): Promise<void> =>
    renewal.renew().catch((error: unknown) => {
      if (!isTimeout(error)) markStarted()
      throw error
    })
  const writeUsage = async (measured: Meter): Promise<void> => {
    if (!renewal.isRegistered() || renewal.isSilent()) return
    await writeResources(store, { replica: replica.id, ...measured.read() })
  }

  const leases = repeat(renew, deps.leaseMs / 3, 'the lease was not renewed')
  const routes = repeat(() => reader.read(), pollMs, 'the routes were not read')
  const fields =
    deps.fields && repeat(() => deps.fields!.read(store), pollMs, 'the fields of requests were not read')
  const loops = [
    leases,
    routes,
    fields,
    repeat(writeCounts, countsMs, 'counts were not stored'),
    repeat(writeHistograms, histogramMs, 'the feature histograms were not stored'),
    meter && repeat(() => writeUsage(meter), resourcesMs, 'the resource usage was not stored'),
  ]
  const peers =
    onPeers &&
    repeat(async () => onPeers(await observePeers(store, replica.id)), peersMs, 'the replicas were not read')
  const unlisten = store.listen('tenure_routing', (payload) => {
    // A new connection may lead to another server, or to one restored from a backup, without the acknowledgements.
    if (payload === undefined) reader.repeatAcknowledgements()
    // A rollback that arrives when Postgres has just become unreachable must reach a new replica too.
    if (payload === undefined || payload === replicaStarted) void peers?.wake()
    void routes.wake()
  })

  return {
    /**
     * Resolves when the first lease is in force, when Postgres rejects, or after `startMs`. A replica that served from its disk before
     * that could serve a version whose rollback was acknowledged while Postgres did not know of this replica.
     */
    started,
    /** Reads the routes now. */
    refresh: () => routes.wake(),
    /** Writes the last counts, returns the lease and stops. */
    async stop(): Promise<void> {
      await unlisten()
      meter?.stop()
      await Promise.all([...loops, peers].flatMap((loop) => loop?.stop() ?? []))
      counters.closeTick(true)
      await Promise.all([writeCounts(), writeHistograms()]).catch(
        reportError('the last counts were not stored'),
      )
      lease.until = 0
      await endLease(store, replica.id).catch(reportError('the lease was not returned'))
    },
  }
}

function createCountWriter({ store, counters, failures, shadow, histograms, clock, replica }: ReplicaDeps) {
  let lastPairs = 0
  return {
    async writeCounts() {
      counters.closeTick()
      while (counters.closed.length > 0) {
        const ticks = counters.closed.slice(0, tickBatchSize)
        await writeTicks(store, { replica: replica.id, ticks })
        // The oldest ticks may have been dropped in the meantime for lack of space; only the written ones are removed.
        const written = new Set(ticks)
        counters.closed.splice(0, counters.closed.findLastIndex((tick) => written.has(tick)) + 1)
      }
      await failures.write((rows) => insertFailedRequests(store, { replica: replica.id, rows }))
      if (shadow.pairs.length === 0 || clock.now() - lastPairs < pairsMs) return
      lastPairs = clock.now()
      const pairs = shadow.pairs.slice(0, pairBatchSize)
      await insertPairs(store, pairs)
      shadow.pairs.splice(0, pairs.length)
    },
    async writeHistograms() {
      const rows = histograms.pending()
      if (rows.length === 0) return
      await writeFeatureCounts(store, { replica: replica.id, rows })
      histograms.markStored()
    },
  }
}

// Reads the routes, follows them, stores them on the disk of the replica, and acknowledges them to the database, in this order: a release
// counts on what is acknowledged.

interface RouteReaderDeps {
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
function createRouteReader(deps: RouteReaderDeps, renewal: LeaseRenewal, onLease: () => void): RouteReader {
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
