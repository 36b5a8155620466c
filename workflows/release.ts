/**
 * Runs a release. The row of the release is its state: this workflow derives the next step from it, has an activity perform that step,
 * and goes on from the state that the activity returns. Signals only say that there is news; the rows say what it is.
 */
import {
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  isCancellation,
  setHandler,
  sleep,
  upsertSearchAttributes,
  setCurrentDetails,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import { nextEffect, type ReleaseEffect } from '../domain/release/next-effect.ts'
import { type ReleaseState, releaseIdOf } from '../domain/release/state.ts'
import { commandNames, releaseStages } from '../domain/release/state.ts'
import { whyWaiting } from '../domain/release/explain.ts'
import {
  basisSignal,
  commandSignals,
  commandUpdates,
  releaseStatus,
  supersedeSignal,
  type CommandMessage,
  type CommandResult,
  type ReleaseOutcome,
  type ReleaseRequest,
} from './messages.ts'
import { acknowledged, errorCodeOf, observation, qualification, short } from './activities.ts'
import { field, parseInput, recordOf } from './input/parse-input.ts'
import { notifyQueue } from './start-child.ts'
import { whereVersioned } from './worker-versioning.ts'

// A release ends on the build that it began with, so that a deployment changes nothing in flight.
setWorkflowOptions(whereVersioned('PINNED'), release)

type StepInput = Parameters<typeof short.endWait>[0]

/** Signals that name this many commands are looked at together; the rows of any others are found all the same. */
const maxNamed = 20

export async function release(given: ReleaseRequest): Promise<ReleaseOutcome> {
  const info = workflowInfo()
  const id = releaseIdOf(info.firstExecutionRunId)
  const request = parseInput<ReleaseRequest>(given, { model: field.name, order: field.name })
  const { model } = request
  const current = holdState()
  const { take } = current
  /** What this run knows of its release. */
  const seen = () => ({ release: id, seen: current.find()?.revision ?? 0 })
  // The run before this one may have been told of what it did not look at.
  const isContinued = info.continuedFromExecutionRunId !== undefined
  const news = {
    commands: new Set<string>(),
    isNew: isContinued,
    basis: isContinued,
    queue: isContinued,
    cancelled: false,
  }
  let refusal: string | undefined
  let ending = false
  /** Whether rows are being looked at. */
  let isLooking = false
  /** Whether the row is gone: a backup from before the release was restored. */
  let isGone = false
  const needsHandOver = () => workflowInfo().continueAsNewSuggested

  setHandler(releaseStatus, current.get)
  for (const name of commandNames) {
    setHandler(commandSignals[name], (sent) => {
      news.isNew = true
      if (news.commands.size < maxNamed) news.commands.add(commandIdOf(sent))
    })
    const answer = async (sent: CommandMessage): Promise<CommandResult> => {
      await condition(() => current.find() !== undefined || ending)
      if (current.find() === undefined) return refused(refusal ?? 'the release was not opened')
      const look = () => short.lookAtCommands({ ...seen(), commands: [commandIdOf(sent)] })
      const { state, answers } = await CancellationScope.nonCancellable(look)
      take(state)
      return answers[0] ?? refused('no such command to this release is recorded')
    }
    setHandler(commandUpdates[name], answer, { validator: requireNamed })
  }
  setHandler(supersedeSignal, () => void (news.queue = true))
  setHandler(basisSignal, () => void (news.basis = true))
  CancellationScope.current().cancelRequested.catch(() => void (news.cancelled = true))

  /** Looks at what is new, as long as the release runs. */
  const isNews = () => news.isNew || news.basis || news.queue || news.cancelled
  const listen = async (): Promise<void> => {
    for (;;) {
      await condition(() => ending || (current.find() !== undefined && isNews()))
      if (ending) return
      const { isNew, basis, queue, cancelled, commands } = news
      Object.assign(news, {
        commands: new Set(),
        isNew: false,
        basis: false,
        queue: false,
        cancelled: false,
      })
      isLooking = true
      try {
        if (isNew) take((await short.lookAtCommands({ ...seen(), commands: [...commands] })).state)
        if (basis) take(await short.lookAtBasis(seen()))
        if (queue) take(await short.lookAtQueue(seen()))
        if (cancelled) take(await short.cancelRelease(seen()))
      } catch (error) {
        requireGone(error)
        isGone = true
        current.interrupt()
      } finally {
        isLooking = false
      }
    }
  }

  // A stage may be watched for weeks; the next run resumes it.
  void CancellationScope.nonCancellable(() => condition(needsHandOver)).then(current.interrupt)

  // A cancelled run still rolls its candidate back and records its end.
  return CancellationScope.nonCancellable(async () => {
    const opening = await short.openRelease({ ...request, id })
    if ('refused' in opening) {
      refusal = opening.refused
      ending = true
      await notifyQueue(model)
      await condition(allHandlersFinished)
      return refusedOutcome(model, id, opening)
    }
    take(opening.state)
    const listening = listen()
    for (;;) {
      const state = current.get()
      publish(state)
      const effect = nextEffect(state)
      if (effect.kind === 'none') break
      if (!isGone && needsHandOver()) await handOver(listening)
      try {
        if (!isGone)
          take(await current.attempt(effect, () => perform(effect, state, { ...seen(), step: effect.key })))
      } catch (error) {
        requireGone(error)
        isGone = true
      }
      if (isGone) {
        // Its routes and its champion are those of the backup.
        ending = true
        await notifyQueue(model)
        await condition(allHandlersFinished)
        return refusedOutcome(model, id, { refused: 'its row is gone: an older backup was restored' })
      }
    }
    await notifyQueue(model)
    // Commands that came with the end, or later while others were looked at, are answered too. Nothing is awaited after this.
    await condition(() => !isNews() && !isLooking && allHandlersFinished())
    ending = true
    await listening
    const { outcome = 'failed', reason = '', version } = current.get()
    return { outcome, reason, releaseId: id, model, version }
  })

  /** Continues as new. Every command is a row, so nothing is carried over: the next run looks at all rows. */
  async function handOver(listening: Promise<void>): Promise<never> {
    ending = true
    await listening
    await condition(allHandlersFinished)
    // The next run does not open a release whose row is gone.
    if (news.cancelled) take(await short.cancelRelease(seen()).catch(requireGone))
    return continueAsNew<typeof release>(request)
  }
}

/** Throws any error but that of a release whose row is gone. */
function requireGone(error: unknown): undefined {
  if (errorCodeOf(error) !== 'release_not_found') throw error
}

const refused = (message: string): CommandResult => ({ accepted: false, stage: 'ended', message })

/** Refuses an update before it enters the history. */
function requireNamed(sent: unknown): void {
  if (!commandIdOf(sent).startsWith('cmd_'))
    throw ApplicationFailure.nonRetryable('the input must be {"command": "cmd_…"}', 'invalid_request')
}

/** The id that a message names. A message of any other shape names no command. */
const commandIdOf = (sent: unknown): string => {
  const { command } = recordOf(sent)
  return typeof command === 'string' ? command.slice(0, 40) : ''
}

interface HeldState {
  /** Undefined until the release is open. */
  find(): ReleaseState | undefined
  /** Throws until the release is open. */
  get(): ReleaseState
  /** Keeps the newer state. Cancels the running step when the state asks for another one. */
  take(state: ReleaseState | undefined): void
  /** Cancels the running step. */
  interrupt(): void
  /** Runs a step. Undefined when the state stopped asking for it in the meantime. */
  attempt(effect: ReleaseEffect, step: () => Promise<ReleaseState>): Promise<ReleaseState | undefined>
}

/** Holds the newest state that an activity has returned, and the running step. */
function holdState(): HeldState {
  let state: ReleaseState | undefined
  let running: { key: string; scope: CancellationScope } | undefined
  const get = (): ReleaseState => {
    if (state === undefined) throw new Error('the release is not open yet')
    return state
  }
  return {
    find: () => state,
    get,
    take(next) {
      if (next === undefined || (state !== undefined && next.revision <= state.revision)) return
      state = next
      if (running && running.key !== nextEffect(next).key) running.scope.cancel()
    },
    interrupt: () => running?.scope.cancel(),
    async attempt({ key }, step) {
      const scope = new CancellationScope()
      running = { key, scope }
      const isUnwanted = () => nextEffect(get()).key !== key
      try {
        return await scope.run(step)
      } catch (error) {
        // A step cancelled by a pause may be wanted again before it has ended, when a resume follows at once.
        if (scope.consideredCancelled || isUnwanted()) return undefined
        throw error
      } finally {
        running = undefined
        // Cancels the loser of a race between a step and a timer.
        scope.cancel()
      }
    },
  }
}

/** Performs a step. Temporal gives a step up after its attempts; the release then fails, because its candidate must not stay exposed. */
async function perform(effect: ReleaseEffect, state: ReleaseState, input: StepInput): Promise<ReleaseState> {
  try {
    return await activityOf(effect, state, input)
  } catch (error) {
    if (isCancellation(error) || errorCodeOf(error) === 'release_not_found') throw error
    return short.failStep(input)
  }
}

function activityOf(effect: ReleaseEffect, state: ReleaseState, input: StepInput): Promise<ReleaseState> {
  switch (effect.kind) {
    case 'qualify':
      return qualification.qualify(input)
    case 'wait':
      return endWait(effect.untilMs, input)
    case 'route':
      return acknowledged(state).route(input)
    case 'watch': {
      const verdict = observation.watch(input)
      const { untilMs } = effect
      return untilMs === undefined ? verdict : Promise.race([verdict, endWait(untilMs, input)])
    }
    case 'promote':
      return short.promote(input)
    case 'roll_back':
      return after(effect.attempts, () => acknowledged(state).rollBackCandidate(input))
    case 'close':
      return after(effect.attempts, () => acknowledged(state).closeRelease(input))
    case 'none':
      throw new Error('nothing is left to do')
    default:
      return effect satisfies never
  }
}

async function endWait(untilMs: number, input: StepInput): Promise<ReleaseState> {
  await sleep(Math.max(1, untilMs - Date.now()))
  return short.endWait(input)
}

/** Exponential backoff for steps that must succeed. */
async function after<T>(attempts: number, step: () => Promise<T>): Promise<T> {
  if (attempts > 0) await sleep(Math.min(250 * 2 ** attempts, 30_000))
  return step()
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
