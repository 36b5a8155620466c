/**
 * Keeps a replica in step with the database: renews its lease, reads the routes, acknowledges them, and writes its counts. Each task
 * has its own loop and deadline, so that one slow statement delays nothing else.
 */
import { setImmediate as endOfTurn } from 'node:timers/promises'
import {
  acknowledge,
  endLease,
  deleteExpiredReplicas,
  readFaults,
  readRouting,
  renewLease,
  type Replica,
} from '../../../store/serving/replicas.ts'
import { readSilence } from '../../../store/release/drills.ts'
import {
  introduceReplica,
  observePeers,
  replicaStarted,
  type PeerReplica,
} from '../../../store/serving/replica-leases.ts'
import { acknowledgeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { writeTicks } from '../../../store/release/tick-counters.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { insertPairs } from '../../../store/release/shadow-pairs.ts'
import { writeFallbacks } from '../../../store/serving/replica-fallbacks.ts'
import { writeResources } from '../../../store/serving/replica-resources.ts'
import type { Store } from '../../../store/postgres.ts'
import { isTimeout } from '../../../store/outage.ts'
import type { ProcessIdentity } from '../../../store/process-identity.ts'
import type { FeatureHistograms } from '../counters/feature-histograms.ts'
import type { Cache } from './disk-cache.ts'
import type { Clock } from '../clock.ts'
import { startLoop, type Loop } from '../poll-loop.ts'
import type { Meter } from '../counters/process-stats.ts'
import type { Lease, ReplicaRouting } from './routing.ts'
import type { Shadow } from './shadow.ts'
import type { KillSwitches } from './kill-switches.ts'
import type { RequestFields } from './request-fields.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'

export interface ReplicaDeps {
  store: Store
  histograms: FeatureHistograms
  cache: Cache
  clock: Clock
  lease: Lease
  routing: ReplicaRouting
  shadow: Shadow
  switches: KillSwitches
  /** Which fields requests may carry. Default: the features of the version that answers. */
  fields?: Pick<RequestFields, 'read'>
  counters: CounterRegistry
  /** Measures the resources of this process. Default: none are reported. */
  meter?: Meter
  /** Called with the other replicas, which a rollback must reach while Postgres is unreachable. */
  onPeers?: (peers: PeerReplica[]) => void
  replica: Replica
  /** Allows it to end the leases of killed replicas of its machine. */
  identity?: ProcessIdentity
  leaseMs: number
  /** How long a start waits for a Postgres that neither responds nor rejects. */
  startMs?: number
  /** Whether a drill may inject faults into versions. */
  drills: boolean
  onError: (what: string, error: unknown) => void
  onFault: (version: string, invalidShare: number) => void
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
  const { store, clock, lease, routing, counters, replica } = deps
  const reportError = (what: string) => (error: unknown) => deps.onError(what, error)
  const repeat = (work: () => Promise<void>, everyMs: number, failure: string): Loop =>
    startLoop(work, { everyMs, onError: reportError(failure) })
  const acknowledger = createAcknowledger(deps)
  const { writeCounts, writeHistograms } = createCountWriter(deps)
  let registered = false
  let markStarted = (): void => {}
  const started = new Promise<void>((resolve) => (markStarted = resolve))
  /**
   * A lease after a time without one. In that time releases did not wait for this replica, and a version may have been rolled back. The
   * lease starts when the routes have been read after the database has stored it.
   */
  let pendingLease: { at: number; until: number } | undefined
  /** The start of the last successful read of the routes. */
  let readAt = clock.now()
  let storedRoutes = ''

  // A drill simulates the loss of this replica: it neither writes nor reads, and falls back by itself.
  let silentUntil = 0
  const isSilent = (): boolean => clock.now() < silentUntil

  setTimeout(markStarted, deps.startMs ?? defaultStartMs).unref()
  const renew = (): Promise<void> =>
    takeLease().catch((error: unknown) => {
      if (!isTimeout(error)) markStarted()
      throw error
    })
  const takeLease = async (): Promise<void> => {
    if (!isSilent()) silentUntil = clock.now() + (await readSilence(store, replica.id))
    if (isSilent()) return
    // A replica that cannot read the routes must lose its lease: otherwise it would serve a version that is rolled back elsewhere.
    if (clock.now() - readAt > deps.leaseMs) await routes.wake()
    const sentAt = clock.now()
    const unreadMs = Math.round(sentAt - readAt)
    if (unreadMs > deps.leaseMs) throw new Error(`the routes were not read for ${unreadMs} ms`)
    await renewLease(store, { replica, leaseMs: deps.leaseMs })
    registered = true
    await introduce().catch(reportError('the start was not announced'))
    const newLease = { at: clock.now(), until: sentAt + deps.leaseMs }
    if (newLease.at < lease.until) lease.until = Math.max(lease.until, newLease.until)
    else {
      pendingLease = newLease
      await routes.wake()
    }
  }
  let introduced = false
  /** Before this replica is ready, because from then on a rollback that another replica receives must reach it. */
  const introduce = async (): Promise<void> => {
    if (introduced) return
    if (deps.identity !== undefined) await introduceReplica(store, { ...deps.identity, id: replica.id })
    introduced = true
    await deleteExpiredReplicas(store)
  }
  const follow = async (): Promise<void> => {
    if (isSilent()) return
    const sentAt = clock.now()
    await routing.take(await readRouting(store), sentAt)
    readAt = sentAt
    if (pendingLease !== undefined && sentAt >= pendingLease.at) {
      lease.until = Math.max(lease.until, pendingLease.until)
      pendingLease = undefined
      void (fields?.wake() ?? Promise.resolve()).then(markStarted)
    }
    if (deps.drills) await injectFaults(deps)
    const now = JSON.stringify([routing.remembered(), deps.cache.signedBy()])
    const isChanged = now !== storedRoutes
    // Before the routes are acknowledged: a replica that is killed afterwards must not restart with the routes before a rollback.
    const stored = isChanged ? await deps.cache.remember(routing.remembered()).catch(errorOf) : undefined
    if (registered) await acknowledger.write()
    if (stored !== undefined) throw stored
    storedRoutes = now
    if (isChanged) await deps.cache.forgetFiles()
  }
  const writeUsage = async (measured: Meter): Promise<void> => {
    if (registered && !isSilent()) await writeResources(store, { replica: replica.id, ...measured.read() })
  }
  const { meter } = deps
  const leases = repeat(renew, deps.leaseMs / 3, 'the lease was not renewed')
  const routes = repeat(follow, pollMs, 'the routes were not read')
  const fields =
    deps.fields && repeat(() => deps.fields!.read(store), pollMs, 'the fields of requests were not read')
  const loops = [
    leases,
    routes,
    repeat(writeCounts, countsMs, 'counts were not stored'),
    repeat(writeHistograms, histogramMs, 'the feature histograms were not stored'),
  ]
  if (meter !== undefined)
    loops.push(repeat(() => writeUsage(meter), resourcesMs, 'the resource usage was not stored'))
  if (fields !== undefined) loops.push(fields)
  const { onPeers } = deps
  const peers =
    onPeers &&
    repeat(async () => onPeers(await observePeers(store, replica.id)), peersMs, 'the replicas were not read')
  if (peers !== undefined) loops.push(peers)
  const unlisten = store.listen('tenure_routing', (payload) => {
    // A new connection may lead to another server, or to one restored from a backup, without the acknowledgements.
    if (payload === undefined) acknowledger.repeatAll()
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
      await Promise.all(loops.map((loop) => loop.stop()))
      counters.closeTick(true)
      await Promise.all([writeCounts(), writeHistograms()]).catch(
        reportError('the last counts were not stored'),
      )
      lease.until = 0
      await endLease(store, replica.id).catch(reportError('the lease was not returned'))
    },
  }
}

const errorOf = (error: unknown): Error => error as Error

/** Writes which routes and kill switches this replica follows, and its fallback levels, when they have changed. */
function createAcknowledger({ store, routing, switches, replica }: ReplicaDeps) {
  let mustRepeat = false
  let writtenLevels = '[]'
  const writeFallbackLevels = async (): Promise<void> => {
    const standing = routing.fallbackLevels().filter(({ level }) => level !== 'champion')
    const text = JSON.stringify(standing)
    if (text === writtenLevels) return
    await writeFallbacks(store, { replica: replica.id, standing })
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

function createCountWriter({ store, counters, shadow, histograms, clock, replica }: ReplicaDeps) {
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

/** Sets the faults of a drill and reports each change, because a fault that is not removed breaks a healthy version. */
async function injectFaults({ store, routing, onFault }: ReplicaDeps): Promise<void> {
  const faults = await readFaults(store)
  for (const loaded of routing.loaded()) {
    const invalidShare = Number(faults[loaded.version]?.invalidShare ?? 0)
    if (loaded.invalidShare !== invalidShare) onFault(loaded.version, invalidShare)
    loaded.invalidShare = invalidShare
  }
}
