/** Exposes the counters of the process to Prometheus. The hot path counts in plain arrays; a scrape converts them. */
import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client'
import type { Symptom } from '../../activities/alerts/delivery/outage-watch.ts'
import { levelRank } from '../../domain/serving/fallback-level.ts'
import { backupParts, type FoundBackups } from '../../store/maintenance/backup-state.ts'
import { durationBounds, httpRequests, type RouteCount } from './http-requests.ts'
import { listStreamCounts } from '../streams/counts.ts'
import { metricTable, type MetricName } from './metric-catalogue.ts'
import { upperBoundOf } from '../serving/counters/latency-histogram.ts'
import type { PromExemplar } from '../../activities/telemetry/prom-metrics.ts'
import type { Exemplars } from './exemplars.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import { emptyTotals, type ArmTotals } from '../serving/counters/arm-counters.ts'
import type { ActiveRoute } from '../serving/routing/route-table.ts'

/** Upper bounds of the histogram buckets, in seconds. */
export const latencyBounds = [
  1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1,
]
/** The number of arms that are reported individually. */
const maxArms = 100

type Labels = Record<string, string>
type Add = (labels: Labels, value: number) => void

/** Gauges of prom-client whose names end like counters. `nodejs_active_resources` and others report the same values by type. */
const misnamed = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

export interface BuildInfo {
  version: string
  buildId: string
}

interface MetricOptions {
  build?: BuildInfo | undefined
  /** Returns the state of the scheduled backups. */
  backups?: (() => FoundBackups | undefined) | undefined
  /** Returns what this process sees itself. */
  symptoms?: (() => readonly Pick<Symptom, 'kind'>[]) | undefined
  /** Links buckets to traces. */
  exemplars?: Exemplars | undefined
}

export function createMetrics(
  serving: Serving,
  refusals: ReadonlyMap<string, number>,
  { build, backups = () => undefined, symptoms = () => [], exemplars }: MetricOptions = {},
): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 })
  for (const name of misnamed) registry.removeSingleMetric(name)
  const expose = exposeIn(registry)
  expose('tenure_build_info', (add) => {
    if (build !== undefined) add({ version: build.version, build: build.buildId }, 1)
  })
  exposePredictions(expose, registry, serving, exemplars)
  exposeRequests(expose, registry, serving, refusals)
  exposeStreams(expose)
  exposeLogs(expose, serving)
  exposeCaches(expose, serving)
  exposeRouting(expose, serving)
  exposeBackups(expose, backups)
  expose('tenure_symptoms', (add) => {
    for (const kind of new Set(symptoms().map((each) => each.kind))) add({ kind }, 1)
  })
  return registry
}

type Expose = (name: MetricName, fill: (add: Add) => void) => void

const exposeIn =
  (registry: Registry): Expose =>
  (name, fill) => {
    const { type, help, labels } = metricTable[name]
    void new (type === 'gauge' ? Gauge : Counter)({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      collect() {
        this.reset()
        fill((own, value) => this.inc(own, value))
      },
    })
  }

function addEach(add: Add, label: string, values: Record<string, number>, others: Labels = {}): void {
  for (const [value, count] of Object.entries(values)) add({ ...others, [label]: value }, count)
}

function exposePredictions(
  expose: Expose,
  registry: Registry,
  { counters, shadow }: Serving,
  exemplars: Exemplars | undefined,
): void {
  expose('tenure_predictions_total', (add) => {
    for (const { model, version, arm, answered, errors, invalid } of armsOf(counters.totals()))
      addEach(add, 'result', { answered, error: errors, invalid }, { model, version, arm })
  })
  exposeHistogram(registry, 'tenure_prediction_seconds', () =>
    armsOf(counters.totals()).map(({ model, version, arm, latency, latencyUs }) => ({
      labels: { model, version, arm },
      exemplarOf: (bound) => exemplars?.find({ model, version, arm }, bound),
      counts: [...latencyBounds, Infinity].map((bound) => [bound, countUpTo(latency, bound * 1e6)]),
      sum: latencyUs / 1e6,
    })),
  )
  expose('tenure_shadow_total', (add) => {
    const { answered, dropped, droppedPairs } = shadow.counts()
    addEach(add, 'result', { answered, dropped, pair_dropped: droppedPairs })
  })
  expose('tenure_ticks_dropped_total', (add) => add({}, counters.dropped()))
}

function exposeRequests(
  expose: Expose,
  registry: Registry,
  serving: Serving,
  refusals: ReadonlyMap<string, number>,
): void {
  expose('tenure_http_requests_total', (add) => {
    for (const { requests, ...count } of httpRequests.list()) add(labelsOf(count), requests)
  })
  exposeHistogram(registry, 'tenure_http_request_seconds', () =>
    [...httpRequests.list()]
      .filter(({ buckets }) => buckets.at(-1)! > 0)
      .map(({ buckets, seconds, ...count }) => ({
        labels: labelsOf(count),
        counts: [...durationBounds, Infinity].map((bound, index) => [bound, buckets[index]!]),
        sum: seconds,
      })),
  )
  expose('tenure_refusals_total', (add) => addEach(add, 'code', Object.fromEntries(refusals)))
  expose('tenure_waiting_requests', (add) => add({}, serving.waiting().waiting))
  expose('tenure_abandoned_total', (add) => add({}, serving.waiting().abandoned))
}

function exposeStreams(expose: Expose): void {
  expose('tenure_stream_records_total', (add) => {
    for (const { topic, done, dead } of listStreamCounts()) addEach(add, 'result', { done, dead }, { topic })
  })
  expose('tenure_stream_lag', (add) => {
    for (const { topic, lag } of listStreamCounts()) if (lag !== undefined) add({ topic }, lag)
  })
  expose('tenure_stream_waiting', (add) => {
    for (const { topic, waitsFor: code } of listStreamCounts())
      if (code !== undefined) add({ topic, code }, 1)
  })
}

function exposeLogs(expose: Expose, { log, outage }: Serving): void {
  expose('tenure_prediction_log_total', (add) => {
    const { served, stored, dropped, repeated, refused, recovered, lost } = log.counts()
    addEach(add, 'state', { served, stored, dropped, repeated, refused, recovered, lost })
  })
  expose('tenure_prediction_log_rows', (add) => {
    const { spooled, waiting } = log.counts()
    addEach(add, 'state', { spooled, waiting })
  })
  expose('tenure_prediction_log_spool_bytes', (add) => add({}, log.counts().spoolBytes))
  expose('tenure_postgres_trouble', (add) => {
    const now = outage()?.kind
    addEach(add, 'kind', {
      full: Number(now === 'full'),
      read_only: Number(now === 'read_only'),
      away: Number(now === 'away'),
    })
  })
}

function exposeCaches(expose: Expose, { predictionCache, lookups, features }: Serving): void {
  expose('tenure_prediction_cache_total', (add) => {
    const { hits = 0, misses = 0 } = predictionCache?.counts() ?? {}
    addEach(add, 'result', { hit: hits, miss: misses })
  })
  expose('tenure_prediction_cache_entries', (add) => add({}, predictionCache?.counts().entries ?? 0))
  expose('tenure_prediction_cache_bytes', (add) => add({}, predictionCache?.counts().bytes ?? 0))
  expose('tenure_feature_lookups_total', (add) => {
    for (const [view, results] of lookups.counts()) addEach(add, 'result', results, { view })
  })
  expose('tenure_feature_cache_entries', (add) => add({}, features.counts().entries))
  expose('tenure_feature_cache_bytes', (add) => add({}, features.counts().bytes))
}

function exposeRouting(expose: Expose, serving: Serving): void {
  const { routing, switches, lease, leaseMs, now } = serving
  const live = (add: Add, value: (live: ActiveRoute) => number | boolean): void => {
    for (const active of routing.live()) add({ model: active.route.model }, Number(value(active)))
  }
  expose('tenure_breaker_open', (add) => live(add, ({ guard }) => guard?.isOpen() === true))
  expose('tenure_routing_generation', (add) => live(add, ({ route }) => route.generation))
  expose('tenure_routing_refused', (add) => live(add, ({ route }) => routing.problems().has(route.model)))
  expose('tenure_model_pinned', (add) => {
    const pinned = new Set(switches.pinned().map(({ model }) => model))
    live(add, ({ route }) => pinned.has(route.model))
  })
  expose('tenure_model_fallback_level', (add) => {
    for (const { model, level } of routing.fallbackLevels()) add({ model }, levelRank(level))
  })
  // Counted from the last renewal of the lease.
  expose('tenure_routing_age_seconds', (add) => {
    if (lease.until > 0) add({}, Math.max(0, now() - lease.until + leaseMs) / 1_000)
  })
  expose('tenure_lease_seconds', (add) => add({}, (lease.until - now()) / 1_000))
}

function exposeBackups(expose: Expose, backups: () => FoundBackups | undefined): void {
  expose('tenure_backup_age_seconds', (add) => {
    const found = backups()
    if (found !== undefined) add({}, found.ageMs / 1_000)
  })
  expose('tenure_backup_log_age_seconds', (add) => {
    const { logAgeMs } = backups() ?? {}
    if (logAgeMs !== undefined) add({}, logAgeMs / 1_000)
  })
  expose('tenure_backup_failed', (add) => {
    const found = backups()
    if (found === undefined) return
    for (const part of backupParts) add({ part }, Number(found.failures[part] !== undefined))
  })
}

/** Returns the latest arms individually, and the older ones as one sum. */
function armsOf(totals: Iterable<ArmTotals>): ArmTotals[] {
  const all = [...totals]
  const [older, newer] = [all.slice(0, -maxArms), all.slice(-maxArms)]
  if (older.length === 0) return newer
  const other = emptyTotals({ model: 'other', version: 'other', arm: 'champion' })
  for (const each of older) {
    for (const count of ['answered', 'errors', 'invalid', 'latencyUs'] as const) other[count] += each[count]
    each.latency.forEach((count, bucket) => (other.latency[bucket]! += count))
  }
  return [other, ...newer]
}

const labelsOf = ({ method, route, status }: Pick<RouteCount, 'method' | 'route' | 'status'>): Labels => ({
  method,
  route,
  status: String(status),
})

interface HistogramSeries {
  labels: Labels
  exemplarOf?: (bound: number) => PromExemplar | undefined
  /** For each upper bound, the number of values up to it; the last bound is infinite. */
  counts: (readonly [bound: number, count: number])[]
  sum: number
}

/** Exposes a histogram from existing bucket counts, which prom-client's own histogram cannot take. */
function exposeHistogram(registry: Registry, name: MetricName, list: () => HistogramSeries[]): void {
  const { help, labels: labelNames } = metricTable[name]
  registry.registerMetric({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    reset: () => {},
    get() {
      const values = list().flatMap(({ labels, counts, sum, exemplarOf }) => [
        ...counts.map(([bound, value]) => ({
          metricName: `${name}_bucket`,
          labels: { ...labels, le: bound === Infinity ? '+Inf' : String(bound) },
          value,
          exemplar: exemplarOf?.(bound),
        })),
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: counts.at(-1)![1] },
      ])
      return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values })
    },
    labelNames,
  } as unknown as Counter)
}

/** Returns the number of requests of at most `us` microseconds. */
function countUpTo(latency: Uint32Array, us: number): number {
  let sum = 0
  for (let bucket = 0; bucket < latency.length && upperBoundOf(bucket) <= us; bucket++)
    sum += latency[bucket]!
  return sum
}
