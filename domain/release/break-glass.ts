/**
 * Applies break-glass: the order of one admin replaces missing approvals and the waiting between shares. It replaces no check: an
 * emergency is when the checks are needed most.
 */
import { groupedDigits } from '../figures.ts'
import { isBreakGlass, stepsOf, watchedPolicy, type ReleaseState, type Statement } from './state.ts'
import { enterStage, extended } from './transitions.ts'

/** How long the order stays valid while the checks run. */
export const breakGlassMs = 3_600_000

/**
 * Shortens the release to one stage: its current share, or the first one, and then 100 %. A strategy without canary stages keeps its
 * shadow; a strategy without any observed stage is promoted directly.
 */
export function applyBreakGlass(given: ReleaseState, order: Statement): ReleaseState {
  const { pause, ...unpaused } = given
  const state: ReleaseState = {
    ...unpaused,
    paused: false,
    breakGlass: { ...order, digests: given.digests, untilMs: order.atMs + breakGlassMs },
  }
  const steps = stepsOf(state)
  const watched = steps.find(({ stage }) => stage === 'canary') ?? steps[0]
  if (watched === undefined) return enterStage(state, 'promoting', order.atMs)
  const { enteredMs, undecidedStage } = state
  if (given.stage === watched.stage)
    return { ...state, enteredMs: enteredMs + (pause === undefined ? 0 : order.atMs - pause.atMs) }
  if (undecidedStage === watched.stage) return extended(state, undecidedStage, order.atMs)
  return enterStage(state, watched.stage, order.atMs, {
    stageIndex: watched.stageIndex,
    shareBp: watched.policy.shareBp,
  })
}

/** What the order leaves to pass: the requests of one stage, if any is observed, and the probation. */
export function stillAhead(state: ReleaseState): string {
  const stage = watchedPolicy(state)
  const parts = [
    ...(stage
      ? [`${groupedDigits(stage.minRequests)} requests at ${state.shareBp / 100} % without a regression`]
      : []),
    ...(state.policy.probation ? ['the probation'] : []),
  ]
  return `still ahead: ${parts.join(', then ') || 'nothing'}`
}

/** Why the order has expired; undefined while it is valid, or without an order. */
export function breakGlassExpired(state: ReleaseState, atMs: number): string | undefined {
  const { by, untilMs } = state.breakGlass ?? {}
  if (!isBreakGlass(state) || untilMs === undefined || atMs < untilMs) return undefined
  return `the break-glass order of ${by} expired after 1 h`
}
