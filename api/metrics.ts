/**
 * What the process counts, for Prometheus. The hot path counts in plain arrays; they are turned into metrics only when
 * somebody asks. Labels name models, versions and arms, never callers, so their number stays small.
 */
import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client'
import type { Serving } from './serving/serving.ts'
import { upperBoundOf } from './serving/latency.ts'

/** Buckets of the histogram that is shown, in seconds. */
const bounds = [
  1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1,
]

const batchBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256]

export function createMetrics(serving: Serving, refusals: ReadonlyMap<string, number>): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 })
  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    read: (metric: Counter) => void,
  ): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        read(this)
      },
    })
  }
  const gauge = (name: string, help: string, labelNames: string[], read: (metric: Gauge) => void): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        read(this)
      },
    })
  }
  const { tallies, log, shadow, tensors, memo, durable, waiting, routing } = serving

  counter(
    'tenure_predictions_total',
    'Requests by what became of them',
    ['model', 'version', 'arm', 'result'],
    (metric) => {
      for (const { model, version, arm, answered, errors, invalid } of tallies.totals()) {
        const labels = { model, version, arm }
        metric.inc({ ...labels, result: 'answered' }, answered)
        metric.inc({ ...labels, result: 'error' }, errors)
        metric.inc({ ...labels, result: 'invalid' }, invalid)
      }
    },
  )
  counter(
    'tenure_refusals_total',
    'Requests for predictions that were refused, by problem code',
    ['code'],
    (metric) => {
      for (const [code, count] of refusals) metric.inc({ code }, count)
    },
  )
  // A histogram's series, which prom-client cannot fill from counts that are there already.
  const labelled = ['model', 'version', 'arm']
  counter('tenure_prediction_seconds_bucket', 'Time to an answer', [...labelled, 'le'], (metric) => {
    for (const { model, version, arm, latency } of tallies.totals()) {
      for (const bound of bounds)
        metric.inc({ model, version, arm, le: String(bound) }, reached(latency, bound * 1e6))
      metric.inc({ model, version, arm, le: '+Inf' }, reached(latency, Infinity))
    }
  })
  counter('tenure_prediction_seconds_sum', 'Time to an answer, summed', labelled, (metric) => {
    for (const { model, version, arm, latencyUs } of tallies.totals())
      metric.inc({ model, version, arm }, latencyUs / 1e6)
  })
  gauge('tenure_waiting_requests', 'Requests that wait for a model or for the log', [], (metric) =>
    metric.set(waiting().waiting),
  )
  counter('tenure_abandoned_total', 'Requests whose callers went away before the answer', [], (metric) =>
    metric.inc(waiting().abandoned),
  )
  gauge('tenure_tensor_models', 'Models that TensorFlow.js computes', [], (metric) =>
    metric.set(tensors.counts().models),
  )
  gauge('tenure_tensor_waiting_rows', 'Rows that wait for TensorFlow.js', [], (metric) =>
    metric.set(tensors.counts().waiting),
  )
  counter('tenure_tensor_rows_total', 'Rows that TensorFlow.js has computed', [], (metric) =>
    metric.inc(tensors.counts().rows),
  )
  counter('tenure_tensor_deaths_total', 'How often the thread of TensorFlow.js has died', [], (metric) =>
    metric.inc(tensors.counts().deaths),
  )
  // Like the histogram above: the batches of at most so many rows.
  counter('tenure_tensor_batch_rows_bucket', 'Rows of a batch', ['le'], (metric) => {
    const { sizes, batches } = tensors.counts()
    let sum = 0
    for (const size of batchBounds) metric.inc({ le: String(size) }, (sum += sizes[size] ?? 0))
    metric.inc({ le: '+Inf' }, batches)
  })
  counter(
    'tenure_prediction_cache_total',
    'Rows by whether their answer was remembered',
    ['result'],
    (metric) => {
      const { hits = 0, misses = 0 } = memo?.counts() ?? {}
      metric.inc({ result: 'hit' }, hits)
      metric.inc({ result: 'miss' }, misses)
    },
  )
  gauge('tenure_prediction_cache_entries', 'Answers that are remembered', [], (metric) =>
    metric.set(memo?.counts().entries ?? 0),
  )
  gauge('tenure_prediction_cache_bytes', 'What the remembered answers take', [], (metric) =>
    metric.set(memo?.counts().bytes ?? 0),
  )
  counter(
    'tenure_durable_log_total',
    'Requests of the durable prediction log, by what became of them',
    ['result'],
    (metric) => {
      const { stored = 0, repeated = 0, refused = 0, commits = 0 } = durable?.counts() ?? {}
      for (const [result, count] of Object.entries({ stored, repeated, refused, commits }))
        metric.inc({ result }, count)
    },
  )
  counter(
    'tenure_prediction_log_total',
    'Rows of the prediction log, by where they are',
    ['state'],
    (metric) => {
      const { served, stored, dropped, recovered } = log.counts()
      for (const [state, count] of Object.entries({ served, stored, dropped, recovered }))
        metric.inc({ state }, count)
    },
  )
  gauge('tenure_prediction_log_rows', 'Rows that are not in Postgres yet', ['state'], (metric) => {
    const { spooled, waiting } = log.counts()
    metric.set({ state: 'spooled' }, spooled)
    metric.set({ state: 'waiting' }, waiting)
  })
  counter('tenure_shadow_total', 'Copies of requests for a candidate in the shadow', ['result'], (metric) => {
    const { answered, dropped, droppedPairs } = shadow.counts()
    metric.inc({ result: 'answered' }, answered)
    metric.inc({ result: 'dropped' }, dropped)
    metric.inc({ result: 'pair_dropped' }, droppedPairs)
  })
  counter('tenure_ticks_dropped_total', 'Ticks of counters that could not be stored', [], (metric) =>
    metric.inc(tallies.dropped()),
  )
  gauge('tenure_routing_generation', 'The routing generation that is followed', ['model'], (metric) => {
    for (const { route } of routing.live()) metric.set({ model: route.model }, route.generation)
  })
  gauge(
    'tenure_routing_refused',
    'Whether the newest route of the model cannot be followed',
    ['model'],
    (metric) => {
      for (const { route } of routing.live())
        metric.set({ model: route.model }, routing.problems().has(route.model) ? 1 : 0)
    },
  )
  gauge('tenure_lease_seconds', 'How long this replica may believe that it is up to date', [], (metric) =>
    metric.set((serving.lease.until - serving.now()) / 1_000),
  )
  return registry
}

/** How many are at most that slow. */
function reached(latency: Uint32Array, us: number): number {
  let sum = 0
  for (let bucket = 0; bucket < latency.length && upperBoundOf(bucket) <= us; bucket++)
    sum += latency[bucket]!
  return sum
}
