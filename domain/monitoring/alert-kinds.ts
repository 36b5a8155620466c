/**
 * Every kind of alert there is. Each has a page that says what to do (docs/runbooks, named like the kind): an alert without one
 * costs whoever is woken by it the time to find out what it means.
 */
export const alertKinds = [
  // A retraining that came to nothing.
  'not_better',
  'insufficient',
  'quarantined',
  'failed',
  'registered',
  // A release that did not end as it was meant to.
  'release_rolled_back',
  'release_expired',
  'release_superseded',
  'release_failed',
  'break_glass',
  'drill_failed',
  'drill_not_held',
  // A model in use.
  'drift_warn',
  'drift_alarm',
  'drift_unreadable',
  'new_category',
  'label_drift_warn',
  'label_drift_alarm',
  'quality_lost',
  'quality_floor',
  'quality_slice',
  'quality_calibration',
  'quality_fairness',
  'business_value',
  'estimated_quality',
  'serving_skew',
  'service_errors',
  'service_latency',
  'service_missing',
  'service_outside',
  'service_silent',
  'service_outcomes',
  'service_replicas',
  'service_resources',
  'service_cost',
  // Who answers when the champion does not: one for each rung of the ladder.
  'fallback_previous',
  'fallback_rule',
  'fallback_refused',
  'features_late',
  // What watches and tells.
  'monitor_error',
  'alert_channels',
  'mirror_behind',
  // The record of what was done.
  'audit_broken',
] as const

export type AlertKind = (typeof alertKinds)[number]

export const isAlertKind = (kind: string): kind is AlertKind =>
  (alertKinds as readonly string[]).includes(kind)

/** The name of the page that says what to do. */
export const runbookPage = (kind: string): string => `${kind.replaceAll('_', '-')}.md`
