/**
 * Performs one step of a release. A workflow names only the release and the step: the state is read from its row, and what the step
 * reports is applied to the row, so that a client of Temporal can neither invent a state nor a result.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { nextEffect, type ReleaseEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { currentState, reportStep, type StepInput, type StepReport } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'
import { toFailure } from '../runtime/failures.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'

/** Performs the effect. Undefined when it has advanced the release itself, or when the release asks for another step by now. */
export type PerformStep = (
  state: ReleaseState,
  beat: Beat,
  input: StepInput,
) => Promise<StepReport | undefined>

/**
 * Returns the state after the step; the present state when the release asks for another step. A key belongs to one kind of effect: a
 * client of Temporal may give it to the activity of another one.
 */
export const releaseStep =
  (deps: Deps, kind: ReleaseEffect['kind'], perform: PerformStep) =>
  async (input: StepInput): Promise<ReleaseState> =>
    withHeartbeat(async (beat) => {
      const { store } = deps
      const state = await currentState(store, input)
      const effect = nextEffect(state)
      if (effect.kind !== kind || effect.key !== input.step) return state
      const report = await perform(state, beat, input).catch((error: unknown): StepReport => {
        if (!isFinal(error)) throw error
        return { kind: 'step_failed', step: effect.kind, message: (toFailure(error) as Error).message }
      })
      if (report === undefined) return currentState(store, input)
      return reportStep(store, input, report)
    })

/** Whether Temporal would not try again. */
function isFinal(error: unknown): boolean {
  const failure = toFailure(error)
  if (failure instanceof ApplicationFailure && failure.nonRetryable === true) return true
  const { cancellationSignal, info } = Context.current()
  const { maximumAttempts = 0 } = info.retryPolicy ?? {}
  return !cancellationSignal.aborted && maximumAttempts > 0 && info.attempt >= maximumAttempts
}
