/** Exposes the counters of the process to Prometheus. The hot path counts in plain arrays; a scrape converts them. */
import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client'
import { levelRank } from '../../domain/serving/fallback-level.ts'
import { metricTable, type MetricFacts, type MetricName } from './metric-catalogue.ts'
import { upperBoundOf } from '../serving/counters/latency-histogram.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import type { ArmTotals } from '../serving/counters/arm-counters.ts'

/** Histogram buckets, in seconds. */
const bounds = [
  1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1,
]
/** Versions and arms reported one by one. */
const maxArms = 100

type Labels = Record<string, string>
type Add = (labels: Labels, value: number) => void

export function createMetrics(serving: Serving, refusals: ReadonlyMap<string, number>): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 })
  const { counters, log, shadow, routing, durable, predictionCache, switches } = serving

  const series = (
    kind: typeof Counter | typeof Gauge,
    name: string,
    facts: MetricFacts,
    fill: (add: Add) => void,
  ) =>
    new kind({
      name,
      help: facts.help,
      labelNames: [...facts.labels],
      registers: [registry],
      collect() {
        this.reset()
        fill((labels, value) => this.inc(labels, value))
      },
    })
  const expose = (name: MetricName, fill: (add: Add) => void): void => {
    const facts: MetricFacts = metricTable[name]
    series(facts.type === 'gauge' ? Gauge : Counter, name, facts, fill)
  }
  const each = (add: Add, label: string, values: Record<string, number>): void => {
    for (const [value, count] of Object.entries(values)) add({ [label]: value }, count)
  }
  const live = (add: Add, value: (model: string) => number): void => {
    for (const { route } of routing.live()) add({ model: route.model }, value(route.model))
  }

  expose('tenure_predictions_total', (add) => {
    for (const { model, version, arm, answered, errors, invalid } of armsOf(counters.totals()))
      for (const [result, count] of Object.entries({ answered, error: errors, invalid }))
        add({ model, version, arm, result }, count)
  })
  exposeLatency(registry, (add) => armsOf(counters.totals()).forEach(add))
  expose('tenure_refusals_total', (add) => each(add, 'code', Object.fromEntries(refusals)))
  expose('tenure_waiting_requests', (add) => add({}, serving.waiting().waiting))
  expose('tenure_abandoned_total', (add) => add({}, serving.waiting().abandoned))
  expose('tenure_prediction_log_total', (add) => {
    const { served, stored, dropped, recovered, lost } = log.counts()
    each(add, 'state', { served, stored, dropped, recovered, lost })
  })
  expose('tenure_prediction_log_rows', (add) => {
    const { spooled, waiting } = log.counts()
    each(add, 'state', { spooled, waiting })
  })
  expose('tenure_prediction_log_spool_bytes', (add) => add({}, log.counts().spoolBytes))
  expose('tenure_durable_log_total', (add) => {
    const { stored, repeated, refused, commits } = durable?.counts() ?? nothingDurable
    each(add, 'state', { stored, repeated, refused, commits })
  })
  const cached = () => predictionCache?.counts() ?? { hits: 0, misses: 0, entries: 0, bytes: 0 }
  expose('tenure_prediction_cache_total', (add) => {
    const { hits, misses } = cached()
    each(add, 'result', { hit: hits, miss: misses })
  })
  expose('tenure_prediction_cache_entries', (add) => add({}, cached().entries))
  expose('tenure_prediction_cache_bytes', (add) => add({}, cached().bytes))
  expose('tenure_feature_lookups_total', (add) => {
    for (const [view, results] of serving.lookups.counts())
      for (const [result, count] of Object.entries(results)) add({ view, result }, count)
  })
  expose('tenure_feature_cache_entries', (add) => add({}, serving.features.counts().entries))
  expose('tenure_feature_cache_bytes', (add) => add({}, serving.features.counts().bytes))
  expose('tenure_shadow_total', (add) => {
    const { answered, dropped, droppedPairs } = shadow.counts()
    each(add, 'result', { answered, dropped, pair_dropped: droppedPairs })
  })
  expose('tenure_breaker_open', (add) => {
    for (const { route, guard } of routing.live())
      add({ model: route.model }, guard?.isOpen() === true ? 1 : 0)
  })
  expose('tenure_ticks_dropped_total', (add) => add({}, counters.dropped()))
  expose('tenure_routing_generation', (add) => {
    for (const { route } of routing.live()) add({ model: route.model }, route.generation)
  })
  expose('tenure_routing_refused', (add) => live(add, (model) => (routing.problems().has(model) ? 1 : 0)))
  expose('tenure_model_pinned', (add) => {
    const pinned = new Set(switches.pinned().map(({ model }) => model))
    live(add, (model) => (pinned.has(model) ? 1 : 0))
  })
  expose('tenure_model_fallback_level', (add) => {
    for (const { model, level } of routing.fallbackLevels()) add({ model }, levelRank(level))
  })
  // The lease is counted from the moment at which it was last renewed.
  expose('tenure_postgres_trouble', (add) => {
    const now = serving.outage()?.kind
    for (const kind of ['full', 'away'] as const) add({ kind }, now === kind ? 1 : 0)
  })
  expose('tenure_routing_age_seconds', (add) => {
    if (serving.lease.until > 0)
      add({}, Math.max(0, serving.now() - serving.lease.until + serving.leaseMs) / 1_000)
  })
  expose('tenure_lease_seconds', (add) => add({}, (serving.lease.until - serving.now()) / 1_000))
  return registry
}

const nothingDurable = { stored: 0, repeated: 0, refused: 0, commits: 0 }

/** The latest arms one by one, and the older ones as one. */
function armsOf(totals: Iterable<ArmTotals>): ArmTotals[] {
  const all = [...totals]
  const [older, newer] = [all.slice(0, -maxArms), all.slice(-maxArms)]
  if (older.length === 0) return newer
  const other: ArmTotals = {
    model: 'other',
    version: 'other',
    arm: 'champion',
    answered: 0,
    errors: 0,
    invalid: 0,
    latency: new Uint32Array(older[0]!.latency.length),
    latencyUs: 0,
  }
  for (const each of older) {
    for (const count of ['answered', 'errors', 'invalid', 'latencyUs'] as const) other[count] += each[count]
    each.latency.forEach((count, bucket) => (other.latency[bucket]! += count))
  }
  return [other, ...newer]
}

/** A histogram from existing bucket counts, which prom-client's own histogram cannot take. */
function exposeLatency(registry: Registry, forEach: (take: (arm: ArmTotals) => void) => void): void {
  const name: MetricName = 'tenure_prediction_seconds'
  const { help, labels } = metricTable[name]
  registry.registerMetric({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    reset: () => {},
    get() {
      const values: { metricName: string; labels: Labels; value: number }[] = []
      forEach(({ model, version, arm, latency, latencyUs }) => {
        const own = { model, version, arm }
        for (const bound of [...bounds, Infinity])
          values.push({
            metricName: `${name}_bucket`,
            labels: { ...own, le: bound === Infinity ? '+Inf' : String(bound) },
            value: countUpTo(latency, bound * 1e6),
          })
        values.push({ metricName: `${name}_sum`, labels: own, value: latencyUs / 1e6 })
        values.push({ metricName: `${name}_count`, labels: own, value: countUpTo(latency, Infinity) })
      })
      return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values })
    },
    labelNames: labels,
  } as unknown as Counter)
}

/** Number of requests of at most `us` microseconds. */
function countUpTo(latency: Uint32Array, us: number): number {
  let sum = 0
  for (let bucket = 0; bucket < latency.length && upperBoundOf(bucket) <= us; bucket++)
    sum += latency[bucket]!
  return sum
}
