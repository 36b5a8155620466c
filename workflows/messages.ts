/**
 * Every message that goes in and out of a workflow: names, inputs, results, identities. The API, the command
 * line and the workflows share this file, so none of them can send what another does not understand.
 */
import type * as sdk from '@temporalio/workflow'
import type { DrillKind, DrillPolicy } from '../domain/drill.ts'
import type { BatchSpec } from '../domain/model/batch-spec.ts'
import type { ReleasePolicy } from '../domain/release/policy.ts'
import type { ReleaseId, ReleaseStage, ReleaseState } from '../domain/release/state.ts'

// What the SDK's own functions of these names give. They would bring its runtime into every process of the API and of the
// command line, which send these messages and never receive one: a fifth of what a replica loads before it is ready.
const defineQuery = ((name: string) => ({ type: 'query', name })) as typeof sdk.defineQuery
const defineSignal = ((name: string) => ({ type: 'signal', name })) as typeof sdk.defineSignal
const defineUpdate = ((name: string) => ({ type: 'update', name })) as typeof sdk.defineUpdate

// Identities

/** At most one retraining of a model runs at a time, because there is one workflow id for it. */
export const retrainWorkflowId = (model: string): string => `retrain/${model}`
/** At most one release of a model runs at a time, because there is one workflow id for it. */
export const releaseWorkflowId = (model: string): string => `release/${model}`
/** The id of the release that a workflow run makes, so that whoever starts one knows it at once. */
export const releaseIdOf = (firstRunId: string): ReleaseId => `rel_${firstRunId.replaceAll('-', '')}`

// retrain

export type RetrainReason = 'schedule' | 'manual' | 'drift' | 'quality' | 'labels'

export interface RetrainRequest {
  model: string
  /** ISO 8601; rows known by then are used. The time of the start when absent. */
  asOf?: string
  reason?: RetrainReason
  /** The name of the key that asks; `schedule/<model>` for schedules; `temporal` when started by hand. */
  requestedBy?: string
  evidence?: Record<string, unknown>
  dedupeKey?: string
  /** Passed on to the release; replaces the policy of the model file for this one challenger. */
  policy?: ReleasePolicy
}

export interface RetrainOutcome {
  outcome:
    | 'released'
    | 'registered'
    | 'quarantined'
    | 'not_better'
    | 'insufficient'
    | 'failed'
    | 'cancelled'
    /** Held back before it began: the same evidence asked before, or another training was too short ago. */
    | 'throttled'
  message: string
  model: string
  retrainingId: string
  version?: string
  releaseId?: string
  snapshotDigest?: string
}

/** What a running retraining is doing, for `retrain --watch` and the API. */
export interface RetrainProgress {
  stage: 'opening' | 'snapshot' | 'validate' | 'train' | 'evaluate' | 'register' | 'release' | 'ended'
  retrainingId?: string
  snapshotDigest?: string
  trainingId?: string
  evaluationId?: string
  version?: string
  releaseId?: string
}
export const retrainProgress = defineQuery<RetrainProgress>('progress')

// monitor

/** There is one monitor a model. */
export const monitorWorkflowId = (model: string): string => `monitor/${model}`
/** Who asks for a retraining when a monitor does. */
export const monitorRequester = (model: string): string => `monitor/${model}`

export interface MonitorRequest {
  model: string
  /** The end of the last window that is dealt with, in milliseconds; what is stored decides when absent. */
  afterMs?: number
}

// batch prediction

export const batchWorkflowId = (id: string): string => `batch/${id}`

export interface BatchRequest extends BatchSpec {
  /** Names the batch, its row and its workflow. */
  id: string
  /** The name of the key that asks. */
  requestedBy: string
}

export interface BatchOutcome {
  status: 'done' | 'failed'
  message: string
  version?: string
}

// erasure

export const eraseWorkflowId = (id: string): string => `erase/${id}`

/** The person is named by the row of this id alone: whatever stands in a history stays there. */
export interface EraseRequest {
  id: string
  /** How long live replicas have to say that nothing from before waits with them; ten minutes when absent. */
  patienceMs?: number
}

// feature views

/** At most one run of a view at a time, because there is one workflow id for it. */
export const materialiseWorkflowId = (view: string): string => `materialise/${view}`

export interface MaterialiseRequest {
  view: string
  /** ISO 8601: everything from then on is read again, for rows that came later than the view says they may. */
  from?: string
}

export interface MaterialiseOutcome {
  view: string
  message: string
  read: number
  added: number
  late: number
  forgotten: number
  /** ISO 8601: everything that was usable by then is stored. */
  watermark?: string
}

// alerts

/** There is one that tells people of alerts, for all models. */
export const alertsWorkflowId = 'alerts'

// release

export interface ReleaseRequest {
  model: string
  /** The registered version to release. */
  version: string
  requestedBy: string
  /** Replaces the policy of the model file, for tests and drills; frozen like it. */
  policy?: ReleasePolicy
  /** Takes the shorter way of a hotfix, and the place of an open release; asked for by an approver or an admin. */
  hotfix?: { reason: string }
  /** The drill that it is part of: it is never promoted. */
  drill?: { id: string; kind: DrillKind }
  /** The place in the queue that it had, to be told when it comes to nothing. */
  turn?: string
}

export interface ReleaseOutcome {
  outcome: 'promoted' | 'rolled_back' | 'rejected' | 'expired' | 'aborted' | 'superseded' | 'failed'
  reason: string
  releaseId: string
  model: string
  version: string
}

export { commandNames, type CommandName } from '../domain/release/state.ts'

export interface Command {
  /** The name of an active API key; its role decides what it may say. */
  by: string
  reason?: string
  /** Makes a repetition harmless; the update id when absent. */
  id?: string
  /** What the sender saw: the command is refused when it is no longer what is released. */
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** ISO 8601: heard later than that it is refused. For what ends a wait, when it may be long on its way. */
  until?: string
  /** Shows that the bearer of the key has said it; asked for where a bare name is not believed. */
  signature?: string
}

export interface CommandResult {
  accepted: boolean
  stage: ReleaseStage
  /** What happened, or why nothing did. */
  message: string
}

/** Fire and forget; what it did stands in `release_commands` and in the audit. */
export const commandSignals = {
  approve: defineSignal<[Command]>('approve'),
  reject: defineSignal<[Command]>('reject'),
  pause: defineSignal<[Command]>('pause'),
  resume: defineSignal<[Command]>('resume'),
  abort: defineSignal<[Command]>('abort'),
  rollback: defineSignal<[Command]>('rollback'),
  promoteNow: defineSignal<[Command]>('promoteNow'),
} as const

/** The same words with an answer. */
export const commandUpdates = {
  approve: defineUpdate<CommandResult, [Command]>('approve'),
  reject: defineUpdate<CommandResult, [Command]>('reject'),
  pause: defineUpdate<CommandResult, [Command]>('pause'),
  resume: defineUpdate<CommandResult, [Command]>('resume'),
  abort: defineUpdate<CommandResult, [Command]>('abort'),
  rollback: defineUpdate<CommandResult, [Command]>('rollback'),
  promoteNow: defineUpdate<CommandResult, [Command]>('promoteNow'),
} as const

/** Somebody waits for the place of this release; who and with what right stands in the row. */
export const supersedeSignal = defineSignal('supersede')

export const releaseStatus = defineQuery<ReleaseState>('status')

// the turn of a release

/** One release of a model waits at most, and one workflow brings it to its start. */
export const queueWorkflowId = (model: string): string => `queue/${model}`

export interface QueueRequest {
  model: string
}

/** Somebody waits anew, or the open release has ended. */
export const wakeSignal = defineSignal('wake')

// drill

/** One drill of a model at a time, because there is one workflow id for it. */
export const drillWorkflowId = (model: string): string => `drill/${model}`

export interface DrillRequest {
  model: string
  /** The name of the key that asks; `schedule/<model>` for the monthly ones. */
  requestedBy: string
  /** All kinds of the model's policy, one after another, when absent. */
  kinds?: DrillKind[]
  /** Replace what the model's policy says. */
  changes?: Partial<Pick<DrillPolicy, 'traffic' | 'harmBudget' | 'withinMs' | 'shareBp'>>
}

export interface DrillOutcome {
  model: string
  drills: { id: string; kind: DrillKind; passed: boolean; message: string }[]
  message: string
}

// retention

/** One at a time in a whole system, because there is one workflow id for it. */
export const retentionWorkflowId = 'retention'

export interface RetentionOutcome {
  /** Partitions made for today and the days to come. */
  daysMade: number
  daysDropped: string[]
  /** Table → rows deleted, where there were any. */
  rows: Record<string, number>
  /** Artifacts and snapshots that were given up, and the files that went with them or had no row. Absent when a run from before goes on. */
  artifacts?: { givenUp: number; removed: number; freedBytes: number }
}

// rollback outside of a release

/** At most one rollback of a model runs at a time, because there is one workflow id for it. */
export const rollbackWorkflowId = (model: string): string => `rollback/${model}`

/** Returns a model to its last proven version. While a release is open, the release is told instead. */
export interface RollbackRequest {
  model: string
  /** The name of an active key that may roll back. */
  by: string
  reason: string
  /** What the warrant is for, and the warrant: see `Command`. */
  id?: string
  signature?: string
  /** ISO 8601: when it was said, if not now. A version that has become champion since is not meant. */
  recordedAt?: string
}

export interface RollbackOutcome {
  outcome: 'rolled_back' | 'forwarded' | 'refused'
  message: string
  model: string
  /** Why it was refused. */
  code?: 'forbidden' | 'no_champion' | 'no_rollback_target' | 'command_refused'
  /** The version taken back. */
  from?: string
  /** The version that answers now. */
  to?: string
  /** The release that was told instead. */
  releaseId?: string
  /** From the order to the last live replica's acknowledgement, in milliseconds. */
  tookMs?: number
}
