/**
 * Defines the events of a release: the reports of its own steps and the commands of users. Every change of a release is one of
 * these events, so that all changes follow the same rules.
 */
import type { CommandName, Recovery, ReleaseState, ReleaseBasis } from './state.ts'
import type { Role } from '../roles.ts'
import type { VerdictKind } from '../verdict.ts'

/** A command of a user, with the facts of the user's key. */
export interface CommandEvent {
  kind: 'command'
  atMs: number
  command: CommandName
  /** The name of the key. */
  by: string
  /** Absent when no active key of that name exists. */
  role?: Role
  /** The id of the key. */
  key?: string
  /** Whether the key covers this model. */
  inScope: boolean
  /** The current basis of the release. */
  basis?: ReleaseBasis
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** The command is invalid after this time. */
  untilMs?: number
}

/** The reports of the steps of a release. Times are milliseconds on the clock of the database. */
export type StepEvent =
  /** A separate process has loaded the candidate and its checks have passed. */
  | { kind: 'qualified'; atMs: number }
  /** The candidate must not be released. */
  | { kind: 'disqualified'; atMs: number; reason: string }
  /** All live replicas follow the routing of the stage. */
  | {
      kind: 'routed'
      atMs: number
      epoch: number
      generation: number
      startedMs: number
      /** The replicas that serve the candidate, in a rolling release. */
      replicas?: string[]
    }
  /** The routing is written, but not every live replica has acknowledged it. */
  | { kind: 'unacknowledged'; atMs: number; epoch: number; generation: number; problems: string[] }
  /** The champion, the candidate, the evidence or the routing has changed since the release began. */
  | { kind: 'stale'; atMs: number; reason: string }
  /** A verdict that needs an action. `due`: it cannot wait any longer, at a deadline or with questions for an approver. */
  | {
      kind: 'judged'
      atMs: number
      verdict: VerdictKind
      reason: string
      due: boolean
      questions?: string[]
    }
  /** The champion has changed, and the routing with it. */
  | { kind: 'promoted'; atMs: number; epoch: number; generation: number }
  /** A route or the promotion was refused: a verdict is against the candidate, or, with `expired`, the break-glass order has expired. */
  | { kind: 'refused'; atMs: number; reason: string; expired?: true }
  /** The candidate is rolled back; `problems` names live replicas that have not acknowledged it yet. */
  | { kind: 'rolled_back'; atMs: number; problems: string[]; rollbackResult: Recovery }
  /** The end is recorded. */
  | { kind: 'closed'; atMs: number }
  /** No approval, decision or resume came in time. */
  | { kind: 'timed_out'; atMs: number }
  /** A step has failed, and a retry would not help. */
  | { kind: 'step_failed'; atMs: number; step: string; message: string }
  /**
   * Another release of the model preempts this one: while no request has reached it (`unexposed`), or until its promotion
   * (`exposed`). Ignored in any other stage.
   */
  | {
      kind: 'superseded'
      atMs: number
      by: string
      version: string
      over: 'unexposed' | 'exposed'
      /** Whether the other release is a hotfix. */
      hotfix: boolean
      reason: string
    }
  /** The workflow was cancelled from outside. */
  | { kind: 'cancelled'; atMs: number }
  /** The row is older than the state that the workflow has seen: a backup was restored. */
  | { kind: 'restored'; atMs: number }

export type ReleaseEvent = CommandEvent | StepEvent

export interface Advance {
  state: ReleaseState
  /** False when the event changed nothing; the message states why. */
  applied: boolean
  message: string
}
