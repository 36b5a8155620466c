/**
 * Moves a release from stage to stage, for commands and reports alike. Each move resets everything that belongs to a stage, so
 * that no release passes a stage on the evidence of another.
 */
import type { Advance } from './events.ts'
import {
  isBreakGlass,
  promotesByProof,
  stepsOf,
  type ReleaseOutcomeKind,
  type ReleaseStage,
  type ReleaseState,
} from './state.ts'

export function applied(state: ReleaseState, message: string): Advance {
  return { state: { ...state, revision: state.revision + 1 }, applied: true, message }
}

/** Ends the release, with its reason as the message. */
export const endRelease = (
  state: ReleaseState,
  atMs: number,
  outcome: ReleaseOutcomeKind,
  reason: string,
): Advance => applied(end(state, atMs, outcome, reason), reason)

/** Orders a rollback, with its reason as the message; `withdraw` when the version must never be routed again. */
export const rollBack = (
  state: ReleaseState,
  atMs: number,
  outcome: RollbackOrder['outcome'],
  reason: string,
  withdraw = false,
): Advance => applied(orderRollback(state, atMs, { outcome, reason, withdraw }), reason)

export const ignored = (state: ReleaseState, message: string): Advance => ({ state, applied: false, message })

/** Enters a stage with a new clock, not paused and not routed unless `changes` set it. */
export function enterStage(
  state: ReleaseState,
  stage: ReleaseStage,
  atMs: number,
  changes: Partial<ReleaseState> = {},
): ReleaseState {
  const { pause: _pause, undecidedStage: _undecided, ...rest } = state
  return {
    ...rest,
    stage,
    stageIndex: 0,
    enteredMs: atMs,
    routed: false,
    attempts: 0,
    extensions: 0,
    blockedBy: [],
    paused: false,
    ...changes,
  }
}

/** The state after returning to an observed stage. Its deadline counts once more. */
export function extended(state: ReleaseState, stage: ReleaseStage, atMs: number): ReleaseState {
  const { stageIndex, extensions } = state
  return enterStage(state, stage, atMs, { stageIndex, routed: true, extensions: extensions + 1 })
}

/** The state after the current stage has passed: the next share, the promotion, or the end. */
export function nextStage(state: ReleaseState, atMs: number): ReleaseState {
  const decided = state.stage === 'awaiting_decision'
  const stage = decided ? state.undecidedStage : state.stage
  if (stage === 'probation') return end(state, atMs, 'promoted', 'passed all stages and probation')
  const steps = stepsOf(state)
  const at = steps.findIndex((each) => each.stage === stage && each.stageIndex === state.stageIndex)
  // With break-glass, the current stage is the last.
  const next = isBreakGlass(state) ? undefined : steps[at + 1]
  if (next)
    return enterStage(state, next.stage, atMs, { stageIndex: next.stageIndex, shareBp: next.policy.shareBp })
  if (state.drill !== undefined)
    return orderRollback(state, atMs, {
      outcome: 'aborted',
      reason: 'passed all stages; a drill is never promoted',
      withdraw: false,
    })
  // Without proof on paired predictions, an approver decides whether a shadow release is promoted.
  const needsDecision = state.strategy === 'shadow' && !promotesByProof(state) && !isBreakGlass(state)
  if (needsDecision && !decided && stage === 'shadow')
    return enterStage(state, 'awaiting_decision', atMs, {
      routed: true,
      extensions: state.extensions,
      undecidedStage: 'shadow',
    })
  return enterStage(state, 'promoting', atMs)
}

type RollbackOrder = NonNullable<ReleaseState['rollbackOrder']>

/** Orders a rollback from any stage; the release ends at once while no request can have reached the candidate. */
function orderRollback(state: ReleaseState, atMs: number, order: RollbackOrder): ReleaseState {
  if (state.stage === 'qualifying' || state.stage === 'awaiting_approval') {
    const outcome = order.outcome === 'rolled_back' ? 'aborted' : order.outcome
    return end(state, atMs, outcome, order.reason)
  }
  return enterStage(state, 'rolling_back', atMs, { stageIndex: state.stageIndex, rollbackOrder: order })
}

export function end(
  state: ReleaseState,
  atMs: number,
  outcome: ReleaseOutcomeKind,
  reason: string,
): ReleaseState {
  return enterStage(state, 'ended', atMs, { shareBp: outcome === 'promoted' ? 10_000 : 0, outcome, reason })
}
