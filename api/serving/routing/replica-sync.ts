/**
 * Keeps a replica in step with the database: renews its lease, reads the routes, acknowledges them, and writes its counts. Each task
 * has its own loop and deadline, so that one slow statement delays nothing else.
 */
import {
  endLease,
  observePeers,
  replicaStarted,
  type PeerReplica,
  writeResources,
} from '../../../store/serving/replicas.ts'
import { writeTicks, insertPairs } from '../../../store/release/evidence.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { insertFailedRequests } from '../../../store/review/failed-requests.ts'
import { isTimeout } from '../../../store/outage.ts'
import type { FailedRequests } from '../counters/failed-requests.ts'
import type { FeatureHistograms } from '../counters/feature-histograms.ts'
import { startLoop, type Loop } from '../poll-loop.ts'
import type { Meter } from '../counters/process-stats.ts'
import { createLeaseRenewal, type LeaseDeps } from './replica-lease.ts'
import { createRouteReader, type RouteReaderDeps } from './route-reader.ts'
import type { Shadow } from './shadow.ts'
import type { RequestFields } from './request-fields.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'

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
