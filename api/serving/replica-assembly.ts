/**
 * Assembles the serving side of a process: routes, versions, log, counters. Starts from its own disk, so that it serves without Postgres.
 * When Postgres responds, it waits for a lease before it serves.
 */
import { join } from 'node:path'
import type { Artifacts } from '../../store/artifacts.ts'
import type { GatewayAccess } from '../../store/gateways/open.ts'
import { findErasureFilter } from '../../store/privacy/erasures.ts'
import type { Replica } from '../../store/serving/replicas.ts'
import type { Signer, Verifier } from '../../store/signing/signing-key.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Store } from '../../store/postgres.ts'
import { DomainError } from '../../domain/errors.ts'
import { mayServe, servingVersion, successorOf, type Route } from '../../domain/serving/route.ts'
import { createFailedRequests, type FailedRequests } from './counters/failed-requests.ts'
import { createFeatureHistograms } from './counters/feature-histograms.ts'
import { openCache } from './routing/disk-cache.ts'
import { createClock, type Clock } from './clock.ts'
import { followErasures } from './routing/erasure-acknowledgement.ts'
import { createIds, maxInstancesOfId } from './prediction-ids.ts'
import { createFeatureCache, type FeatureCache } from './features/feature-cache.ts'
import { openPredictionLog, type PredictionLog } from './log/prediction-log.ts'
import { createLookups, type Lookups } from './features/lookup.ts'
import { createPredict, type PredictFunctions, type WaitingCounts } from './request/predict.ts'
import { createPredictionCache, type PredictionCache } from './version/prediction-cache.ts'
import { createPredictProtocol } from './request/native-protocol.ts'
import type { Protocol } from './request/protocol.ts'
import { processIdentity } from '../../store/process-identity.ts'
import { followGateways } from './routing/gateway-follower.ts'
import { startReplicaSync } from './routing/replica-sync.ts'
import type { ActiveRoute } from './routing/route-table.ts'
import type { RoutingProblem } from './routing/route-follower.ts'
import { createRouting, type Lease, type ReplicaRouting } from './routing/routing.ts'
import { createRequestFields } from './routing/request-fields.ts'
import { createShadow, type Shadow } from './routing/shadow.ts'
import { startMeter } from './counters/process-stats.ts'
import { openSpool } from './log/spool.ts'
import {
  openPendingRollbacks,
  type PendingRollback,
  type PendingRollbacks,
} from './routing/pending-rollbacks.ts'
import { createKillSwitches, type KillSwitches } from './routing/kill-switches.ts'
import { createCounterRegistry, type CounterRegistry } from './counters/arm-counters.ts'
import type { BatcherOptions, Tensors } from '@tenure/predictors'
import { createRuntimes } from './runtime/hosts.ts'
import { createVersionLoader } from './routing/version-loader.ts'

export interface Serving extends PredictFunctions {
  /** The protocol of the route `/v1/models/{name}/predict`. */
  native: Protocol
  /** The maximum number of instances in one request. */
  maxInstances: number
  routing: ReplicaRouting
  log: PredictionLog
  tensors: Tensors
  predictionCache: PredictionCache | undefined
  /** The counters of looked-up features. */
  lookups: Pick<Lookups, 'counts'>
  features: Pick<FeatureCache, 'counts'>
  waiting(): WaitingCounts
  counters: CounterRegistry
  failures: FailedRequests
  shadow: Shadow
  lease: Lease
  /** The duration of a renewed lease, in milliseconds. */
  leaseMs: number
  switches: KillSwitches
  /** Returns the fields that requests of a model may carry. */
  fieldsOf(model: string): readonly string[]
  /** Returns the last failure of the database, while it is recent. */
  outage(): ReturnType<Store['outage']>
  /** Whether Postgres has reported a missing table. */
  lacksSchema(): boolean
  /** Why no route was read from disk at the start; empty when one was. */
  unrecalled: readonly string[]
  /** Returns milliseconds on the clock of the lease. */
  now(): number
  /** Returns the database's time, in whole milliseconds since 1970. Every decision by date uses it. */
  wall(): number
  /** Reads the routes now. Resolves with whether they were read and are on the disk. */
  refresh(): Promise<boolean>
  replica: Pick<Replica, 'id' | 'host'>
  /** Returns the other live replicas, as last read from Postgres. */
  peers(): readonly Pick<Replica, 'id' | 'host' | 'url'>[]
  rollbacks: Pick<PendingRollbacks, 'list' | 'keyOf' | 'senderOf'> & {
    /**
     * Applies and stores a rollback order. Returns the version that serves instead; `isStored` is false when the disk failed. Throws
     * `no_rollback_target` without a version to serve.
     */
    keep(order: PendingRollback): Promise<{ to: string; isStored: boolean }>
    drop(id: string): Promise<void>
  }
  stop(): Promise<void>
}

/** The SQLSTATE of `undefined_table`. */
const undefinedTable = '42P01'

export interface ServingDeps {
  store: Store
  artifacts: Artifacts
  /** The directory of this machine for cache and spool. */
  stateDir: string
  /** The index of this process among those of the machine. Default: the first. */
  slot?: string
  /** Signs the stored routes and rollback orders. */
  signer: Signer
  /** Verifies the signatures of versions. */
  artifactKeys: Verifier
  subjects: SubjectKey
  replica: Replica
  leaseMs: number
  /** What the gateways of models need of this machine. */
  gateways: GatewayAccess
  /** See `ReplicaDeps`. */
  startMs?: number
  drills: boolean
  events: ServingEvents
  maxInstances?: number
  maxSpoolBytes?: number
  /** Whether a response waits until it is in the log. */
  durableLog?: boolean
  /** The size of the prediction cache for models that are not compiled. Default: 0, no cache. */
  remembered?: number
  /** Options for combining rows of models that threads and child processes compute. */
  batches?: BatcherOptions
  /** The clock that each read of the routes corrects. Default: a new one. */
  clock?: Clock
}

/** Events for the log of the process. */
export interface ServingEvents {
  followed(route: Route, cause: 'followed' | 'recalled' | 'dropped'): void
  refused(model: string, problem: RoutingProblem): void
  /** Reports why a snapshot of an earlier process is rejected. */
  forgotten(why: string): void
  fault(version: string, invalidShare: number): void
  trouble(what: string, error?: unknown): void
}

export const defaultMaxInstances = 1_000
const defaultMaxSpoolBytes = 268_435_456

export async function openServing(deps: ServingDeps): Promise<Serving> {
  const { store, signer, replica, events } = deps
  const clock = deps.clock ?? createClock()
  const lease: Lease = { until: 0 }
  const counters = createCounterRegistry(clock)
  const failures = createFailedRequests()
  const shadow = createShadow(counters)
  const runtimes = createRuntimes({
    onError: events.trouble,
    batches: deps.batches,
  })
  const predictionCache = deps.remembered ? createPredictionCache({ entries: deps.remembered }) : undefined
  const cache = openCache(join(deps.stateDir, 'cache'), deps.artifacts, { signer, slot: deps.slot ?? '1' })
  const { remembered, isEmpty, refusals } = await cache.recall()
  // The first start has nothing to reject; /readyz reports it when the database does not respond either.
  if (!isEmpty) for (const refusal of refusals) events.forgotten(refusal)
  const fields = createRequestFields()
  const load = createVersionLoader({
    store,
    artifactKeys: deps.artifactKeys,
    cache,
    runtimes,
    predictionCache,
    fields,
    origins: remembered?.versions,
    onLoaded: (loaded) => lookups.knows(loaded),
  })
  const switches = createKillSwitches(counters)
  const rollbacks = await openPendingRollbacks(join(deps.stateDir, 'cache', 'rollbacks'), {
    signer,
    slot: deps.slot ?? '1',
    nowMs: clock.wall,
  })
  let peers: ReturnType<Serving['peers']> = []
  const routing = createRouting({
    rollbacks: rollbacks,
    replica: replica.id,
    clock,
    lease,
    counters,
    switches,
    fields,
    load,
    beforeFollow: shadow.discard,
    onFollow: events.followed,
    onProblem: events.refused,
  })
  const maxInstances = Math.min(deps.maxInstances ?? defaultMaxInstances, maxInstancesOfId)
  const native = createPredictProtocol(maxInstances)
  const features = createFeatureCache({ store, now: clock.now, onError: events.trouble })
  const lookups = createLookups({ cache: features, clock, routing })
  if (remembered !== undefined) await routing.recall(remembered)
  let lacksSchema = false
  const onError: ServingEvents['trouble'] = (what, error) => {
    if ((error as { code?: unknown } | undefined)?.code === undefinedTable) lacksSchema = true
    events.trouble(what, error)
  }
  const log = openPredictionLog({
    store,
    spool: await openSpool(join(deps.stateDir, 'spool'), deps.maxSpoolBytes ?? defaultMaxSpoolBytes),
    waits: deps.durableLog === true,
    findErasureFilter: () => findErasureFilter(store, deps.subjects),
    onError,
  })
  const erasures = followErasures({ store, replica: replica.id, log, failures, clock, onError })
  const shared = { clock, lease, routing, shadow, counters, failures, histograms: createFeatureHistograms() }
  const running = startReplicaSync({
    ...shared,
    store,
    cache,
    switches,
    fields,
    meter: startMeter(),
    onPeers: (found) => (peers = found),
    replica,
    identity: processIdentity(),
    leaseMs: deps.leaseMs,
    startMs: deps.startMs,
    drills: deps.drills,
    onError,
    onFault: events.fault,
  })
  const gateways = followGateways({
    store,
    clock,
    routing,
    switches,
    lease,
    counters,
    replica,
    leaseMs: deps.leaseMs,
    access: deps.gateways,
    onError,
  })
  const withoutLookups = createPredict({ ...shared, ids: createIds(clock), log })
  const { predict, predictRecord } = lookups.withLookups(withoutLookups)
  await running.started
  return {
    ...shared,
    predict,
    predictRecord,
    native,
    maxInstances,
    log,
    tensors: runtimes.tensors,
    predictionCache,
    lookups,
    features,
    waiting: withoutLookups.counts,
    leaseMs: deps.leaseMs,
    switches,
    fieldsOf: fields.of,
    outage: store.outage,
    lacksSchema: () => lacksSchema,
    unrecalled: remembered === undefined ? refusals : [],
    now: clock.now,
    wall: () => Math.floor(clock.wall()),
    refresh: running.refresh,
    replica: deps.replica,
    peers: () => peers,
    rollbacks: createRollbacks(rollbacks, routing, events.trouble),
    async stop() {
      // In parallel, so that waiting for an unavailable database delays no write to the disk.
      await gateways.stop()
      await Promise.all([running.stop(), erasures.stop(), log.close(), runtimes.stop()])
    },
  }
}

function createRollbacks(
  pending: PendingRollbacks,
  routing: ReplicaRouting,
  onError: ServingEvents['trouble'],
): Serving['rollbacks'] {
  return {
    ...pending,
    async keep(order) {
      const { model, version } = order
      const live = routing.find(model)
      const rolledBack = new Set([version, ...pending.of(model).map((each) => each.version)])
      const to = live && servingAfter(live, rolledBack)
      if (to === undefined)
        throw new DomainError('no_rollback_target', `this replica knows no version to serve after ${version}`)
      const issue = await routing.issueOf(to)
      if (issue !== undefined) throw new DomainError('no_rollback_target', `${to} cannot be served: ${issue}`)
      const storing = pending.keep(order)
      routing.applyRollbacks()
      const isStored = await storing.then(
        () => true,
        (error: unknown) => {
          onError('a rollback was not stored on the disk', error)
          return false
        },
      )
      return { to, isStored }
    },
    async drop(id) {
      await pending.drop(id)
      routing.applyRollbacks()
    },
  }
}

/** Returns the version that serves after these are rolled back; undefined when no other exists, or when the fallback is one of them. */
function servingAfter(
  { route, override, fallback }: ActiveRoute,
  rolledBack: ReadonlySet<string>,
): string | undefined {
  const instead = [override?.outlivesLease === true ? override : undefined, fallback]
  if (instead.some((each) => each && rolledBack.has(each.table.likeliest.loaded.version))) return undefined
  // A route without these versions is either older than them, or has already replaced them.
  const isAffected = [...rolledBack].some((version) => mayServe(route, version))
  return isAffected ? successorOf(route, rolledBack) : servingVersion(route)
}
