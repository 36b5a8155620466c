/** Lists every metric of `/metrics` with its help and labels. Only these can be written, and docs/reference/metrics.md is generated from them. */

export interface MetricFacts {
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  /** Never a caller, key, path or request text, because each value is a series for the life of the process. */
  labels: readonly string[]
}

const arm = ['model', 'version', 'arm'] as const

export const metricTable = {
  tenure_predictions_total: {
    type: 'counter',
    help: 'Prediction requests by result: answered, error (the model failed), invalid (the output failed validation)',
    labels: [...arm, 'result'],
  },
  tenure_prediction_seconds: {
    type: 'histogram',
    help: 'Seconds from the last byte of a request to its computed response',
    labels: arm,
  },
  tenure_refusals_total: {
    type: 'counter',
    help: 'Refused predictions by problem code; overloaded and deadline_exceeded indicate too much load',
    labels: ['code'],
  },
  tenure_page_reports_total: {
    type: 'counter',
    help: 'Content security policy violations reported by browsers; more than 0 indicates an injection attempt',
    labels: [],
  },
  tenure_waiting_requests: {
    type: 'gauge',
    help: 'Requests waiting for a commit or for a model that is not compiled',
    labels: [],
  },
  tenure_abandoned_total: {
    type: 'counter',
    help: 'Requests whose caller disconnected before the response',
    labels: [],
  },
  tenure_prediction_log_total: {
    type: 'counter',
    help: 'Rows of the prediction log, one per request: served = stored + dropped + rows not in Postgres yet. Of crashed processes: recovered from their spools, lost with their memory',
    labels: ['state'],
  },
  tenure_prediction_log_rows: {
    type: 'gauge',
    help: 'Rows of the prediction log not in Postgres yet: spooled on disk, waiting in memory',
    labels: ['state'],
  },
  tenure_prediction_log_spool_bytes: {
    type: 'gauge',
    help: 'Size of the prediction log spool on disk, in bytes',
    labels: [],
  },
  tenure_durable_log_total: {
    type: 'counter',
    help: 'Rows in durable mode: stored in time, repeated (logged before), refused; commits counts the transactions',
    labels: ['state'],
  },
  tenure_prediction_cache_total: {
    type: 'counter',
    help: 'Rows looked up in the prediction cache of models that are not compiled',
    labels: ['result'],
  },
  tenure_prediction_cache_entries: { type: 'gauge', help: 'Rows in the prediction cache', labels: [] },
  tenure_prediction_cache_bytes: {
    type: 'gauge',
    help: 'Size of the prediction cache, in bytes',
    labels: [],
  },
  tenure_feature_lookups_total: {
    type: 'counter',
    help: 'Feature lookups of answered requests: found, or replaced by a default because the value was absent, too old or late, or the row named no entity',
    labels: ['view', 'result'],
  },
  tenure_feature_cache_entries: { type: 'gauge', help: 'Entities in the feature cache', labels: [] },
  tenure_feature_cache_bytes: {
    type: 'gauge',
    help: 'Approximate size of the feature cache, in bytes',
    labels: [],
  },
  tenure_shadow_total: {
    type: 'counter',
    help: 'Requests copied to a shadow candidate: answered, dropped; and dropped pairs of responses',
    labels: ['result'],
  },
  tenure_breaker_open: {
    type: 'gauge',
    help: '1 when the circuit breaker of this replica has removed the candidate of the model',
    labels: ['model'],
  },
  tenure_ticks_dropped_total: {
    type: 'counter',
    help: 'Counter intervals dropped because they could not be stored in time',
    labels: [],
  },
  tenure_routing_generation: {
    type: 'gauge',
    help: 'Routing generation that this replica follows',
    labels: ['model'],
  },
  tenure_routing_refused: {
    type: 'gauge',
    help: '1 when this replica cannot follow the latest route of the model',
    labels: ['model'],
  },
  tenure_model_pinned: {
    type: 'gauge',
    help: '1 when the kill switch of the model is set, so that its route is not followed',
    labels: ['model'],
  },
  tenure_model_fallback_level: {
    type: 'gauge',
    help: 'Fallback level of the model on this replica: 0 champion or route, 1 previous version, 2 rule, 3 none (requests are refused)',
    labels: ['model'],
  },
  tenure_postgres_trouble: {
    type: 'gauge',
    help: '1 when Postgres failed in the last five seconds: full (no disk space), away (no response)',
    labels: ['kind'],
  },
  tenure_routing_age_seconds: {
    type: 'gauge',
    help: 'Seconds since this replica last confirmed its routes; no value before the first confirmation',
    labels: [],
  },
  tenure_lease_seconds: {
    type: 'gauge',
    help: 'Seconds until the routing lease of this replica expires; below 0 it serves known good versions only',
    labels: [],
  },
} as const satisfies Record<string, MetricFacts>

export type MetricName = keyof typeof metricTable

/** Generates docs/reference/metrics.md. */
export function metricsPage(): string {
  const rows = Object.entries<MetricFacts>(metricTable).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ') || '–'} | ${help} |`,
  )
  return [
    '# Metrics',
    '',
    'Metrics of `/metrics` of an API process, in the Prometheus text format; any key but a predictor can read them. A dashboard and alerts',
    'are in [deploy/](../../deploy/README.md). The default metrics of a Node process are included: `process_resident_memory_bytes`,',
    '`process_cpu_seconds_total`, `nodejs_eventloop_lag_p99_seconds`, `nodejs_gc_duration_seconds` and others.',
    '',
    'Labels name models, versions, arms and codes, never callers. A process reports its latest 100 versions and arms one by one,',
    'and older ones together as the model `other`.',
    '',
    '| metric | type | labels | meaning |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}
