/** Describes the responses of releases, commands, trainings and drills. */
import {
  countField,
  dataField,
  schemaOfFields,
  flagField,
  arrayOf,
  mapOf,
  numberField,
  oneOfTexts,
  pagedListOf,
  textField,
  timeField,
  type AnswerSchema,
} from './fields.ts'

/** A command that is stored until Temporal is reachable. */
export const deferredAnswer = schemaOfFields(
  { id: textField, state: textField, message: textField, command: textField },
  { model: textField, release: textField },
)

const startedOrDeferred = (started: AnswerSchema): AnswerSchema => ({ anyOf: [started, deferredAnswer] })

const workflowStarted = { id: textField, model: textField, workflow_id: textField }

const releaseSummary = {
  id: textField,
  model: textField,
  version: textField,
  strategy: textField,
  stage: textField,
  stage_index: countField,
  share_bp: countField,
  traffic_bp: countField,
  paused: flagField,
  requested_by: textField,
  artifact_digest: textField,
  evaluation_digest: textField,
  policy_digest: textField,
  why: textField,
  started_at: timeField,
  updated_at: timeField,
}
const endOfRelease = {
  baseline_version: textField,
  hotfix: textField,
  drill: textField,
  warning: textField,
  outcome: textField,
  reason: textField,
  ended_at: timeField,
  withdrawn_at: timeField,
  withdrawn_reason: textField,
}
const queued = schemaOfFields(
  {
    queue_id: textField,
    model: textField,
    version: textField,
    requested_by: textField,
    preemption: textField,
    state: textField,
    message: textField,
    until: timeField,
  },
  { at: timeField, ended_at: timeField, release_id: textField, release: textField },
)
const decision = schemaOfFields({
  id: countField,
  release_id: textField,
  stage: textField,
  stage_index: countField,
})
const releaseCommand = schemaOfFields(
  { id: textField, release_id: textField, command: textField, actor: textField, accepted: flagField },
  { message: textField, stage: textField, reason: textField },
)
const recordedCommand = schemaOfFields(
  { id: textField, model: textField, command: textField, actor: textField, state: textField },
  { message: textField, reason: textField, problem: textField, recorded_at: timeField, started: dataField },
)

export const releasesAnswer = schemaOfFields({
  releases: arrayOf(schemaOfFields(releaseSummary, endOfRelease)),
  waiting: arrayOf(queued),
})
export const releaseAnswer = schemaOfFields(
  {
    ...releaseSummary,
    state: dataField,
    decisions: arrayOf(decision),
    commands: arrayOf(releaseCommand),
    recorded: arrayOf(recordedCommand),
  },
  { ...endOfRelease, pinned: textField, next_cursor: textField },
)
/** The start of a release: started, queued behind an open release, or deferred. */
export const releaseStartedAnswer = {
  anyOf: [
    schemaOfFields(
      { id: textField, model: textField, version: textField, workflow_id: textField },
      { run_id: textField },
    ),
    queued,
    deferredAnswer,
  ],
}
export const signedCommandAnswer = schemaOfFields({
  namespace: textField,
  workflow_id: textField,
  signal: textField,
  payload: dataField,
})
export const commandAnswer = {
  anyOf: [
    schemaOfFields({ release: textField, accepted: flagField, message: textField }, { stage: textField }),
    // The release was still queued when it was aborted.
    queued,
  ],
}
export const recordedAnswer = schemaOfFields(
  {
    id: textField,
    model: textField,
    command: textField,
    actor: textField,
    state: textField,
    message: textField,
    recorded_at: timeField,
  },
  {
    reason: textField,
    problem: textField,
    sent_at: timeField,
    answered_at: timeField,
    accepted: flagField,
    started: dataField,
  },
)

export const rollbackAnswer = schemaOfFields(
  { model: textField, outcome: textField, message: textField },
  {
    version: textField,
    changed: flagField,
    from: textField,
    to: textField,
    took_ms: numberField,
    replicas: arrayOf(
      schemaOfFields({ id: textField, state: textField }, { host: textField, reason: textField }),
    ),
  },
)
export const rollbackOrderAnswer = schemaOfFields({ serves: textField, stored: flagField })

export const workflowStartedAnswer = schemaOfFields(workflowStarted, { trials: countField })
export const retrainingStartedAnswer = startedOrDeferred(
  schemaOfFields({ id: textField, model: textField }, { workflow_id: textField, run_id: textField }),
)
export const cancelledAnswer = schemaOfFields({ id: textField, model: textField })

const hyperparameters = mapOf({ anyOf: [textField, numberField, flagField] })
const validation = schemaOfFields(
  {
    snapshot_digest: textField,
    verdict: oneOfTexts('pass', 'warn', 'block'),
    expectations: countField,
    failed: countField,
    checks: arrayOf(
      schemaOfFields(
        {
          check: textField,
          observed: textField,
          required: textField,
          severity: oneOfTexts('failed', 'warning'),
        },
        { column: textField, champion: textField, failing: countField, examples: arrayOf(textField) },
      ),
    ),
  },
  { runbook: textField, next: textField },
)

const retrainingFields = {
  stage: textField,
  reason: textField,
  evidence: dataField,
  requested_by: textField,
  as_of: timeField,
  started_at: timeField,
  ended_at: timeField,
  outcome: textField,
  message: textField,
  error_code: textField,
  remedy: textField,
  snapshot_digest: textField,
  version: textField,
  policy: dataField,
  overrides: hyperparameters,
  sweep_id: textField,
  epoch: countField,
  loss: numberField,
  waiting: textField,
  validation,
}
export const retrainingAnswer = schemaOfFields({ id: textField, model: textField }, retrainingFields)
export const retrainingsAnswer = schemaOfFields({ retrainings: arrayOf(retrainingAnswer) })

const trial = {
  id: textField,
  model: textField,
  requested_by: textField,
  as_of: timeField,
  overrides: hyperparameters,
  training_id: textField,
  started_at: timeField,
}
const endOfTrial = {
  sweep_id: textField,
  outcome: textField,
  message: textField,
  error_code: textField,
  remedy: textField,
  snapshot_digest: textField,
  evaluation_id: textField,
  score: numberField,
  ended_at: timeField,
  stage: textField,
  epoch: countField,
  loss: numberField,
  waiting: textField,
  validation,
}
export const trialAnswer = schemaOfFields(trial, endOfTrial)
export const trialsAnswer = schemaOfFields({ trials: arrayOf(trialAnswer) })

const sweep = {
  id: textField,
  model: textField,
  requested_by: textField,
  as_of: timeField,
  plan: schemaOfFields({ candidates: arrayOf(hyperparameters), parallel: countField }),
  started_at: timeField,
}
const endOfSweep = {
  outcome: textField,
  message: textField,
  snapshot_digest: textField,
  winner: hyperparameters,
  ended_at: timeField,
  stage: textField,
  retraining_id: textField,
}
export const sweepAnswer = schemaOfFields({ ...sweep, trials: arrayOf(trialAnswer) }, endOfSweep)
export const sweepsAnswer = schemaOfFields({ sweeps: arrayOf(schemaOfFields(sweep, endOfSweep)) })

const training = {
  id: textField,
  model: textField,
  status: oneOfTexts('running', 'done', 'failed'),
  snapshot_digest: textField,
  code_digest: textField,
  dependencies_digest: textField,
  dependencies: mapOf(textField),
  hyperparameters,
  seed: countField,
  epoch: countField,
  attempts: countField,
  started_at: timeField,
  metrics: mapOf(numberField),
}
const endOfTraining = {
  artifact_digest: textField,
  build_id: textField,
  loss: numberField,
  message: textField,
  evaluation_id: textField,
  verdict: textField,
  version: textField,
  ended_at: timeField,
  duration_ms: numberField,
}
export const trainingsAnswer = pagedListOf('trainings', schemaOfFields(training, endOfTraining))
export const trainingAnswer = schemaOfFields(
  { ...training, curve: arrayOf(schemaOfFields({ epoch: countField })) },
  endOfTraining,
)
export const evaluationAnswer = schemaOfFields(
  {
    id: textField,
    model: textField,
    training_id: textField,
    snapshot_digest: textField,
    artifact_digest: textField,
    verdict: textField,
    report: dataField,
    inputs: dataField,
    report_digest: textField,
  },
  { baseline_version: textField },
)

const drill = schemaOfFields(
  {
    id: textField,
    model: textField,
    kind: textField,
    traffic: textField,
    requested_by: textField,
    harm_budget: countField,
    held: flagField,
    evidence: dataField,
    started_at: timeField,
    shows: textField,
  },
  {
    version: textField,
    release_id: textField,
    detection_ms: numberField,
    recovery_ms: numberField,
    exposed: countField,
    harmed: countField,
    passed: flagField,
    message: textField,
    ended_at: timeField,
  },
)
export const drillsAnswer = schemaOfFields({ drills: arrayOf(drill) })
export const drillStartedAnswer = schemaOfFields(
  { model: textField, workflow_id: textField },
  { kinds: arrayOf(textField) },
)
