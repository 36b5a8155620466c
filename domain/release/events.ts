/**
 * What can happen to a release: what its own steps report, and what people say. Everything that changes a release
 * comes through one of these; a second way in would be a way past the rules.
 */
import type { CommandName, Recovery, ReleaseState, ReleaseBasis } from './state.ts'
import type { Role } from '../roles.ts'
import type { VerdictKind } from '../verdict.ts'

/** What a person has said, with what the keys know of that person. */
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
  /** Why it is not believed that this person has said it. */
  rejectedBecause?: string
  /** Whether the key may touch this model. */
  inScope: boolean
  /** What the release stands on now. */
  standing?: ReleaseBasis
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** Said for a wait that is over then. */
  untilMs?: number
}

/** What the steps of the release report. Times are milliseconds on the workflow's clock. */
export type StepEvent =
  /** A process of its own has loaded the candidate and found it in order. */
  | { kind: 'qualified'; atMs: number }
  /** It must not be released at all, for the reason given. */
  | { kind: 'disqualified'; atMs: number; reason: string }
  /** All live replicas follow the routing of the stage. */
  | {
      kind: 'routed'
      atMs: number
      epoch: number
      generation: number
      startedMs: number
      /** Those that answer with the candidate alone, in a rolling release. */
      replicas?: string[]
    }
  /** The routing is written, but not every replica follows it. */
  | { kind: 'unacknowledged'; atMs: number; epoch: number; generation: number; problems: string[] }
  /** The champion, the candidate, the evidence or the routing is no longer what the release was built on. */
  | { kind: 'stale'; atMs: number; reason: string }
  /** The watch has come to something to act on; `due` when the deadline of the stage has passed. */
  | { kind: 'judged'; atMs: number; verdict: VerdictKind; reason: string; due: boolean }
  /** The pointer has moved, the routing with it. */
  | { kind: 'promoted'; atMs: number; epoch: number; generation: number }
  /** The promotion was not carried out, because the last verdict speaks against the candidate. */
  | { kind: 'refused'; atMs: number; reason: string }
  /** The candidate is taken back; `problems` names live replicas that do not follow yet. */
  | { kind: 'rolled_back'; atMs: number; problems: string[]; rollbackResult: Recovery }
  /** The end is written down. */
  | { kind: 'closed'; atMs: number }
  /** A person was waited for in vain. */
  | { kind: 'timed_out'; atMs: number }
  /** A step could not be carried out, and trying again does not help. */
  | { kind: 'step_failed'; atMs: number; step: string; message: string }
  /**
   * Another release of the model asks for the place: of one that no request has reached (`unexposed`), or of any that is not
   * being promoted (`exposed`). It may come at any moment, and is ignored where it may not have the place.
   */
  | {
      kind: 'superseded'
      atMs: number
      by: string
      version: string
      over: 'unexposed' | 'exposed'
      reason: string
    }
  /** The workflow itself was cancelled from outside. */
  | { kind: 'cancelled'; atMs: number }

export type ReleaseEvent = CommandEvent | StepEvent

export interface Advance {
  state: ReleaseState
  /** False when what was asked was not done; the message then says why. */
  applied: boolean
  message: string
}
