/**
 * Every series of ours at `/metrics`: what it counts and by what it is told apart. A metric that is not in here cannot be
 * written, and docs/reference/metrics.md is made from it, so that nobody has to guess what a graph shows.
 */

export interface MetricFacts {
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  /** Never a caller, a key, a path or a text that was sent: each value is a series for as long as the process runs. */
  labels: readonly string[]
}

const arm = ['model', 'version', 'arm'] as const

export const metricTable = {
  tenure_predictions_total: {
    type: 'counter',
    help: 'Requests by what became of them: answered, error (the model failed), invalid (its answer was none)',
    labels: [...arm, 'result'],
  },
  tenure_prediction_seconds: {
    type: 'histogram',
    help: 'From the last byte of a request to its answer, computed',
    labels: arm,
  },
  tenure_refusals_total: {
    type: 'counter',
    help: 'Predictions that were refused, by problem code; overloaded and deadline_exceeded tell of too much load',
    labels: ['code'],
  },
  tenure_page_reports_total: {
    type: 'counter',
    help: 'What browsers report of pages that were kept from what their policy forbids; anything but 0 is somebody trying',
    labels: [],
  },
  tenure_waiting_requests: {
    type: 'gauge',
    help: 'Requests that wait for a commit or for a network that is not compiled',
    labels: [],
  },
  tenure_abandoned_total: {
    type: 'counter',
    help: 'Requests whose callers had gone before the answer was there',
    labels: [],
  },
  tenure_prediction_log_total: {
    type: 'counter',
    help: 'Rows of the prediction log, one a request: served = stored + dropped + those not in Postgres yet. Of processes that have died: recovered from their spools, lost with their memory',
    labels: ['state'],
  },
  tenure_prediction_log_rows: {
    type: 'gauge',
    help: 'Rows that are not in Postgres yet: spooled on the disk, waiting in memory',
    labels: ['state'],
  },
  tenure_prediction_log_spool_bytes: {
    type: 'gauge',
    help: 'What the spool of the prediction log takes on the disk',
    labels: [],
  },
  tenure_durable_log_total: {
    type: 'counter',
    help: 'Rows in durable mode: committed in time, repeated (in the log before), refused; and the transactions they took',
    labels: ['state'],
  },
  tenure_prediction_cache_total: {
    type: 'counter',
    help: 'Rows looked up in the prediction cache, which is for models that are not compiled',
    labels: ['result'],
  },
  tenure_prediction_cache_entries: { type: 'gauge', help: 'Rows in the prediction cache', labels: [] },
  tenure_prediction_cache_bytes: { type: 'gauge', help: 'What the prediction cache holds', labels: [] },
  tenure_feature_lookups_total: {
    type: 'counter',
    help: 'Looked-up features of answered requests: found; else a stand-in was used because the value was absent, too old or late, or the row named no entity',
    labels: ['view', 'result'],
  },
  tenure_feature_cache_entries: { type: 'gauge', help: 'Entities whose features are in memory', labels: [] },
  tenure_feature_cache_bytes: { type: 'gauge', help: 'What they take, about', labels: [] },
  tenure_shadow_total: {
    type: 'counter',
    help: 'Copies of requests for a candidate in the shadow: answered, dropped; and pairs of answers that were dropped',
    labels: ['result'],
  },
  tenure_breaker_open: {
    type: 'gauge',
    help: 'Whether this replica has dropped the candidate of the model by itself, because it kept failing',
    labels: ['model'],
  },
  tenure_ticks_dropped_total: {
    type: 'counter',
    help: 'Ticks of counters that could not be stored for too long',
    labels: [],
  },
  tenure_routing_generation: {
    type: 'gauge',
    help: 'The routing generation that is followed',
    labels: ['model'],
  },
  tenure_routing_refused: {
    type: 'gauge',
    help: 'Whether the newest route of the model cannot be followed here',
    labels: ['model'],
  },
  tenure_model_pinned: {
    type: 'gauge',
    help: "Whether the model's switch is thrown, so that its route is not followed",
    labels: ['model'],
  },
  tenure_model_fallback_level: {
    type: 'gauge',
    help: 'Who answers for the model here: 0 its champion or route, 1 a previous version, 2 a rule, 3 nobody',
    labels: ['model'],
  },
  tenure_postgres_trouble: {
    type: 'gauge',
    help: 'Whether Postgres has refused this replica something in the last five seconds: full (no room on its disk), away (it did not answer)',
    labels: ['kind'],
  },
  tenure_routing_age_seconds: {
    type: 'gauge',
    help: 'How long ago this replica last knew that its routes are the newest; no value before the first time',
    labels: [],
  },
  tenure_lease_seconds: {
    type: 'gauge',
    help: 'How long this replica may believe that it is up to date; below 0 it answers with proven versions alone',
    labels: [],
  },
} as const satisfies Record<string, MetricFacts>

export type MetricName = keyof typeof metricTable

/** The table as a page. */
export function metricsPage(): string {
  const rows = Object.entries<MetricFacts>(metricTable).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ') || '–'} | ${help} |`,
  )
  return [
    '# Metrics',
    '',
    'What `/metrics` of an API process tells, in the text format of Prometheus, to a key that may look. A dashboard and alerts',
    'over it lie in [deploy/](../../deploy/README.md). Beside these stand the usual ones of a Node process: `process_resident_memory_bytes`,',
    '`process_cpu_seconds_total`, `nodejs_eventloop_lag_p99_seconds`, `nodejs_gc_duration_seconds` and their like.',
    '',
    'Labels name models, versions, arms and codes, never callers. Of more than 100 versions and arms in the life of a',
    'process those that answered first are told together, as the model `other`.',
    '',
    '| metric | type | labels | what it tells |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}
