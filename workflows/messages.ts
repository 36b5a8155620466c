/** Declares the messages of all workflows, which the API and the command line share: ids, inputs, results, signals, updates, queries. */
import type * as sdk from '@temporalio/workflow'
import type { DrillKind } from '../domain/drill.ts'
import {
  commandNames,
  type CommandName,
  type ReleaseStage,
  type ReleaseState,
} from '../domain/release/state.ts'

// Same values as the SDK's functions of these names. Importing those would load the workflow runtime into every API and command
// line process: a fifth of what a replica loads before it is ready.
const defineQuery = ((name: string) => ({ type: 'query', name })) as typeof sdk.defineQuery
const defineSignal = ((name: string) => ({ type: 'signal', name })) as typeof sdk.defineSignal
const defineUpdate = ((name: string) => ({ type: 'update', name })) as typeof sdk.defineUpdate

// Identities

/** One id per model, so that at most one retraining of a model runs at a time. */
export const retrainWorkflowId = (model: string): string => `retrain/${model}`
/** One id per model, so that at most one release of a model runs at a time. */
export const releaseWorkflowId = (model: string): string => `release/${model}`

// retrain

export interface RetrainRequest {
  model: string
  /**
   * The id of the row that asks for it: the command of a user, the firing of a trigger, a sweep, or the trigger key of a monitor window.
   * Absent: the schedule of the model file.
   */
  order?: string
}

export interface RetrainOutcome {
  outcome:
    | 'released'
    | 'registered'
    /** The training produced the artifact of the champion, or of a version that was rolled back; nothing was registered. */
    | 'unchanged'
    | 'quarantined'
    | 'not_better'
    | 'insufficient'
    | 'failed'
    | 'cancelled'
    /** Not started: a duplicate of an earlier request, or within the cooldown of another training. */
    | 'throttled'
  message: string
  model: string
  retrainingId: string
  version?: string
  releaseId?: string
  snapshotDigest?: string
}

type RetrainStep = 'snapshot' | 'validate' | 'train' | 'adopt' | 'evaluate' | 'refit' | 'register' | 'release'
/** Progress of a running retraining, for `retrain --watch` and the API. */
export interface RetrainProgress extends Pick<RetrainOutcome, 'snapshotDigest' | 'version' | 'releaseId'> {
  stage: 'opening' | RetrainStep | 'ended'
  retrainingId?: string
  trainingId?: string
  /** The task queue of the training; `isOwn` for one declared with `queue(…)` in the model file. */
  queue?: { name: string; isOwn: boolean }
  evaluationId?: string
}
export const retrainProgress = defineQuery<RetrainProgress>('progress')

// trial

export const trialWorkflowId = (id: string): string => `trial/${id}`

export interface TrialRequest {
  /** The command of a user, or `try_<sweep>_<index of the candidate>`. */
  order: string
}

export interface TrialOutcome {
  id: string
  model: string
  outcome: 'judged' | 'scored' | 'stopped' | 'quarantined' | 'failed' | 'cancelled'
  message: string
  /** The verdict of the gate. */
  verdict?: string
  evaluationId?: string
}

// sweep

/** One id per model, so that at most one sweep of a model runs at a time. */
export const sweepWorkflowId = (model: string): string => `sweep/${model}`

export interface SweepRequest {
  /** The command of a user. */
  order: string
}

export interface SweepOutcome {
  id: string
  model: string
  outcome: 'chosen' | 'quarantined' | 'failed' | 'cancelled'
  message: string
  /** The retraining of the winner. */
  retrainingId?: string
  version?: string
}

export interface SweepProgress {
  stage: 'opening' | 'snapshot' | 'validate' | 'trials' | 'choose' | 'retrain' | 'ended'
  retrainingId?: string
}
export const sweepProgress = defineQuery<SweepProgress>('sweep')

// monitor

/** One monitor per model. */
export const monitorWorkflowId = (model: string): string => `monitor/${model}`
/** The length of a window has changed in the model file. */
export const modelChangedSignal = defineSignal('modelChanged')

export interface MonitorRequest {
  model: string
}

// load test

/** One id per version, so that at most one load test of a version runs at a time. */
export const loadTestWorkflowId = (version: string): string => `load-test/${version}`

export interface LoadTestRequest {
  /** The command of a user. */
  order: string
}

// batch prediction

export const batchWorkflowId = (id: string): string => `batch/${id}`

export interface BatchRequest {
  model: string
  /** The command of a user, or the id of a partition of a batch of the model file. */
  order: string
}

export interface BatchOutcome {
  status: 'done' | 'failed'
  message: string
  version?: string
}

// erasure

export const eraseWorkflowId = (id: string): string => `erase/${id}`

/** Does not name the data subject, because a workflow history cannot be erased; the row of this id does. */
export interface EraseRequest {
  id: string
}

// feature views

/** One id per view, so that at most one run of a view is open at a time. With a digest: of this definition of the view alone. */
export const materialiseWorkflowId = (view: string, digest?: string): string =>
  digest === undefined ? `materialise/${view}` : `materialise/${view}/${shortDigest(digest)}`

/** The first 12 digits. */
const shortDigest = (digest: string): string => digest.replace('sha256:', '').slice(0, 12)

export interface MaterialiseRequest {
  view: string
  /** The definition to ingest. Absent: all of this name. */
  digest?: string
  /** The command of a user. Absent: what the schedule of the view does. */
  order?: string
}

export interface MaterialiseOutcome {
  view: string
  message: string
  read: number
  added: number
  late: number
  forgotten: number
  /** ISO 8601: all rows usable by then are stored. */
  watermark?: string
}

// alerts

/** One workflow dispatches the alerts of all models. */
export const alertsWorkflowId = 'alerts'

// release

export interface ReleaseRequest {
  model: string
  /** The id of the row that asks for it: the command of a user, a queue entry, a drill, or a retraining that registered a version. */
  order: string
}

export interface ReleaseOutcome {
  outcome: 'promoted' | 'rolled_back' | 'rejected' | 'expired' | 'aborted' | 'superseded' | 'failed'
  reason: string
  releaseId: string
  model: string
  version: string
}

export { commandNames, type CommandName }

/** Names the row of a command, which says everything else: who has given it, why, and for which digests. */
export interface CommandMessage {
  /** `cmd_…` */
  command: string
}

export interface CommandResult {
  accepted: boolean
  stage: ReleaseStage
  /** What the command did, or why it was refused. */
  message: string
}

const forEachCommand = <T>(define: (name: CommandName) => T) =>
  Object.fromEntries(commandNames.map((name) => [name, define(name)])) as Record<CommandName, T>

/** Fire and forget; the answer is stored in `commands` and in the audit log. */
export const commandSignals = forEachCommand((name) => defineSignal<[CommandMessage]>(name))

/** The same commands, each with a result. `release` handles them all alike: the row of a command says which one it is. */
export const commandUpdates = forEachCommand((name) => defineUpdate<CommandResult, [CommandMessage]>(name))

/** A queued release may supersede this one. Its queue entry names the release and the rule. */
export const supersedeSignal = defineSignal('supersede')

/** The champion has changed; the rows say whether the release has lost its basis. */
export const basisSignal = defineSignal('basis')
export const releaseStatus = defineQuery<ReleaseState>('status')

// release queue

/** At most one release of a model is queued, and one workflow starts it. */
export const queueWorkflowId = (model: string): string => `queue/${model}`

export interface QueueRequest {
  model: string
}

/** A release was queued, or the open release has ended. */
export const queueChangedSignal = defineSignal('queueChanged')

// drill

/** One id per model, so that at most one drill of a model runs at a time. */
export const drillWorkflowId = (model: string): string => `drill/${model}`

export interface DrillRequest {
  model: string
  /** The command of a user. Absent: the schedule of the model file. */
  order?: string
}

export interface DrillOutcome {
  model: string
  drills: { id: string; kind: DrillKind; passed: boolean; message: string }[]
  message: string
}

// retention

/** One id per installation, so that at most one run is open at a time. */
export const retentionWorkflowId = 'retention'

export interface RetentionOutcome {
  /** Partitions created for today and the coming days. */
  daysMade: number
  daysDropped: string[]
  /** Table → rows deleted; tables without deletions are left out. */
  rows: Record<string, number>
  /** Artifacts and snapshots selected for deletion, and the files removed with them or without a row. */
  artifacts: { givenUp: number; removed: number; freedBytes: number }
}
