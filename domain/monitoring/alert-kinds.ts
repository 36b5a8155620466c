/**
 * Lists the kinds of alerts. Each kind has a runbook in docs/runbooks with the name of the kind, so that an alert always leads to
 * instructions.
 */
export const alertKinds = [
  // Retrainings without a release.
  'not_better',
  'insufficient',
  'quarantined',
  'failed',
  'registered',
  // Releases that need a person, and their promotions.
  'approval_needed',
  'decision_needed',
  'release_promoted',
  // Releases that did not end in a promotion.
  'release_rolled_back',
  'release_expired',
  'release_superseded',
  'release_failed',
  'rollback_dropped',
  'break_glass',
  'drill_failed',
  'drill_not_held',
  // Models in production.
  'drift_warn',
  'drift_alarm',
  'drift_unreadable',
  'new_category',
  'label_drift_warn',
  'label_drift_alarm',
  'quality_lost',
  'quality_floor',
  'champion_rolled_back',
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
  // Serving without the champion: one kind for each fallback level.
  'fallback_previous',
  'fallback_rule',
  'fallback_refused',
  'features_late',
  // Monitoring and delivery.
  'monitor_error',
  'alert_channels',
  'channel_failing',
  'mirror_behind',
  // What must run, in Temporal and as processes.
  'workflow_blocked',
  'workflow_missing',
  'schedule_paused',
  'trigger_unreadable',
  'partition_failed',
  'start_refused',
  'worker_silent',
  'temporal_unavailable',
  // The state file.
  'changed_by_hand',
  // Scheduled backups.
  'backup_failed',
  'backup_late',
  // Audit log.
  'audit_broken',
] as const

export type AlertKind = (typeof alertKinds)[number]

export const isAlertKind = (kind: string): kind is AlertKind =>
  (alertKinds as readonly string[]).includes(kind)

/** Kinds that every channel of the model receives whatever its severities, unless the channel excludes releases. */
export const releaseNews: ReadonlySet<string> = new Set<AlertKind>([
  'approval_needed',
  'decision_needed',
  'release_promoted',
  'release_rolled_back',
  'champion_rolled_back',
])

/** Kinds that report an event. Such an alert is stored as resolved and sent once, without a later resolution. */
export const noticeKinds: ReadonlySet<string> = new Set<AlertKind>(['release_promoted'])

/** The file name of the runbook. */
export const runbookPage = (kind: string): string => `${kind.replaceAll('_', '-')}.md`
