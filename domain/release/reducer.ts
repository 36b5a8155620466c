/**
 * The state machine of a release: one pure function from a state and an event to the next state. Were the rules spread
 * over the handlers of the workflow, an approval that comes late, twice or together with an abort would find the one
 * order of events that nobody had thought of.
 */
import { breakGlassExpired } from './break-glass.ts'
import { command } from './commands.ts'
import { DomainError } from '../errors.ts'
import type { Advance, ReleaseEvent, StepEvent } from './events.ts'
import { isBreakGlass, watchedPolicy, type ReleaseStage, type ReleaseState } from './state.ts'
import { incompatibilityReason } from '../registry/schema-compatibility.ts'
import { applied, enterStage, nextStage, ignored, end, orderRollback } from './transitions.ts'

function watched(): readonly StepEvent['kind'][] {
  return [
    'routed',
    'unacknowledged',
    'stale',
    'judged',
    'timed_out',
    'step_failed',
    'superseded',
    'cancelled',
  ]
}

/** What the steps of a release may report in each stage. Anything else is a defect of the workflow, not of a person. */
export const legalSteps: Readonly<Record<ReleaseStage, readonly StepEvent['kind'][]>> = {
  qualifying: ['qualified', 'disqualified', 'step_failed', 'superseded', 'cancelled'],
  awaiting_approval: ['timed_out', 'superseded', 'cancelled'],
  shadow: [...watched()],
  canary: [...watched()],
  awaiting_decision: ['judged', 'timed_out', 'stale', 'step_failed', 'superseded', 'cancelled'],
  promoting: [
    'routed',
    'unacknowledged',
    'promoted',
    'stale',
    'refused',
    'step_failed',
    'superseded',
    'cancelled',
  ],
  probation: [...watched()],
  rolling_back: ['rolled_back', 'step_failed', 'superseded', 'cancelled'],
  ended: ['closed', 'step_failed', 'superseded', 'cancelled'],
}

/**
 * The state after an event. A command is applied or ignored, with a sentence either way. A report that its stage cannot
 * produce throws `invalid_transition`, which names both.
 */
export function advance(state: ReleaseState, event: ReleaseEvent): Advance {
  return event.kind === 'command' ? command(state, event) : step(state, event)
}

function step(state: ReleaseState, event: StepEvent): Advance {
  if (!legalSteps[state.stage].includes(event.kind)) return impossible(state, event, state.stage)
  switch (event.kind) {
    case 'qualified':
      if (state.policy.approval.approvers === 0)
        return applied(nextStage(state, event.atMs), 'it is in order; the policy asks for no approval')
      return applied(
        enterStage(state, 'awaiting_approval', event.atMs),
        `it is in order; ${state.policy.approval.approvers} approval(s) are asked for`,
      )
    case 'disqualified':
      return applied(end(state, event.atMs, 'failed', event.reason), event.reason)
    case 'routed':
      return routed(state, event)
    case 'unacknowledged':
      return unacknowledged(state, event)
    case 'stale':
      return applied(
        orderRollback(state, event.atMs, { outcome: 'superseded', reason: event.reason, withdraw: false }),
        event.reason,
      )
    case 'judged':
      return judged(state, event)
    case 'promoted':
      return promoted(state, event)
    case 'refused':
      return applied(
        orderRollback(state, event.atMs, { outcome: 'rolled_back', reason: event.reason, withdraw: true }),
        event.reason,
      )
    case 'rolled_back':
      return afterRollback(state, event)
    case 'closed':
      return applied({ ...state, closed: true }, 'the end is written down')
    case 'timed_out':
      return timedOut(state, event)
    case 'step_failed':
      return stepFailed(state, event)
    case 'superseded':
      return superseded(state, event)
    case 'cancelled':
      return cancelled(state, event)
    default:
      return event satisfies never
  }
}

function impossible(state: ReleaseState, event: StepEvent, where: string): never {
  throw new DomainError('invalid_transition', `"${event.kind}" cannot happen in the stage "${where}"`, {
    release: state.id,
    stage: state.stage,
    event: event.kind,
  })
}

type Step<Kind extends StepEvent['kind']> = Extract<StepEvent, { kind: Kind }>

function routed(state: ReleaseState, event: Step<'routed'>): Advance {
  if (state.routed) return impossible(state, event, `${state.stage}, already routed`)
  const { epoch, generation, startedMs, replicas } = event
  const { stage, stageIndex, shareBp } = state
  const entry = { stage, stageIndex, generation, shareBp, startedMs, ...(replicas ? { replicas } : {}) }
  return applied(
    {
      ...state,
      routed: true,
      attempts: 0,
      blockedBy: [],
      epoch,
      generation,
      routings: [...state.routings, entry],
    },
    `every live replica follows generation ${generation}`,
  )
}

/** How often the replicas are given the time to acknowledge before a candidate that they cannot load is taken back. */
const warmingTurns = 6

/** A stage that cannot be routed to every replica is tried until its deadline, and then taken back. */
function unacknowledged(state: ReleaseState, event: Step<'unacknowledged'>): Advance {
  if (state.routed) return impossible(state, event, `${state.stage}, already routed`)
  const { epoch, generation, problems } = event
  const next = { ...state, epoch, generation, blockedBy: problems, attempts: state.attempts + 1 }
  const named = problems.join('; ')
  const deadlineMs = watchedPolicy(state)?.deadlineMs ?? warmingTurns * state.policy.watch.acknowledgeMs
  // A pause stops the clock of the stage and has one of its own: what cannot be routed would else be tried for ever.
  const { pause, policy } = state
  const [sinceMs, withinMs] = pause
    ? [pause.atMs, Math.max(deadlineMs, policy.watch.decisionMs)]
    : [state.enteredMs, deadlineMs]
  const over = breakGlassExpired(state, event.atMs)
  if (over === undefined && event.atMs - sinceMs < withinMs)
    return applied(next, `generation ${generation} is not followed by every replica yet: ${named}`)
  const reason =
    over ?? `generation ${generation} was not followed by every replica within ${withinMs} ms: ${named}`
  return applied(orderRollback(next, event.atMs, { outcome: 'rolled_back', reason, withdraw: false }), reason)
}

function judged(state: ReleaseState, event: Step<'judged'>): Advance {
  if (!state.routed) return impossible(state, event, `${state.stage}, not routed`)
  const { verdict, reason, atMs, due } = event
  const next: ReleaseState = { ...state, lastVerdict: { kind: verdict, reason, atMs } }
  if (verdict === 'fail')
    return applied(orderRollback(next, atMs, { outcome: 'rolled_back', reason, withdraw: true }), reason)
  if (state.paused) return ignored(state, `a person has paused the release; the verdict is ${verdict}`)
  if (state.stage === 'awaiting_decision')
    return ignored(state, `a person has been asked to decide; the verdict is ${verdict}`)
  if (verdict === 'pass') return applied(nextStage(next, atMs), reason)
  if (!due) return ignored(state, `the verdict is ${verdict}, and the deadline has not passed`)
  if (isBreakGlass(state)) {
    const said = `the glass was broken by ${state.breakGlass?.by}, and at the deadline the verdict is ${verdict}: ${reason}`
    return applied(orderRollback(next, atMs, { outcome: 'rolled_back', reason: said, withdraw: false }), said)
  }
  if (verdict === 'inconclusive' && state.policy.whenInconclusive === 'end') {
    const outcome = state.strategy === 'shadow' && state.stage === 'shadow' ? 'expired' : 'rolled_back'
    const said = `inconclusive at the deadline: ${reason}`
    return applied(orderRollback(next, atMs, { outcome, reason: said, withdraw: false }), said)
  }
  if (verdict === 'inconclusive')
    return applied(
      enterStage(next, 'awaiting_decision', atMs, {
        stageIndex: state.stageIndex,
        routed: true,
        extensions: state.extensions,
        undecidedStage: state.stage as 'shadow' | 'canary' | 'probation',
      }),
      `at the deadline the evidence is not enough, a person decides: ${reason}`,
    )
  const why = verdict === 'no_data' ? 'there was no data to judge by' : 'the evidence could not be read'
  const said = `at the deadline ${why}: ${reason}`
  return applied(orderRollback(next, atMs, { outcome: 'rolled_back', reason: said, withdraw: false }), said)
}

function promoted(state: ReleaseState, { atMs, epoch, generation }: Step<'promoted'>): Advance {
  const next: ReleaseState = { ...state, promoted: true, epoch, generation }
  const { probation } = state.policy
  if (state.baseline === undefined || probation === undefined) {
    const reason = state.breakGlass
      ? `promoted by ${state.breakGlass.by}: ${state.breakGlass.reason ?? ''}`
      : 'every stage of its policy was passed'
    return applied(end(next, atMs, 'promoted', reason), `${state.version} is champion`)
  }
  return applied(
    enterStage(next, 'probation', atMs, { shareBp: 10_000 - probation.holdbackBp }),
    `${state.version} is champion, on probation`,
  )
}

/** How often replicas that do not follow are asked again before the release ends without them, with an alert. */
const maxRollbackAttempts = 6

function afterRollback(
  state: ReleaseState,
  { atMs, problems, rollbackResult }: Step<'rolled_back'>,
): Advance {
  const order = state.rollbackOrder
  if (order === undefined)
    throw new DomainError('invalid_transition', `${state.id} was taken back without an order`)
  const named = problems.join('; ')
  if (problems.length > 0 && state.attempts + 1 < maxRollbackAttempts)
    return applied(
      { ...state, attempts: state.attempts + 1, blockedBy: problems },
      `not every replica has returned yet: ${named}`,
    )
  const next = { ...state, rollbackResult }
  if (rollbackResult.champion === state.version) {
    const reason = `${order.reason}; but it was champion already, and there is no earlier proven version to return to`
    return applied(end({ ...next, promoted: true }, atMs, 'promoted', reason), reason)
  }
  const outcome = rollbackResult.wasChampion ? 'rolled_back' : order.outcome
  const { champion = '', incompatibilities: misfits = [] } = rollbackResult
  const reason = [
    order.reason,
    ...(problems.length === 0 ? [] : [`not acknowledged: ${named}`]),
    ...(misfits.length === 0
      ? []
      : [incompatibilityReason({ from: state.version, to: champion, incompatibilities: misfits })]),
  ].join('; ')
  const to =
    rollbackResult.champion === undefined ? 'the model has no champion' : `${rollbackResult.champion} answers`
  return applied(end({ ...next, promoted: false }, atMs, outcome, reason), `it is taken back; ${to}`)
}

function timedOut(state: ReleaseState, event: Step<'timed_out'>): Advance {
  const { approval, watch } = state.policy
  if (state.stage === 'awaiting_approval') {
    const reason = `${state.approvals.length} of ${approval.approvers} approval(s) came within ${approval.withinMs} ms`
    return applied(end(state, event.atMs, 'expired', reason), reason)
  }
  const over = breakGlassExpired(state, event.atMs)
  if (over === undefined && state.stage !== 'awaiting_decision' && !state.paused)
    return impossible(state, event, `${state.stage}, not paused`)
  const reason =
    over ??
    (state.paused
      ? `it was paused by ${state.pause?.by ?? 'a person'} and not resumed within ${watch.decisionMs} ms`
      : `nobody decided within ${watch.decisionMs} ms`)
  return applied(
    orderRollback(state, event.atMs, { outcome: 'rolled_back', reason, withdraw: false }),
    reason,
  )
}

function stepFailed(state: ReleaseState, event: Step<'step_failed'>): Advance {
  const reason = `"${event.step}" could not be carried out: ${event.message}`
  if (state.stage === 'rolling_back' || state.stage === 'ended')
    return applied(
      { ...state, attempts: state.attempts + 1, blockedBy: [reason] },
      `${reason}; it is tried again`,
    )
  return applied(orderRollback(state, event.atMs, { outcome: 'failed', reason, withdraw: false }), reason)
}

/** Where no request has met the candidate, and where some have but the champion is still the one from before. */
const unexposed: readonly ReleaseStage[] = ['qualifying', 'awaiting_approval']
const exposed: readonly ReleaseStage[] = [...unexposed, 'shadow', 'canary', 'awaiting_decision']

function superseded(state: ReleaseState, event: Step<'superseded'>): Advance {
  const { atMs, by, version, over, reason } = event
  if (state.promoted || state.undecidedStage === 'probation')
    return ignored(
      state,
      `${state.version} is champion already: nothing takes the place of a release on probation`,
    )
  if (!(over === 'unexposed' ? unexposed : exposed).includes(state.stage))
    return ignored(state, `the release is ${state.stage.replace('_', ' ')}: its place cannot be taken`)
  const said = `superseded by ${version}, asked for by ${by}${reason === '' ? '' : `: ${reason}`}`
  return applied(orderRollback(state, atMs, { outcome: 'superseded', reason: said, withdraw: false }), said)
}

function cancelled(state: ReleaseState, event: Step<'cancelled'>): Advance {
  if (state.stage === 'rolling_back' || state.stage === 'ended')
    return ignored(state, 'it is ending already; the cancellation changes nothing')
  const reason = 'the workflow was cancelled'
  return applied(orderRollback(state, event.atMs, { outcome: 'aborted', reason, withdraw: false }), reason)
}
