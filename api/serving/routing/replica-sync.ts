/**
 * What keeps one replica in step with the others: its lease, the routes it reads, what it acknowledges, the counts it hands
 * on. Each has its own loop and its own deadline, so that one slow statement delays nothing else.
 */
import {
  acknowledge,
  endLease,
  forgetReplicas,
  readFaults,
  readRouting,
  renewLease,
  type Replica,
} from '../../../store/serving/replicas.ts'
import { readSilence } from '../../../store/release/drills.ts'
import { acknowledgeFlag } from '../../../store/serving/kill-switches.ts'
import type { Route } from '../../../domain/serving/route.ts'
import { writeTicks } from '../../../store/release/tick-counters.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { insertPairs } from '../../../store/release/shadow-pairs.ts'
import { writeRungs } from '../../../store/serving/replica-fallbacks.ts'
import { writeResources } from '../../../store/serving/replica-resources.ts'
import type { Store } from '../../../store/postgres.ts'
import type { FeatureHistograms } from '../counters/feature-histograms.ts'
import type { Cache } from './disk-cache.ts'
import type { Clock } from '../clock.ts'
import { startLoop } from '../poll-loop.ts'
import type { Meter } from '../counters/process-stats.ts'
import type { Lease, ReplicaRouting } from './routing.ts'
import type { Shadow } from './shadow.ts'
import type { KillSwitches } from './kill-switches.ts'
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
  counters: CounterRegistry
  /** Knows what this process needs of its machine; nothing is said of it when absent. */
  meter?: Meter
  replica: Replica
  leaseMs: number
  /** Whether versions may be made to answer wrongly for a drill. */
  drills: boolean
  onError: (what: string, error: unknown) => void
  onFault: (version: string, invalidShare: number) => void
}

export interface RunningReplica {
  /** Reads the routes once more, now. */
  refresh(): Promise<void>
  /** Hands on what is counted, gives the lease back and ends. */
  stop(): Promise<void>
}

const pollMs = 2_000
/** Ticks shorter than this are handed on late. */
const rollMs = 50
/** How long counts for drift wait; they are for windows of hours. */
const histogramMs = 5_000
/** How often a replica says what it needs of its machine. */
const resourcesMs = 10_000
const tickBatchSize = 1_000
const pairBatchSize = 500

export function startReplicaSync(deps: ReplicaDeps): RunningReplica {
  const { store, histograms: bins, clock, lease, routing, shadow, switches, counters, replica } = deps
  const reportError = (what: string) => (error: unknown) => deps.onError(what, error)
  let registered = false
  /**
   * A lease after a time without one. While this replica counted as gone nobody waited for it, and a version may have been
   * taken back everywhere else: it holds only when the routes have been read after the database has counted it in.
   */
  let pendingLease: { at: number; until: number } | undefined
  /** When the routes that were read last were asked for. */
  let readAt = clock.now()
  /** Whether the database may have forgotten what it was told. */
  let mustRepeat = false
  let remembered = ''
  let writtenLevels = '[]'
  let lastPairs = 0

  // In a drill this replica is as good as cut off for a while: it says nothing and hears nothing, and falls back by itself.
  let silentUntil = 0
  const isSilent = (): boolean => clock.now() < silentUntil

  const renew = async (): Promise<void> => {
    if (!isSilent()) silentUntil = clock.now() + (await readSilence(store, replica.id))
    if (isSilent()) return
    // Whoever cannot read the routes is in step with nobody: with its lease renewed it would go on with what was taken back
    // everywhere else, and be waited for.
    if (clock.now() - readAt > deps.leaseMs) await routes.wake()
    const sentAt = clock.now()
    const unreadMs = Math.round(sentAt - readAt)
    if (unreadMs > deps.leaseMs) throw new Error(`the routes were not read for ${unreadMs} ms`)
    await renewLease(store, { replica, leaseMs: deps.leaseMs })
    const isFirst = !registered
    registered = true
    const newLease = { at: clock.now(), until: sentAt + deps.leaseMs }
    if (newLease.at < lease.until) lease.until = Math.max(lease.until, newLease.until)
    else {
      pendingLease = newLease
      await routes.wake()
    }
    if (isFirst) await forgetReplicas(store)
  }
  const follow = async (): Promise<void> => {
    if (isSilent()) return
    const sentAt = clock.now()
    await routing.take(await readRouting(store), sentAt)
    readAt = sentAt
    if (pendingLease !== undefined && sentAt >= pendingLease.at) {
      lease.until = Math.max(lease.until, pendingLease.until)
      pendingLease = undefined
    }
    if (deps.drills) await takeFaults(deps)
    await writeAcknowledgements()
    await writeFallbackLevels()
    const now = JSON.stringify(routing.remembered())
    if (now === remembered) return
    await deps.cache.remember(routing.remembered())
    remembered = now
  }
  const writeAcknowledgements = async (): Promise<void> => {
    if (!registered) return
    if (mustRepeat) {
      for (const { route } of routing.live())
        if (!routing.problems().has(route.model))
          await acknowledge(store, { replica: replica.id, ...placeOf(route) })
      writtenLevels = ''
      mustRepeat = false
    }
    for (const acknowledgement of routing.acknowledgements()) {
      await acknowledge(store, { replica: replica.id, ...acknowledgement })
      routing.acknowledged(acknowledgement)
    }
    for (const acknowledgement of switches.acknowledgements()) {
      await acknowledgeFlag(store, { replica: replica.id, ...acknowledgement })
      switches.acknowledged(acknowledgement)
    }
  }
  /** Which models are not answered by their champion here, when they are others than was said last. */
  const writeFallbackLevels = async (): Promise<void> => {
    const standing = routing.fallbackLevels().filter(({ level }) => level !== 'champion')
    const text = JSON.stringify(standing)
    if (!registered || text === writtenLevels) return
    await writeRungs(store, { replica: replica.id, standing })
    writtenLevels = text
  }
  const writeCounts = async (): Promise<void> => {
    counters.closeTick()
    while (counters.closed.length > 0) {
      const ticks = counters.closed.slice(0, tickBatchSize)
      await writeTicks(store, { replica: replica.id, ticks })
      // The oldest may have been dropped meanwhile, for room; only what was written is taken away.
      const written = new Set(ticks)
      counters.closed.splice(0, counters.closed.findLastIndex((tick) => written.has(tick)) + 1)
    }
    if (shadow.pairs.length === 0 || clock.now() - lastPairs < 500) return
    lastPairs = clock.now()
    const pairs = shadow.pairs.slice(0, pairBatchSize)
    await insertPairs(store, pairs)
    shadow.pairs.splice(0, pairs.length)
  }

  const writeHistograms = async (): Promise<void> => {
    const rows = bins.pending()
    if (rows.length === 0) return
    await writeFeatureCounts(store, { replica: replica.id, rows })
    bins.markStored()
  }

  const leases = startLoop(renew, {
    everyMs: deps.leaseMs / 3,
    onError: reportError('the lease was not renewed'),
  })
  const routes = startLoop(follow, { everyMs: pollMs, onError: reportError('the routes were not read') })
  const counts = startLoop(writeCounts, {
    everyMs: rollMs,
    onError: reportError('counts were not handed on'),
  })
  const histogramLoop = startLoop(writeHistograms, {
    everyMs: histogramMs,
    onError: reportError('the counts of features were not handed on'),
  })
  const { meter } = deps
  const needs =
    meter &&
    startLoop(
      async () => {
        if (registered && !isSilent()) await writeResources(store, { replica: replica.id, ...meter.read() })
      },
      { everyMs: resourcesMs, onError: reportError('what this replica needs was not said') },
    )
  const unlisten = store.listen('tenure_routing', (payload) => {
    // A new connection: the server may be another one, or the same one from a backup, without what it was told last.
    if (payload === undefined) mustRepeat = true
    void routes.wake()
  })

  return {
    refresh: () => routes.wake(),
    async stop() {
      await unlisten()
      meter?.stop()
      const loops = [leases, routes, counts, histogramLoop, ...(needs === undefined ? [] : [needs])]
      await Promise.all(loops.map((loop) => loop.stop()))
      counters.closeTick(true)
      await Promise.all([writeCounts(), writeHistograms()]).catch(
        reportError('the last counts were not handed on'),
      )
      lease.until = 0
      await endLease(store, replica.id).catch(reportError('the lease was not given back'))
    },
  }
}

const placeOf = ({ model, epoch, generation }: Route): Pick<Route, 'model' | 'epoch' | 'generation'> => ({
  model,
  epoch,
  generation,
})

/** Loud, because a flag that is forgotten would break a healthy version. */
async function takeFaults({ store, routing, onFault }: ReplicaDeps): Promise<void> {
  const faults = await readFaults(store)
  for (const loaded of routing.loaded()) {
    const invalidShare = Number(faults[loaded.version]?.invalidShare ?? 0)
    if (loaded.invalidShare !== invalidShare) onFault(loaded.version, invalidShare)
    loaded.invalidShare = invalidShare
  }
}
