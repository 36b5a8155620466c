/**
 * Runs a release: performs the next effect of the state, turns its result into an event and advances the state. Commands reach the
 * same reducer at any time and cancel a step that the state no longer asks for.
 */
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  setHandler,
  sleep,
  upsertSearchAttributes,
  setCurrentDetails,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import { advance } from '../domain/release/reducer.ts'
import { nextEffect, type ReleaseEffect } from '../domain/release/next-effect.ts'
import type { Advance, ReleaseEvent, StepEvent } from '../domain/release/events.ts'
import type { ReleaseState } from '../domain/release/state.ts'
import { releaseStages } from '../domain/release/state.ts'
import { whyWaiting } from '../domain/release/explain.ts'
import { receiveCommands } from './release/command-handlers.ts'
import type { CarriedCommands } from './release/inbox.ts'
import {
  basisSignal,
  releaseIdOf,
  releaseStatus,
  releaseWorkflowId,
  supersedeSignal,
  type ReleaseOutcome,
  type ReleaseRequest,
} from './messages.ts'
import { messageOf, control, qualifying, routing, watching } from './release/activities.ts'
import { field, parseInput } from './input/parse-input.ts'
import { notifyQueue } from './start-child.ts'
import { whereVersioned } from './worker-versioning.ts'

/** What one run hands to the next when its history grows long. */
export interface Carried {
  state: ReleaseState
  commands: CarriedCommands
}

// A release ends on the build that it began with, so that a deployment changes nothing in flight.
setWorkflowOptions(whereVersioned('PINNED'), release)

export async function release(given: ReleaseRequest, carried?: Carried): Promise<ReleaseOutcome> {
  const info = workflowInfo()
  const id = releaseIdOf(info.firstExecutionRunId)
  const request = parseInput<ReleaseRequest>(given, { model: field.name, order: field.name })
  // A caller can pass any second argument, so only a run that Temporal continued as new may use it.
  const isContinued =
    info.continuedFromExecutionRunId !== undefined && info.workflowId === releaseWorkflowId(request.model)
  const previous = isContinued ? carried : undefined
  const steps = createSteps(previous?.state)
  let cancelled = false
  let ending = false

  setHandler(releaseStatus, steps.current)
  const commands = receiveCommands({
    state: steps.find,
    dispatch: steps.dispatch,
    carried: previous?.commands,
  })
  const { needsHandOver } = commands
  // A stage may be watched for weeks; the next run resumes it.
  void CancellationScope.nonCancellable(() => condition(needsHandOver)).then(steps.cancel)
  setHandler(supersedeSignal, async () => {
    await condition(() => steps.find() !== undefined || ending)
    if (steps.find() !== undefined && !ending) await offerSupersede()
  })
  setHandler(basisSignal, async () => {
    if (steps.find()?.stage !== 'awaiting_approval') return
    const reason = await CancellationScope.nonCancellable(() => control.findLostBasis(steps.current()))
    if (reason !== null && steps.current().stage === 'awaiting_approval')
      steps.dispatch({ kind: 'stale', atMs: Date.now(), reason })
  })
  CancellationScope.current().cancelRequested.catch(() => {
    cancelled = true
    if (steps.find() !== undefined) steps.dispatch({ kind: 'cancelled', atMs: Date.now() })
  })

  // A cancelled run still rolls its candidate back and records its end.
  return CancellationScope.nonCancellable(async () => {
    if (steps.find() === undefined) {
      const opening = await control.openRelease({
        ...request,
        id,
        workflowId: info.workflowId,
        runId: info.firstExecutionRunId,
        atMs: Date.now(),
      })
      if ('refused' in opening) {
        ending = true
        await commands.close(opening.refused)
        await notifyQueue(request.model)
        return refusedOutcome(request.model, id, opening)
      }
      steps.open(opening.state)
      if (cancelled) steps.dispatch({ kind: 'cancelled', atMs: Date.now() })
    }
    for (;;) {
      publish(steps.current())
      if (nextEffect(steps.current()).kind === 'none') break
      do {
        await steps.save()
        await commands.recorded()
      } while (!steps.isSaved())
      const effect = nextEffect(steps.current())
      if (needsHandOver()) await handOver()
      const event = await steps.attempt(effect, needsHandOver)
      if (event === undefined) continue
      try {
        steps.dispatch({ ...event, atMs: Date.now() } as StepEvent)
      } catch (error) {
        // A defect caused this event. The release must still end, or the candidate would stay exposed.
        steps.dispatch({
          kind: 'step_failed',
          step: effect.kind,
          message: messageOf(error),
          atMs: Date.now(),
        })
      }
    }
    ending = true
    await commands.close()
    await notifyQueue(request.model)
    await condition(allHandlersFinished)
    const { outcome = 'failed', reason = '', model, version } = steps.current()
    return { outcome, reason, releaseId: id, model, version }
  })

  /** Continues as new. Nothing is awaited after the last check, because a command that arrived then would be lost. */
  async function handOver(): Promise<never> {
    const ready = () => commands.canHandOver() && allHandlersFinished()
    while (!ready() || !steps.isSaved()) {
      await condition(ready)
      await steps.save()
    }
    return continueAsNew<typeof release>(request, { state: steps.current(), commands: commands.handOver() })
  }

  /** Offers the place of this release to the queued release. The queue entry names the rule. */
  async function offerSupersede(): Promise<void> {
    const waiting = await CancellationScope.nonCancellable(() =>
      control.nextQueuedRelease({ model: request.model }),
    )
    if (waiting === null || waiting.preemption === 'none' || ending) return
    const { requestedBy: by, version, preemption: over, hotfixReason: reason } = waiting
    const hotfix = reason !== undefined
    steps.dispatch({ kind: 'superseded', atMs: Date.now(), by, version, over, hotfix, reason: reason ?? '' })
  }
}

/** A step event without its time. */
type Report = StepEvent extends infer Event ? (Event extends StepEvent ? Omit<Event, 'atMs'> : never) : never

interface Steps {
  /** Undefined until the release is open. */
  find(): ReleaseState | undefined
  /** Throws until the release is open. */
  current(): ReleaseState
  open(state: ReleaseState): void
  /** The only way to change the state. Cancels the running step when the new state asks for another one. */
  dispatch(event: ReleaseEvent): Advance
  /** Stores the state, unless it is stored already. */
  save(): Promise<void>
  isSaved(): boolean
  cancel(): void
  /** Performs the effect. Undefined when the state stopped asking for it in the meantime. */
  attempt(effect: ReleaseEffect, needsHandOver: () => boolean): Promise<Report | undefined>
}

/** Holds the state of a run, the last stored revision and the running step. */
function createSteps(carried: ReleaseState | undefined): Steps {
  let state = carried
  let saved = carried?.revision ?? 1
  let running: { key: string; scope: CancellationScope } | undefined
  const current = (): ReleaseState => {
    if (state === undefined) throw new Error('the release is not open yet')
    return state
  }
  return {
    find: () => state,
    current,
    open(opened) {
      state = opened
    },
    dispatch(event) {
      const result = advance(current(), event)
      state = result.state
      if (running && running.key !== nextEffect(state).key) running.scope.cancel()
      return result
    },
    async save() {
      const now = current()
      if (now.revision === saved) return
      await control.recordRelease({ state: now, commands: [] })
      saved = now.revision
    },
    isSaved: () => current().revision === saved,
    cancel: () => running?.scope.cancel(),
    async attempt(effect, needsHandOver) {
      const scope = new CancellationScope()
      running = { key: effect.key, scope }
      const unwanted = () => nextEffect(current()).key !== effect.key
      try {
        const report = await scope.run(() => perform(effect, current()))
        return unwanted() ? undefined : report
      } catch (error) {
        // A step cancelled by a pause may be wanted again before it has ended, when a resume follows at once.
        if (scope.consideredCancelled || unwanted() || needsHandOver()) return undefined
        return { kind: 'step_failed', step: effect.kind, message: messageOf(error) }
      } finally {
        running = undefined
        // Cancels the loser of a race between a step and a timer.
        scope.cancel()
      }
    },
  }
}

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
      const verdict = watching.watch({ state, hold, deadlineMs })
      if (untilMs === undefined) return verdict
      const late = sleep(Math.max(1, untilMs - Date.now())).then((): Report => ({ kind: 'timed_out' }))
      return Promise.race([verdict, late])
    }
    case 'promote':
      return control.promote(state)
    case 'roll_back':
      await pauseBefore(state.attempts)
      return routing(state).rollBackCandidate(state)
    case 'close':
      await pauseBefore(state.attempts)
      return { kind: 'closed', ...(await routing(state).closeRelease(state)) }
    case 'none':
      throw new Error('nothing is left to do')
    default:
      return effect satisfies never
  }
}

/** Exponential backoff for steps that must succeed. */
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

function refusedOutcome(
  model: string,
  releaseId: string,
  { refused: reason, version = '' }: { refused: string; version?: string },
): ReleaseOutcome {
  upsertSearchAttributes({
    Model: [model],
    ...(version !== '' && { CandidateVersion: [version] }),
    ReleaseStage: ['ended'],
    Outcome: ['failed'],
  })
  setCurrentDetails(reason)
  return { outcome: 'failed', reason, releaseId, model, version }
}
