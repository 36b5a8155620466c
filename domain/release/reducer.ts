/**
 * Advances a release: one pure function from a state and an event to the next state. Every order of events, such as an approval that
 * arrives late, twice or together with an abort, follows the same rules.
 */
import { missingSidesText, endUnfounded } from './approval.ts'
import { breakGlassExpired } from './break-glass.ts'
import { advanceByCommand } from './commands.ts'
import { DomainError } from '../errors.ts'
import { limitText } from '../figures.ts'
import type { Advance, ReleaseEvent, StepEvent } from './events.ts'
import { noDataPrefix } from '../verdict.ts'
import {
  isBreakGlass,
  watchedPolicy,
  type ReleaseStage,
  type ReleaseState,
  type WatchedStage,
} from './state.ts'
import { incompatibilityReason } from '../registry/schema-compatibility.ts'
import { applied, end, endRelease, enterStage, nextStage, ignored, rollBack } from './transitions.ts'

type StepKind = StepEvent['kind']
const interrupted: readonly StepKind[] = ['step_failed', 'superseded', 'cancelled', 'restored']
const routing: readonly StepKind[] = ['routed', 'unacknowledged', 'stale']
const observed: readonly StepKind[] = [...routing, 'refused', 'judged', 'timed_out', ...interrupted]

/** The reports that each stage accepts. Any other report is a defect of the workflow. */
export const legalSteps: Readonly<Record<ReleaseStage, readonly StepKind[]>> = {
  qualifying: ['qualified', 'disqualified', ...interrupted],
  awaiting_approval: ['timed_out', 'stale', ...interrupted],
  shadow: observed,
  targeted: observed,
  canary: observed,
  awaiting_decision: ['judged', 'timed_out', 'stale', ...interrupted],
  promoting: [...routing, 'promoted', 'refused', ...interrupted],
  probation: observed,
  rolling_back: ['rolled_back', ...interrupted],
  ended: ['closed', ...interrupted],
}

/**
 * The state after an event. A command is applied or ignored, with a message either way. Throws `invalid_transition` for a report
 * that is impossible in its stage.
 */
export function advance(state: ReleaseState, event: ReleaseEvent): Advance {
  return event.kind === 'command' ? advanceByCommand(state, event) : step(state, event)
}

function step(state: ReleaseState, event: StepEvent): Advance {
  if (!legalSteps[state.stage].includes(event.kind)) return impossible(state, event, state.stage)
  switch (event.kind) {
    case 'qualified':
      if (state.policy.approval.approvers === 0)
        return applied(nextStage(state, event.atMs), 'pre-flight checks passed; the policy needs no approval')
      return applied(
        enterStage(state, 'awaiting_approval', event.atMs),
        `pre-flight checks passed; approvals needed: ${state.policy.approval.approvers}`,
      )
    case 'disqualified':
      return endRelease(state, event.atMs, 'failed', event.reason)
    case 'routed':
      return routed(state, event)
    case 'unacknowledged':
      return unacknowledged(state, event)
    case 'stale':
      if (state.stage === 'awaiting_approval')
        return applied(endUnfounded(state, event.atMs, event.reason), event.reason)
      return rollBack(state, event.atMs, 'superseded', event.reason)
    case 'judged':
      return judged(state, event)
    case 'promoted':
      return promoted(state, event)
    case 'refused':
      return rollBack(state, event.atMs, 'rolled_back', event.reason, event.expired !== true)
    case 'rolled_back':
      return afterRollback(state, event)
    case 'closed':
      return applied({ ...state, closed: true }, 'the end is recorded')
    case 'timed_out':
      return timedOut(state, event)
    case 'step_failed':
      return stepFailed(state, event)
    case 'superseded':
      return superseded(state, event)
    case 'cancelled':
      return cancelled(state, event)
    case 'restored':
      return restored(state, event)
    default:
      return event satisfies never
  }
}

function impossible(state: ReleaseState, event: StepEvent, where: string): never {
  throw new DomainError(
    'invalid_transition',
    `the event "${event.kind}" is impossible in the stage "${where}"`,
    { release: state.id, stage: state.stage, event: event.kind },
  )
}

type Step<Kind extends StepKind> = Extract<StepEvent, { kind: Kind }>

function routed(state: ReleaseState, event: Step<'routed'>): Advance {
  if (state.routed) return impossible(state, event, `${state.stage}, already routed`)
  const { epoch, generation, startedMs, replicas } = event
  const { stage, stageIndex, shareBp } = state
  const routings = [...state.routings, { stage, stageIndex, generation, shareBp, startedMs, replicas }]
  const next = { ...state, routed: true, attempts: 0, blockedBy: [], epoch, generation, routings }
  return applied(next, `all live replicas have acknowledged generation ${generation}`)
}

/** How many acknowledgement timeouts the replicas have to load the candidate before a promotion. */
const maxWarmingTimeouts = 6

/** A stage whose routing is not acknowledged is retried until its deadline, and then rolled back. */
function unacknowledged(state: ReleaseState, event: Step<'unacknowledged'>): Advance {
  if (state.routed) return impossible(state, event, `${state.stage}, already routed`)
  const { epoch, generation, problems } = event
  const next = { ...state, epoch, generation, blockedBy: problems, attempts: state.attempts + 1 }
  const named = problems.join('; ')
  const deadlineMs = watchedPolicy(state)?.deadlineMs ?? maxWarmingTimeouts * state.policy.watch.acknowledgeMs
  // A pause stops the clock of the stage, so the pause needs its own deadline.
  const { pause, policy } = state
  const [sinceMs, withinMs] = pause
    ? [pause.atMs, Math.max(deadlineMs, policy.watch.decisionMs)]
    : [state.enteredMs, deadlineMs]
  const expired = breakGlassExpired(state, event.atMs)
  if (expired === undefined && event.atMs - sinceMs < withinMs)
    return applied(next, `generation ${generation} not yet acknowledged by all replicas: ${named}`)
  const reason =
    expired ??
    `generation ${generation} not acknowledged by all replicas within ${limitText(withinMs)}: ${named}`
  return rollBack(next, event.atMs, 'rolled_back', reason)
}

function judged(state: ReleaseState, event: Step<'judged'>): Advance {
  if (!state.routed) return impossible(state, event, `${state.stage}, not routed`)
  const { verdict, reason, atMs, due, questions } = event
  const next: ReleaseState = { ...state, lastVerdict: { kind: verdict, reason, atMs, questions } }
  if (verdict === 'fail') return rollBack(next, atMs, 'rolled_back', reason, true)
  if (state.paused) return ignored(state, `the release is paused; the verdict is ${verdict}`)
  if (state.stage === 'awaiting_decision')
    return ignored(state, `the release needs a decision; the verdict is ${verdict}`)
  if (verdict === 'pass') return applied(nextStage(next, atMs), reason)
  if (!due) return ignored(state, `the verdict is ${verdict} before the deadline`)
  if (isBreakGlass(state)) {
    const message = `break-glass by ${state.breakGlass?.by}: the verdict at the deadline is ${verdict}: ${reason}`
    return rollBack(next, atMs, 'rolled_back', message)
  }
  if (verdict === 'inconclusive' && state.policy.whenInconclusive === 'end') {
    const outcome = state.strategy === 'shadow' && state.stage === 'shadow' ? 'expired' : 'rolled_back'
    const cause =
      questions === undefined ? 'inconclusive at the deadline' : 'no approver is asked by the policy'
    return rollBack(next, atMs, outcome, `${cause}: ${reason}`)
  }
  if (verdict === 'inconclusive')
    return applied(
      enterStage(next, 'awaiting_decision', atMs, {
        stageIndex: state.stageIndex,
        routed: true,
        extensions: state.extensions,
        undecidedStage: state.stage as WatchedStage,
      }),
      questions === undefined
        ? `inconclusive at the deadline, an approver decides: ${reason}`
        : `an approver decides: ${reason}`,
    )
  const message = `${verdict === 'no_data' ? noDataPrefix : 'unreadable evidence at the deadline'}: ${reason}`
  return rollBack(next, atMs, 'rolled_back', message)
}

function promoted(state: ReleaseState, { atMs, epoch, generation }: Step<'promoted'>): Advance {
  const next: ReleaseState = { ...state, promoted: true, epoch, generation }
  const { probation } = state.policy
  if (state.baseline === undefined || probation === undefined) {
    const reason = state.breakGlass
      ? `promoted by ${state.breakGlass.by}: ${state.breakGlass.reason ?? ''}`
      : 'passed all stages'
    return applied(end(next, atMs, 'promoted', reason), `${state.version} is champion`)
  }
  const entered = enterStage(next, 'probation', atMs, { shareBp: 10_000 - probation.holdbackBp })
  return applied(entered, `${state.version} is champion and on probation`)
}

/** How often a rollback waits for missing acknowledgements before the release ends without them, with an alert. */
const maxRollbackAttempts = 6

function afterRollback(
  state: ReleaseState,
  { atMs, problems, rollbackResult }: Step<'rolled_back'>,
): Advance {
  const order = state.rollbackOrder
  if (order === undefined)
    throw new DomainError('invalid_transition', `${state.id} was rolled back without an order`)
  const named = problems.join('; ')
  if (problems.length > 0 && state.attempts + 1 < maxRollbackAttempts)
    return applied(
      { ...state, attempts: state.attempts + 1, blockedBy: problems },
      `rollback not yet acknowledged by all replicas: ${named}`,
    )
  const next = { ...state, rollbackResult }
  if (rollbackResult.champion === state.version) {
    const reason = `${order.reason}; not rolled back: ${state.version} is champion and the model has no earlier version to return to`
    return endRelease({ ...next, promoted: true }, atMs, 'promoted', reason)
  }
  const outcome = rollbackResult.wasChampion ? 'rolled_back' : order.outcome
  const { champion, incompatibilities = [], cutOff = [] } = rollbackResult
  const reasons = [order.reason]
  if (problems.length > 0) reasons.push(`not acknowledged: ${named}`)
  for (const replica of cutOff)
    reasons.push(`${replica} is cut off and serves ${state.version} if it still runs`)
  if (incompatibilities.length > 0)
    reasons.push(incompatibilityReason({ from: state.version, to: champion ?? '' }, incompatibilities))
  const reason = reasons.join('; ')
  const to = champion === undefined ? 'the model has no champion' : `champion ${champion}`
  return applied(end({ ...next, promoted: false }, atMs, outcome, reason), `rolled back; ${to}`)
}

function timedOut(state: ReleaseState, event: Step<'timed_out'>): Advance {
  const { approval, watch } = state.policy
  if (state.stage === 'awaiting_approval') {
    const reason = `${state.approvals.length} of ${approval.approvers} approvals within ${limitText(approval.withinMs)}${missingSidesText(state)}`
    return endRelease(state, event.atMs, 'expired', reason)
  }
  const expired = breakGlassExpired(state, event.atMs)
  if (expired === undefined && state.stage !== 'awaiting_decision' && !state.paused)
    return impossible(state, event, `${state.stage}, not paused`)
  const reason =
    expired ??
    (state.paused
      ? `paused by ${state.pause?.by ?? 'a user'} and not resumed within ${limitText(watch.decisionMs)}`
      : `no decision within ${limitText(watch.decisionMs)}`)
  return rollBack(state, event.atMs, 'rolled_back', reason)
}

function stepFailed(state: ReleaseState, event: Step<'step_failed'>): Advance {
  const reason = `step "${event.step}" failed: ${event.message}`
  if (state.stage === 'rolling_back' || state.stage === 'ended')
    return applied({ ...state, attempts: state.attempts + 1, blockedBy: [reason] }, `${reason}; retrying`)
  return rollBack(state, event.atMs, 'failed', reason)
}

const beforeRequests: readonly ReleaseStage[] = ['qualifying', 'awaiting_approval']
const beforePromotion: readonly ReleaseStage[] = [
  ...beforeRequests,
  'shadow',
  'targeted',
  'canary',
  'awaiting_decision',
]

function superseded(state: ReleaseState, event: Step<'superseded'>): Advance {
  const { atMs, by, version, over, hotfix, reason } = event
  if (state.promoted || state.undecidedStage === 'probation')
    return ignored(state, `${state.version} is already champion: a release on probation cannot be superseded`)
  if (state.hotfix !== undefined && !hotfix)
    return ignored(state, `${state.version} is a hotfix: only another hotfix supersedes it`)
  if (!(over === 'unexposed' ? beforeRequests : beforePromotion).includes(state.stage))
    return ignored(state, `a release in ${state.stage.replace('_', ' ')} cannot be superseded`)
  const message = `superseded by ${version}, requested by ${by}${reason === '' ? '' : `: ${reason}`}`
  return rollBack(state, atMs, 'superseded', message)
}

function cancelled(state: ReleaseState, event: Step<'cancelled'>): Advance {
  if (state.stage === 'rolling_back' || state.stage === 'ended')
    return ignored(state, 'the release is already ending; the cancellation changes nothing')
  return rollBack(state, event.atMs, 'aborted', 'the workflow was cancelled')
}

/** The workflow has seen what the restored row does not know, such as a rollback. Only the baseline is safe then. */
function restored(state: ReleaseState, event: Step<'restored'>): Advance {
  const reason = 'a backup was restored that is older than this state of the release'
  const { outcome, reason: _reason, ...rest } = state
  if (state.stage === 'rolling_back' || (state.stage === 'ended' && outcome !== 'promoted'))
    return applied({ ...state, attempts: state.attempts + 1 }, reason)
  return rollBack({ ...rest, closed: false }, event.atMs, 'failed', reason)
}
