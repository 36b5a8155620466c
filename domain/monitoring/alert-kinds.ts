/**
 * Defines the kinds of alerts: the words of the title, what ends an alert, what callers notice, and the next step. Each kind has a runbook in
 * docs/runbooks with its name, so that an alert always leads to instructions.
 */

/**
 * What ends an alert. A person may close every one of them.
 * - `cleared`: a later check of the same condition has measured that it is gone. A promotion or a rollback alone is no such check.
 * - `served`: the version that serves now has answered a window of requests within the error limit of the model.
 * - `promoted`: a release of the model that started after the alert has made its candidate champion.
 * - `answered`: its release asks no longer.
 * - `closed`: a person closes it.
 * - `notice`: an event that is stored as resolved and sent once, without a later resolution.
 */
export type AlertEnd = 'cleared' | 'served' | 'promoted' | 'answered' | 'closed' | 'notice'

export interface KindOfAlert {
  /** What has happened, after the name of the model: "flight-delay: retraining failed". */
  title: string
  ends: AlertEnd
  /** What the callers of the model notice. */
  callers: string
  /** The step that leads on; it begins with an imperative. `<model>`, `<version>` and `<release>` become the names of the alert. */
  next: string
}

const unaffected = 'This changes nothing for them: what serves stays.'
const scored = 'Answers as before; they may be worse than the evaluation promised.'
const seesRelease = 'See the evidence: `tenure releases show <release>`.'
const seesModel = 'See the state of the model: `tenure status`.'
const retrains =
  'When the cause is found: `tenure retrain <model> --watch`. Without `train`: `tenure versions register <model> --artifact FILE`.'

const kind =
  (ends: AlertEnd) =>
  (title: string, callers: string, next: string): KindOfAlert => ({ title, ends, callers, next })
const [cleared, served, promoted, answered, closed, notice] = [
  kind('cleared'),
  kind('served'),
  kind('promoted'),
  kind('answered'),
  kind('closed'),
  kind('notice'),
]

/** Each kind by title, what callers notice, and next step. */
export const kindsOfAlerts = {
  // Retrainings without a release.
  not_better: cleared(
    'challenger failed the gate',
    unaffected,
    'See the gates: `tenure retrainings show <model>`.',
  ),
  insufficient: cleared('no gate verdict, too few test rows', unaffected, retrains),
  quarantined: cleared(
    'training data failed validation',
    unaffected,
    `Correct the rows or the expectation that the message names. ${retrains}`,
  ),
  failed: cleared('retraining failed', unaffected, retrains),
  registered: cleared(
    'version registered, not released',
    unaffected,
    'Release it: `tenure releases start <version>`.',
  ),
  // Releases that need a person, and their promotions.
  approval_needed: answered(
    'approval needed',
    unaffected,
    'Answer: `tenure approve <release>` or `tenure reject <release> --reason "…"`.',
  ),
  decision_needed: answered(
    'decision needed',
    'Some get answers of the candidate while it waits.',
    'Go on or stop: `tenure approve <release>` or `tenure abort <release> --reason "…"`.',
  ),
  release_promoted: notice('promoted', 'Answers of the new champion.', seesRelease),
  // Releases that did not end in a promotion.
  release_rolled_back: served('release rolled back', 'Answers of the former champion again.', seesRelease),
  release_aborted: notice('release ended by a person', unaffected, seesRelease),
  release_expired: promoted(
    'approval expired',
    unaffected,
    'Start the release again: `tenure releases start <version>`.',
  ),
  release_superseded: promoted('release superseded', unaffected, seesModel),
  release_failed: promoted(
    'release failed',
    'Nothing: the candidate gets no traffic.',
    'List its releases: `tenure releases list <model>`.',
  ),
  rollback_dropped: closed(
    'ordered rollback not carried out',
    'Answers of the version that was to be rolled back, if it serves.',
    'Order it again: `tenure rollback <model> --from <version>`.',
  ),
  break_glass: closed(
    'promotion without approval ordered',
    'Answers of a version that was not approved, while it serves.',
    'Watch it: `tenure releases watch <release>`. Take it back: `tenure rollback <model> --from <version>`.',
  ),
  drill_failed: cleared('drill failed', unaffected, 'Repeat it: `tenure drills run <model>`.'),
  drill_not_held: cleared('drill skipped', unaffected, 'Start it: `tenure drills run <model>`.'),
  // Models in production.
  drift_warn: cleared('input drift', scored, retrains),
  drift_alarm: cleared('strong input drift', scored, retrains),
  drift_unreadable: cleared('drift not measurable', 'Nothing.', retrains),
  new_category: cleared('values unseen in training', scored, retrains),
  label_drift_warn: cleared('outcome drift', scored, retrains),
  label_drift_alarm: cleared('strong outcome drift', scored, retrains),
  quality_lost: cleared('quality lost', 'Worse answers.', retrains),
  quality_floor: cleared('quality below the floor', 'Worse answers.', retrains),
  champion_failing: cleared(
    'the champion fails',
    'HTTP 500 or 503 for the failing share of requests.',
    'See what Tenure does about it: `tenure alerts <model>`.',
  ),
  champion_rolled_back: served('champion rolled back', 'Answers of an earlier version.', retrains),
  quality_slice: cleared('quality of a slice lost', 'Worse answers for a part of the rows.', retrains),
  quality_calibration: cleared('calibration lost', 'Probabilities that are off.', retrains),
  quality_fairness: cleared('fairness limit exceeded', 'Worse answers for a group.', retrains),
  business_value: cleared('business value below the limit', scored, retrains),
  estimated_quality: cleared('estimated quality lower', scored, retrains),
  serving_skew: cleared(
    'answers differ from training',
    'Answers that training would not give.',
    'Return to the last known good version: `tenure rollback <model>`.',
  ),
  parent_differs: cleared(
    'answers moved away from the parent',
    'Answers that the version it was compressed from would not give.',
    'If Tenure has not returned to the parent: `tenure rollback <model>`.',
  ),
  service_errors: cleared(
    'predictions fail',
    'Failed or invalid answers.',
    'Return to the last known good version: `tenure rollback <model>`.',
  ),
  service_latency: cleared('predictions are slow', 'Slow answers.', seesModel),
  service_missing: cleared('features missing', scored, 'Tell the callers which features they must send.'),
  service_outside: cleared('values out of range', scored, 'Tell the callers which values the model accepts.'),
  service_silent: cleared(
    'no traffic',
    'Nothing: none has asked.',
    'Ask the callers; check their keys: `tenure keys list`.',
  ),
  service_outcomes: cleared(
    'no outcomes',
    'Nothing.',
    'Check the process that sends outcomes: `tenure doctor`.',
  ),
  service_replicas: cleared(
    'no replica has a lease',
    'Failed requests, or answers of a replica that Postgres does not hear.',
    'Find the cause: `tenure doctor`.',
  ),
  service_resources: cleared('replica exceeds its resources', 'Slow answers.', seesModel),
  service_cost: cleared('prediction cost above the limit', 'Nothing.', seesModel),
  // Serving without the champion: one kind for each fallback level, of the whole model; and one for a part of the replicas.
  fallback_previous: cleared(
    'a previous version serves',
    'Answers of a previous champion.',
    'Find the cause: `tenure doctor`.',
  ),
  fallback_rule: cleared(
    'the constant response serves',
    'The constant response of the model file.',
    'Find the cause: `tenure doctor`.',
  ),
  fallback_refused: cleared(
    'every request is refused',
    'Status 503 for every request.',
    'Find the cause: `tenure doctor`.',
  ),
  replica_cannot_load: cleared(
    'replica cannot load a version',
    'Nothing while they ask another replica; this one answers 503 and is not ready.',
    'Find the cause: `tenure doctor`.',
  ),
  gateway_not_following: cleared(
    'the gateway does not follow the route',
    'Answers by the weights that the gateway has.',
    'Compare its weights with the route: `tenure status`.',
  ),
  features_late: cleared(
    'feature view is late',
    'Answers from older feature values.',
    'List the views: `tenure features list`.',
  ),
  // Monitoring and delivery.
  monitor_error: cleared('monitoring incomplete', 'Nothing.', 'Find the cause: `tenure doctor`.'),
  alert_channels: cleared(
    'alert channels unreadable',
    'Nothing.',
    'Correct the file of channels that the message names.',
  ),
  ended_key_used: cleared(
    'a key that opens nothing is used',
    'HTTP 401 for every request of that service.',
    'Give the service a new key: `tenure keys create <name> --role predictor`.',
  ),
  channel_failing: cleared(
    'alert channel failing',
    'Nothing.',
    'Correct the address or the secret of the channel.',
  ),
  mirror_behind: cleared('integration is behind', 'Nothing.', 'Check the other system: `tenure doctor`.'),
  // What must run, in Temporal and as processes.
  workflow_blocked: cleared(
    'workflow blocked',
    unaffected,
    'Start a worker of a build that can run it, or end the workflow as the message says.',
  ),
  workflow_missing: cleared(
    'workflow or schedule missing',
    unaffected,
    'Check the control worker: `tenure doctor`.',
  ),
  workflow_orphaned: cleared(
    'workflow without a row, or row without a workflow',
    unaffected,
    'Read what was ended, and start it again if it is still wanted.',
  ),
  schedule_paused: cleared('schedule paused', unaffected, 'Resume it as the message says.'),
  trigger_unreadable: cleared(
    'trigger unreadable',
    unaffected,
    'List the triggers: `tenure triggers list <model>`.',
  ),
  partition_failed: cleared(
    'partition failed',
    'No answers for the partitions that the message names.',
    'List the batches: `tenure batch list <model>`.',
  ),
  start_refused: closed(
    'start refused',
    unaffected,
    'Start it again with a valid key; list the keys: `tenure keys list`.',
  ),
  worker_silent: cleared('worker silent', unaffected, 'Find the cause: `tenure doctor`.'),
  temporal_unavailable: cleared(
    'Temporal does not answer',
    'Nothing: replicas serve the champion; a candidate gets no traffic.',
    'Find the cause: `tenure doctor`.',
  ),
  // Sent by the process that sees it, also while the database is away.
  postgres_unavailable: cleared(
    'Postgres does not answer',
    'Nothing: replicas serve from memory.',
    'Find the cause: `tenure doctor`.',
  ),
  disk_full: cleared(
    'a disk is full',
    'Nothing: replicas serve from memory.',
    'Free space on the disk that the message names; find it: `tenure doctor`.',
  ),
  log_rows_dropped: cleared(
    'log rows are lost',
    'Nothing: their requests were answered.',
    'Free space on the disks of Postgres and of the replica; find the cause: `tenure doctor`.',
  ),
  artifacts_unreachable: cleared(
    'the folder of the artifacts is not mounted',
    'Nothing: replicas serve the versions that they have loaded.',
    'Mount it again; the message names the folder and the machine.',
  ),
  stream_waiting: cleared(
    'streams wait',
    'No answers to the records of these topics, and no events in them.',
    'Read the code of each stream in the message: docs/runbooks/prometheus/streams.md.',
  ),
  // Erasures.
  erasure_nothing_found: closed(
    'erasure found nothing',
    'Nothing.',
    'Check how the key is written, and repeat the erasure: `tenure erasures create <model> --subject - --watch`.',
  ),
  // The state file.
  changed_by_hand: cleared('changed since the last apply', 'Nothing.', 'See the difference: `tenure plan`.'),
  // Scheduled backups.
  backup_failed: cleared('backup failed', 'Nothing.', 'Find the cause: `tenure doctor`.'),
  backup_late: cleared('backups are late', 'Nothing.', 'Find the cause: `tenure doctor`.'),
  // Audit log.
  audit_broken: closed('audit log broken', 'Nothing.', 'Find the row: `tenure audit verify`.'),
} satisfies Record<string, KindOfAlert>

export type AlertKind = keyof typeof kindsOfAlerts
export const alertKinds = Object.keys(kindsOfAlerts) as AlertKind[]

export const isAlertKind = (kind: string): kind is AlertKind => Object.hasOwn(kindsOfAlerts, kind)

/** An alert of another build may have a kind that this one does not know. */
export const findKindOfAlert = (kind: string): KindOfAlert | undefined =>
  isAlertKind(kind) ? kindsOfAlerts[kind] : undefined

interface Named {
  kind: string
  model?: string
  evidence?: Readonly<Record<string, unknown>>
}

/** Puts the names of an alert in the places of `<model>`, `<version>` and `<release>`; one that it does not have stays. */
export function withNames(text: string, { model, evidence }: Omit<Named, 'kind'>): string {
  const names: Readonly<Record<string, unknown>> = { ...evidence, model }
  return text.replaceAll(/<(model|version|release)>/g, (placeholder, name: string) => {
    const value = names[name]
    return typeof value === 'string' && /^[\w./-]+$/.test(value) ? value : placeholder
  })
}

/**
 * What callers notice, and the next step. Where the alert was raised, more may be known than the kind: its evidence has `callers` and `next`
 * then.
 */
export function guidanceOf(alert: Named): string[] {
  const known = findKindOfAlert(alert.kind)
  if (known === undefined) return []
  const of = (field: 'callers' | 'next') => {
    const own = alert.evidence?.[field]
    return typeof own === 'string' ? own : withNames(known[field], alert)
  }
  return [`Callers: ${of('callers')}`, `Next: ${of('next')}`]
}

export const kindsThatEnd = (...ends: AlertEnd[]): AlertKind[] =>
  alertKinds.filter((kind) => ends.includes(kindsOfAlerts[kind].ends))

/** Kinds that every channel of the model receives whatever its severities, unless the channel excludes releases. */
export const releaseNews: ReadonlySet<string> = new Set<AlertKind>([
  'approval_needed',
  'decision_needed',
  'release_promoted',
  'release_rolled_back',
  'release_aborted',
  'champion_rolled_back',
])

export const noticeKinds: ReadonlySet<string> = new Set(kindsThatEnd('notice'))

/** The name of the runbook: its page is `/runbooks/<name>`. */
export const runbookName = (kind: string): string => kind.replaceAll('_', '-')

/** The file name of the runbook. */
export const runbookPage = (kind: string): string => `${runbookName(kind)}.md`
