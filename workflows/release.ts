/**
 * The life of a release: take the next effect the state asks for, do it, turn what came back into an event, advance.
 * People speak into the same reducer at any moment; a step that the state no longer asks for is cancelled. Nothing here
 * judges or decides, and nothing here is lost when a worker dies.
 */
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setHandler,
  sleep,
  upsertSearchAttributes,
  setCurrentDetails,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import { advance } from '../domain/release/reducer.ts'
import { nextEffect, type ReleaseEffect } from '../domain/release/next-effect.ts'
import type { ReleaseEvent, StepEvent } from '../domain/release/events.ts'
import type { ReleaseState } from '../domain/release/state.ts'
import { releaseStages } from '../domain/release/state.ts'
import { whyWaiting } from '../domain/release/explain.ts'
import { receiveCommands, type CarriedCommands } from './release/command-handlers.ts'
import {
  queueWorkflowId,
  releaseIdOf,
  releaseStatus,
  supersedeSignal,
  wakeSignal,
  type ReleaseOutcome,
  type ReleaseRequest,
} from './messages.ts'
import { messageOf, patient, qualifying, routing, watching } from './release/activities.ts'
import { whereVersioned } from './worker-versioning.ts'

/** What one run hands to the next when its history grows long. */
export interface Carried {
  state: ReleaseState
  /** Absent in what was handed over by earlier builds. */
  commands?: CarriedCommands
}

// Ends on the build of the workers that it began with: nothing in flight changes with a deployment.
setWorkflowOptions(whereVersioned('PINNED'), release)

export async function release(given: ReleaseRequest, carried?: Carried): Promise<ReleaseOutcome> {
  const info = workflowInfo()
  const id = releaseIdOf(info.firstExecutionRunId)
  // Started by hand, a release may lack anything.
  const { model = '', version = '', requestedBy = 'temporal' } = (given ?? {}) as Partial<ReleaseRequest>
  const request = {
    ...given,
    model: String(model),
    version: String(version),
    requestedBy: String(requestedBy),
  }
  let state: ReleaseState | undefined = carried?.state
  let saved = carried?.state.revision ?? 1
  let running: { key: string; scope: CancellationScope } | undefined
  let cancelled = false
  let shut = false

  /** Everything that happens to the release comes through here. */
  const dispatch = (event: ReleaseEvent) => {
    const result = advance(opened(), event)
    state = result.state
    const wanted = nextEffect(state)
    if (running && running.key !== wanted.key) running.scope.cancel()
    return result
  }
  const opened = (): ReleaseState => {
    if (state === undefined) throw new Error('the release is not open yet')
    return state
  }
  const save = async () => {
    const now = opened()
    if (now.revision === saved) return
    await patient.recordRelease({ state: now, commands: [] })
    saved = now.revision
  }

  setHandler(releaseStatus, opened)
  const commands = receiveCommands({ state: () => state, dispatch, carried: carried?.commands })
  const { turning } = commands
  // A stage may be watched for weeks; the next run goes on with the watch where this one leaves it.
  void CancellationScope.nonCancellable(() => condition(turning)).then(() => running?.scope.cancel())
  setHandler(supersedeSignal, async () => {
    await condition(() => state !== undefined || shut)
    if (state !== undefined && !shut) await offerSupersede()
  })
  CancellationScope.current().cancelRequested.catch(() => {
    cancelled = true
    if (state !== undefined) dispatch({ kind: 'cancelled', atMs: Date.now() })
  })

  // Whatever is asked of the run from outside, the candidate is taken back and the end is written down.
  return CancellationScope.nonCancellable(async () => {
    if (state === undefined) {
      const opening = await patient.openRelease({
        ...request,
        id,
        workflowId: info.workflowId,
        runId: info.firstExecutionRunId,
        atMs: Date.now(),
      })
      if ('refused' in opening) {
        shut = true
        await commands.close(opening.refused)
        await wakeQueue(request.model)
        return refused(request, id, opening.refused)
      }
      state = opening.state
      if (cancelled) dispatch({ kind: 'cancelled', atMs: Date.now() })
    }
    for (;;) {
      publish(opened())
      if (nextEffect(opened()).kind === 'none') break
      await save()
      const effect = nextEffect(opened())
      if (turning()) await handOver()
      const event = await attempt(effect)
      if (event === undefined) continue
      try {
        dispatch({ ...event, atMs: Date.now() } as StepEvent)
      } catch (error) {
        // A report that its stage cannot produce is a defect; the candidate must not stay out because of it.
        dispatch({ kind: 'step_failed', step: effect.kind, message: messageOf(error), atMs: Date.now() })
      }
    }
    shut = true
    await commands.close()
    await wakeQueue(request.model)
    await condition(allHandlersFinished)
    const { outcome = 'failed', reason = '', model, version } = opened()
    return { outcome, reason, releaseId: id, model, version }
  })

  /** Goes on in a run with a history of its own. Nothing may happen between the last look at what waits and the end of this one. */
  async function handOver(): Promise<never> {
    const ready = () => commands.canHandOver() && allHandlersFinished()
    while (!ready() || opened().revision !== saved) {
      await condition(ready)
      await save()
    }
    return continueAsNew<typeof release>(request, { state: opened(), commands: commands.handOver() })
  }

  /** Who waits for the place, and with what right, stands in a row; the signal has only said that somebody does. */
  async function offerSupersede(): Promise<void> {
    const waiting = await CancellationScope.nonCancellable(() =>
      patient.nextQueuedRelease({ model: request.model }),
    )
    if (waiting === null || waiting.preemption === 'none' || shut) return
    const { requestedBy: by, version, preemption: over, hotfixReason: reason = '' } = waiting
    dispatch({ kind: 'superseded', atMs: Date.now(), by, version, over, reason })
  }

  /** Does what the state asks for. Undefined when the state stopped asking for it in the meantime. */
  async function attempt(effect: ReleaseEffect): Promise<Report | undefined> {
    const scope = new CancellationScope()
    running = { key: effect.key, scope }
    const unwanted = () => nextEffect(opened()).key !== effect.key
    try {
      const report = await scope.run(() => perform(effect, opened()))
      return unwanted() ? undefined : report
    } catch (error) {
      // Cancelled by a pause, a step may be wanted again before it has ended: by the resume right behind it.
      if (scope.consideredCancelled || unwanted() || turning()) return undefined
      return { kind: 'step_failed', step: effect.kind, message: messageOf(error) }
    } finally {
      running = undefined
      // What has lost a race against a timer, or the timer.
      scope.cancel()
    }
  }
}

/** The one that waits for its turn is told that it has come; where nobody waits, there is nobody to tell. */
async function wakeQueue(model: string): Promise<void> {
  await getExternalWorkflowHandle(queueWorkflowId(model))
    .signal(wakeSignal)
    .catch(() => {})
}

/** An event that does not know its time yet. */
type Report = StepEvent extends infer Event ? (Event extends StepEvent ? Omit<Event, 'atMs'> : never) : never

async function perform(effect: ReleaseEffect, state: ReleaseState): Promise<Report> {
  switch (effect.kind) {
    case 'qualify':
      return qualifying.qualify(state)
    case 'wait':
      await sleep(Math.max(1, effect.untilMs - Date.now()))
      return { kind: 'timed_out' }
    case 'route':
      return routing(state).route(state)
    case 'watch': {
      const { hold, deadlineMs, untilMs } = effect
      const seen = watching.watch({ state, hold, deadlineMs })
      if (untilMs === undefined) return seen
      const late = sleep(Math.max(1, untilMs - Date.now())).then((): Report => ({ kind: 'timed_out' }))
      return Promise.race([seen, late])
    }
    case 'promote':
      return patient.promote(state)
    case 'roll_back':
      await pauseBefore(state.attempts)
      return routing(state).rollBackCandidate(state)
    case 'close':
      await pauseBefore(state.attempts)
      await routing(state).closeRelease(state)
      return { kind: 'closed' }
    case 'none':
      throw new Error('nothing is left to do')
    default:
      return effect satisfies never
  }
}

/** What must be done and cannot be done is tried again, more and more slowly. */
async function pauseBefore(attempts: number): Promise<void> {
  if (attempts > 0) await sleep(Math.min(250 * 2 ** attempts, 30_000))
}

function publish(state: ReleaseState): void {
  upsertSearchAttributes({
    Model: [state.model],
    CandidateVersion: [state.version],
    ReleaseStage: [state.stage],
    // The server accepts no absent value.
    ...(state.outcome === undefined ? {} : { Outcome: [state.outcome] }),
  })
  setCurrentDetails(`**${state.stage}**: ${releaseStages[state.stage]}\n\n${whyWaiting(state)}`)
}

function refused(request: ReleaseRequest, releaseId: string, reason: string): ReleaseOutcome {
  const { model, version } = request
  upsertSearchAttributes({
    Model: [model],
    CandidateVersion: [version],
    ReleaseStage: ['ended'],
    Outcome: ['failed'],
  })
  setCurrentDetails(reason)
  return { outcome: 'failed', reason, releaseId, model, version }
}
