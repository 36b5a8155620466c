/**
 * Lists every metric of `/metrics` with its help and labels. Only these metrics can be written, and docs/reference/metrics.md is generated
 * from them.
 */

export interface MetricFacts {
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  /** The label names. Never a caller, key, path or request text, because each value is a series until the process ends. */
  labels: readonly string[]
}

const arm = ['model', 'version', 'arm']

const metric =
  (type: MetricFacts['type']) =>
  (help: string, labels: readonly string[] = []): MetricFacts => ({ type, help, labels })
const counter = metric('counter')
const gauge = metric('gauge')
const histogram = metric('histogram')

export const metricTable = {
  tenure_predictions_total: counter(
    'Prediction requests by result: answered, error (the model failed), invalid (the output failed validation)',
    [...arm, 'result'],
  ),
  tenure_prediction_seconds: histogram(
    'Seconds from the last byte of a request to its computed response',
    arm,
  ),
  tenure_build_info: gauge('1, with the version of Tenure and the build that runs', ['version', 'build']),
  tenure_http_requests_total: counter(
    'HTTP requests by method, declared route and status; the route of an unknown path is other',
    ['method', 'route', 'status'],
  ),
  tenure_http_request_seconds: histogram(
    'Seconds from the head of a request to its response, by method, route and status; those of predictions are tenure_prediction_seconds',
    ['method', 'route', 'status'],
  ),
  tenure_stream_records_total: counter(
    'Records of a stream that this process has passed: done (answered, stored, or events that were sent), or dead (sent to the dead letters)',
    ['topic', 'result'],
  ),
  tenure_stream_lag: gauge(
    'Records of a topic that wait in the partitions of this process; rows of the prediction log that wait to be sent, counted up to 100,000; no value while it is not known',
    ['topic'],
  ),
  tenure_stream_waiting: gauge(
    '1 while a stream waits, by the code of the error: model_refused is the kill switch, broker is a lost connection',
    ['topic', 'code'],
  ),
  tenure_refusals_total: counter(
    'Refused predictions by problem code; overloaded and deadline_exceeded indicate too much load',
    ['code'],
  ),
  tenure_page_reports_total: counter(
    'Content security policy violations reported by browsers; more than 0 indicates an injection attempt',
  ),
  tenure_waiting_requests: gauge('Requests waiting for a commit or for a model that is not compiled'),
  tenure_abandoned_total: counter('Requests whose caller disconnected before the response'),
  tenure_prediction_log_total: counter(
    'Rows of the prediction log, one per request: served = stored + dropped + rows not in Postgres yet. In durable mode also repeated (logged before) and refused. Of crashed processes: recovered from their spools, lost with their memory',
    ['state'],
  ),
  tenure_prediction_log_rows: gauge(
    'Rows of the prediction log not in Postgres yet: spooled on disk, waiting in memory',
    ['state'],
  ),
  tenure_prediction_log_spool_bytes: gauge('Size of the prediction log spool on disk, in bytes'),
  tenure_prediction_cache_total: counter(
    'Rows looked up in the prediction cache of models that are not compiled',
    ['result'],
  ),
  tenure_prediction_cache_entries: gauge('Rows in the prediction cache'),
  tenure_prediction_cache_bytes: gauge('Size of the prediction cache, in bytes'),
  tenure_feature_lookups_total: counter(
    'Feature lookups of answered requests: found, or replaced by a default because the value was absent, too old or late, or the row named no entity',
    ['view', 'result'],
  ),
  tenure_feature_cache_entries: gauge('Entities in the feature cache'),
  tenure_feature_cache_bytes: gauge('Approximate size of the feature cache, in bytes'),
  tenure_shadow_total: counter(
    'Requests copied to a shadow candidate: answered, dropped; and dropped pairs of responses',
    ['result'],
  ),
  tenure_breaker_open: gauge(
    '1 when the circuit breaker of this replica has removed the candidate of the model',
    ['model'],
  ),
  tenure_ticks_dropped_total: counter('Counter intervals dropped because they could not be stored in time'),
  tenure_routing_generation: gauge('Routing generation that this replica follows', ['model']),
  tenure_routing_refused: gauge('1 when this replica cannot follow the latest route of the model', ['model']),
  tenure_model_pinned: gauge(
    '1 when the kill switch of the model is set, so that its route is not followed',
    ['model'],
  ),
  tenure_model_fallback_level: gauge(
    'Fallback level of the model on this replica: 0 champion or route, 1 previous version, 2 rule, 3 none (requests are refused)',
    ['model'],
  ),
  tenure_symptoms: gauge(
    '1 while this process sees the cause of an alert itself, by the kind of the alert: artifacts_unreachable, disk_full, log_rows_dropped, replica_cannot_load, stream_waiting',
    ['kind'],
  ),
  tenure_postgres_trouble: gauge(
    '1 when Postgres failed in the last five seconds: full (no disk space), read_only (a standby, or writes are refused), away (no response)',
    ['kind'],
  ),
  tenure_routing_age_seconds: gauge(
    'Seconds since this replica last confirmed its routes; no value before the first confirmation',
  ),
  tenure_backup_age_seconds: gauge(
    'Seconds since the newest scheduled backup, or since the schedule began; no value where none is scheduled',
  ),
  tenure_backup_log_age_seconds: gauge(
    'Seconds of writes that a restore to the newest moment would lose; no value where the log is not kept',
  ),
  tenure_backup_failed: gauge(
    '1 while the last attempt of this part failed: `backup`, `verification`, `base` or `log`',
    ['part'],
  ),
  tenure_lease_seconds: gauge(
    'Seconds until the routing lease of this replica expires; below 0 it serves known good versions only',
  ),
}

export type MetricName = keyof typeof metricTable

/** Returns the content of docs/reference/metrics.md. */
export function metricsPage(): string {
  const rows = Object.entries(metricTable).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ') || '–'} | ${help} |`,
  )
  return [
    '# Metrics',
    '',
    'Metrics of `/metrics` of an API process, in the Prometheus text format. A key of a viewer, operator, approver or admin',
    'that is not limited to some models can read them. A dashboard and alerts are in [deploy/](../../deploy/README.md). The default metrics of a Node process are included: `process_resident_memory_bytes`,',
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
