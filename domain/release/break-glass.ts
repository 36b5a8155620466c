/**
 * Break-glass: the word of one admin, in the place of the approvals that are missing and of waiting from share to share. It stands in
 * the place of no check: callers of one share meet the candidate first, and their judge must find nothing against it. An order
 * that skipped that would be given in the worst hour of the year and would make it the hour in which nobody looks.
 */
import { isBreakGlass, stepsOf, type ReleaseState, type Statement } from './state.ts'
import { enterStage } from './transitions.ts'

/** How long the order may wait for the checks to let the candidate through. */
export const breakGlassMs = 3_600_000

/**
 * The release on its shorter way: the share it has, or the first that it would have, and from there to all callers. A strategy
 * that shows the candidate to no caller before the promotion keeps its shadow; one that watches nothing has nothing left to pass.
 */
export function applyBreakGlass(given: ReleaseState, said: Statement): ReleaseState {
  const { pause, ...unpaused } = given
  const state: ReleaseState = {
    ...unpaused,
    paused: false,
    breakGlass: { ...said, digests: given.digests, untilMs: said.atMs + breakGlassMs },
  }
  const steps = stepsOf(state)
  const watched = steps.find(({ stage }) => stage === 'canary') ?? steps[0]
  if (watched === undefined) return enterStage(state, 'promoting', said.atMs)
  const { stageIndex, extensions, enteredMs, undecidedStage } = state
  if (given.stage === watched.stage)
    return { ...state, enteredMs: enteredMs + (pause === undefined ? 0 : said.atMs - pause.atMs) }
  if (undecidedStage === watched.stage)
    return enterStage(state, undecidedStage, said.atMs, {
      stageIndex,
      routed: true,
      extensions: extensions + 1,
    })
  return enterStage(state, watched.stage, said.atMs, {
    stageIndex: watched.stageIndex,
    shareBp: watched.policy.shareBp,
  })
}

/** Why the order counts no more; undefined while it does, and where none was given. */
export function breakGlassExpired(state: ReleaseState, atMs: number): string | undefined {
  const { by, untilMs } = state.breakGlass ?? {}
  if (!isBreakGlass(state) || untilMs === undefined || atMs < untilMs) return undefined
  return `the glass was broken by ${by}, and the hour for it is over`
}
