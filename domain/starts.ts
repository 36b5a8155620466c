/** Declares what users ask for when they start a workflow: the content of the row that its input names. */
import type { DrillKind, DrillPolicy } from './drill.ts'
import type { BatchSpec } from './model/batch-spec.ts'
import type { LoadPlan } from './model/load-test.ts'
import { codeFolder, type BroughtArtifact } from './model/brought-artifact.ts'
import type { ReleasePolicy } from './release/policy.ts'
import { commandRoles } from './release/state.ts'
import { codeRoles, startRoles, type Role, type StartType } from './roles.ts'
import type { HyperparameterValues } from './training/overrides.ts'

export interface ReleaseStart {
  model: string
  /** The registered version to release. */
  version: string
  /** Replaces the policy of the model file, for tests and drills; frozen in the same way. */
  policy?: ReleasePolicy
  /** Shortens the stages and supersedes an open release; the requester is an approver or an admin. */
  hotfix?: { reason: string }
}

export interface RetrainStart {
  model: string
  /** ISO 8601; uses the rows known by then. Default: the start time. */
  asOf?: string
  evidence?: Record<string, unknown>
  /** Passed to the release; replaces the policy of the model file for this challenger. */
  policy?: ReleasePolicy
  /** An artifact to evaluate and release instead of training one. */
  artifact?: BroughtArtifact
  /** Hyperparameters that replace those of the model file for this training. */
  overrides?: HyperparameterValues
}

/** A training that is evaluated and not registered. */
export interface TrialStart {
  /** Identifies the trial, its row and its workflow: `try_…`. */
  id: string
  model: string
  /** ISO 8601; uses the rows known by then. Default: the start time. */
  asOf?: string
  /** Hyperparameters that replace those of the model file. */
  overrides?: HyperparameterValues
}

export interface SweepStart {
  /** Identifies the sweep and its row: `swp_…`. */
  id: string
  model: string
  /** The hyperparameters of each trial. */
  candidates: HyperparameterValues[]
  /** How many trials run at the same time. */
  parallel: number
  /** ISO 8601; uses the rows known by then. Default: the start time. */
  asOf?: string
}

export interface DrillStart {
  model: string
  /** Run one after another. Default: all kinds of the model's policy. */
  kinds?: DrillKind[]
  /** Override the model's drill policy. */
  changes?: Partial<Pick<DrillPolicy, 'traffic' | 'harmBudget' | 'withinMs' | 'shareBp'>>
}

export interface BatchStart extends BatchSpec {
  /** Identifies the batch, its row and its workflow. */
  id: string
}

export interface MaterialiseStart {
  view: string
  /** ISO 8601: reads the source again from this time on, for rows that came later than the lateness limit of the view. */
  from?: string
}

export interface LoadTestStart extends LoadPlan {
  /** Identifies the load test: `ldt_…`. */
  id: string
  model: string
  version: string
}

/** By the name of the workflow. */
export interface StartInputs {
  release: ReleaseStart
  retrain: RetrainStart
  trial: TrialStart
  sweep: SweepStart
  drill: DrillStart
  batchPredict: BatchStart
  materialise: MaterialiseStart
  loadTest: LoadTestStart
}

/** The roles that may start a workflow with this input. */
export function rolesOfStart(kind: StartType, input: object): readonly Role[] {
  const { artifact } = input as Partial<RetrainStart>
  if (kind !== 'retrain') return startRoles[kind]
  if (artifact?.refused !== undefined) return commandRoles.promoteNow
  return artifact?.file === codeFolder
    ? startRoles.retrain.filter((role) => codeRoles.includes(role))
    : startRoles[kind]
}

/** What the names in a start request meant to its user. */
export interface StartBasis {
  /** The champion of the model; null for a model without one. */
  champion?: string | null
  /** The digest of the artifact of the version. */
  artifact?: string
}
