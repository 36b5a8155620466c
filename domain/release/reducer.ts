/**
 * Advances a release: one pure function from a state and an event to the next state. Every order of events, such as an approval that
 * arrives late, twice or together with an abort, follows the same rules. An event is the report of a step or the command of a user.
 */
import type { QualificationCost } from '../model/cost.ts'
import { DomainError } from '../errors.ts'
import { groupedDigits, limitText } from '../figures.ts'
import { incompatibilityReason } from '../registry/schema-compatibility.ts'
import type { Role } from '../roles.ts'
import type { VerdictKind } from '../verdict.ts'
import {
  approversOf,
  isApproved,
  isSamePerson,
  issuesOf,
  lostBasis,
  type LostBasis,
  mayApprove,
  missingSidesText,
  requesterIssue,
  voided,
  withdrawn,
} from './approval.ts'
import { remainingText } from './explain.ts'
import {
  asksAboutAnswers,
  commandRoles,
  isBreakGlass,
  promotesByProof,
  stepsOf,
  watchedPolicy,
  watchedStages,
  type CommandName,
  type Recovery,
  type ReleaseBasis,
  type ReleaseDigests,
  type ReleaseOutcomeKind,
  type ReleaseStage,
  type ReleaseState,
  type Statement,
  type WatchedStage,
} from './state.ts'

// Events

/** A command of a user, with the facts of the user's key. */
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
  /** Whether the key covers this model. */
  inScope: boolean
  /** The current basis of the release. */
  basis?: ReleaseBasis
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** The command is invalid after this time. */
  untilMs?: number
}

/** The reports of the steps of a release. Times are milliseconds on the clock of the database. */
export type StepEvent =
  /** A separate process has loaded the candidate and its checks have passed. */
  | { kind: 'qualified'; atMs: number; cost?: QualificationCost }
  /** The candidate must not be released. */
  | { kind: 'disqualified'; atMs: number; reason: string; cost?: QualificationCost }
  /** All live replicas follow the routing of the stage. */
  | {
      kind: 'routed'
      atMs: number
      epoch: number
      generation: number
      startedMs: number
      /** The replicas that serve the candidate, in a rolling release. */
      replicas?: string[]
    }
  /** The routing is written, but not every live replica has acknowledged it. */
  | { kind: 'unacknowledged'; atMs: number; epoch: number; generation: number; problems: string[] }
  /** The champion, the candidate, the evidence or the routing has changed since the release began. */
  | ({ kind: 'stale'; atMs: number } & LostBasis)
  /** A verdict that needs an action. `due`: it cannot wait any longer, at a deadline or with questions for an approver. */
  | {
      kind: 'judged'
      atMs: number
      verdict: VerdictKind
      reason: string
      due: boolean
      questions?: string[]
      /** Nothing is missing but an answer about answers, so an approver is asked whatever the policy says. Absent in events of earlier versions. */
      asks?: true
    }
  /** The champion has changed, and the routing with it. */
  | { kind: 'promoted'; atMs: number; epoch: number; generation: number }
  /** A route or the promotion was refused: a verdict is against the candidate, or, with `expired`, the break-glass order has expired. */
  | { kind: 'refused'; atMs: number; reason: string; expired?: true }
  /** The candidate is rolled back; `problems` names live replicas that have not acknowledged it yet. */
  | { kind: 'rolled_back'; atMs: number; problems: string[]; rollbackResult: Recovery }
  /** The end is recorded. */
  | { kind: 'closed'; atMs: number }
  /** No approval, decision or resume came in time. */
  | { kind: 'timed_out'; atMs: number }
  /** A step has failed, and a retry would not help. */
  | { kind: 'step_failed'; atMs: number; step: string; message: string }
  /**
   * Another release of the model preempts this one: while no request has reached it (`unexposed`), or until its promotion
   * (`exposed`). Ignored in any other stage.
   */
  | {
      kind: 'superseded'
      atMs: number
      by: string
      version: string
      over: 'unexposed' | 'exposed'
      /** Whether the other release is a hotfix. */
      hotfix: boolean
      reason: string
    }
  /** The workflow was cancelled from outside. */
  | { kind: 'cancelled'; atMs: number }
  /** The row is older than the state that the workflow has seen: a backup was restored. */
  | { kind: 'restored'; atMs: number }

export type ReleaseEvent = CommandEvent | StepEvent

export interface Advance {
  state: ReleaseState
  /** False when the event changed nothing; the message states why. */
  applied: boolean
  message: string
}

/**
 * The state after an event. A command is applied or ignored, with a message either way. Throws `invalid_transition` for a report
 * that is impossible in its stage.
 */
export function advance(state: ReleaseState, event: ReleaseEvent): Advance {
  return event.kind === 'command' ? advanceByCommand(state, event) : step(state, event)
}

// Reports of steps

type StepKind = StepEvent['kind']
const interruptions: readonly StepKind[] = ['step_failed', 'superseded', 'cancelled', 'restored']
const routingSteps: readonly StepKind[] = ['routed', 'unacknowledged', 'stale']
const watchedSteps: readonly StepKind[] = [
  ...routingSteps,
  'refused',
  'judged',
  'timed_out',
  ...interruptions,
]

/** The reports that each stage accepts. Any other report is a defect of the workflow. */
export const legalSteps: Readonly<Record<ReleaseStage, readonly StepKind[]>> = {
  qualifying: ['qualified', 'disqualified', ...interruptions],
  awaiting_approval: ['timed_out', 'stale', ...interruptions],
  shadow: watchedSteps,
  targeted: watchedSteps,
  canary: watchedSteps,
  awaiting_decision: ['judged', 'timed_out', 'stale', ...interruptions],
  promoting: [...routingSteps, 'promoted', 'refused', ...interruptions],
  probation: watchedSteps,
  rolling_back: ['rolled_back', ...interruptions],
  ended: ['closed', ...interruptions],
}

function step(before: ReleaseState, event: StepEvent): Advance {
  if (!legalSteps[before.stage].includes(event.kind)) return impossible(before, event, before.stage)
  const state = 'cost' in event && event.cost !== undefined ? { ...before, cost: event.cost } : before
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
        return applied(endUnfounded(state, event.atMs, event), event.reason)
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
  const { verdict, reason, atMs, due, questions, asks = false } = event
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
  if (verdict === 'inconclusive' && state.policy.whenInconclusive === 'end' && !asks) {
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
  const order = { outcome: 'rolled_back', withdraw: false } as const
  if (verdict === 'no_data')
    return ordered(next, atMs, {
      ...order,
      reason: `no data at the deadline: ${reason}`,
      isWithoutData: true,
    })
  return ordered(next, atMs, { ...order, reason: `unreadable evidence at the deadline: ${reason}` })
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
  if (expired === undefined && asksAboutAnswers(state))
    return applied({ ...state, enteredMs: event.atMs }, 'a question about answers waits for its approver')
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

// Commands of users. Each gets an answer that says what it did or why it was refused. An invalid or late command changes nothing, so a late
// approval cannot revive a release that was rolled back.

const decided: readonly ReleaseStage[] = ['awaiting_approval', 'awaiting_decision']
const open: readonly ReleaseStage[] = ['qualifying', ...decided, 'promoting', ...watchedStages]

/** The stages that accept each command. */
export const commandStages: Readonly<Record<CommandName, readonly ReleaseStage[]>> = {
  approve: decided,
  reject: decided,
  pause: watchedStages,
  resume: [...watchedStages, 'awaiting_decision'],
  abort: open,
  rollback: open,
  promoteNow: ['awaiting_approval', 'shadow', 'targeted', 'canary', 'awaiting_decision'],
}

/** Why a stage does not accept a command. */
const nothingToDo: Readonly<Record<CommandName, string>> = {
  approve: 'it waits for no approval',
  reject: 'nothing to reject; use abort or rollback to roll a release back',
  pause: 'no stage is running',
  resume: 'nothing is paused and no decision is pending',
  abort: 'nothing to abort',
  rollback: 'nothing to roll back',
  promoteNow: 'nothing to skip',
}

export function advanceByCommand(given: ReleaseState, event: CommandEvent): Advance {
  const refusal = unauthorised(given, event)
  if (refusal !== undefined) return ignored(given, refusal)
  const rested =
    event.command === 'approve' || event.command === 'promoteNow'
      ? recheckBasis(given, event.basis, event.atMs)
      : undefined
  if (rested === undefined) return applyReleaseCommand(given, event)
  const { state, changed } = rested
  // A command that names the new evidence was given in knowledge of it.
  const aware = state.stage !== 'ended' && event.evaluationDigest === state.digests.evaluation
  const done = aware ? applyReleaseCommand(state, event) : ignored(state, changed)
  return done.applied ? done : { ...applied(state, done.message), applied: false }
}

function applyReleaseCommand(state: ReleaseState, event: CommandEvent): Advance {
  const { by, key, atMs, reason } = event
  if (event.command === 'rollback' && isEndingOtherwise(state))
    return rollBackEnding(state, { by, key, atMs, reason })
  const refusal = outOfPlace(state, event)
  if (refusal !== undefined) return ignored(state, refusal)
  const statement: Statement = { by, key, atMs, reason }
  switch (event.command) {
    case 'approve':
      return approve(state, statement)
    case 'reject':
      return reject(state, statement)
    case 'pause':
      if (state.paused) return ignored(state, `already paused by ${state.pause?.by ?? 'a user'}`)
      return applied(
        { ...state, paused: true, pause: statement },
        `paused by ${by}; automatic rollback stays on`,
      )
    case 'resume':
      return resume(state, statement)
    case 'abort':
      if (!state.promoted) return rollBack(state, atMs, 'aborted', words('abort', statement))
      return rollBack(state, atMs, 'rolled_back', words('abort', statement), true)
    case 'rollback':
      return rollBack(state, atMs, 'rolled_back', words('rollback', statement), true)
    case 'promoteNow':
      return promoteNow(state, statement)
    default:
      return event.command satisfies never
  }
}

/** Why this user may not give the command; undefined when the user may. */
function unauthorised({ model }: ReleaseState, event: CommandEvent): string | undefined {
  const { command: name, by, role } = event
  if (role === undefined) return `no active key is named "${by}"`
  if (!commandRoles[name].includes(role))
    return `${by} has the role ${role}; ${name} needs ${commandRoles[name].join(' or ')}`
  if (!event.inScope) return `the key of ${by} does not cover the model ${model}`
  return undefined
}

/** Why the command does not apply to the present state of the release; undefined when it does. */
function outOfPlace(state: ReleaseState, event: CommandEvent): string | undefined {
  const { command: name, by, atMs, untilMs } = event
  if (untilMs !== undefined && atMs > untilMs)
    return `the command of ${by} was valid until ${new Date(untilMs).toISOString()}`
  const { artifact, evaluation, policy } = state.digests
  const named: [string, string | undefined, string][] = [
    ['artifact', event.artifactDigest, artifact],
    ['evaluation', event.evaluationDigest, evaluation],
    ['policy', event.policyDigest, policy],
  ]
  const differing = named.filter(([, sent, released]) => sent !== undefined && sent !== released)
  const sentences = differing.map(
    ([what, sent, released]) => `the command of ${by} names the ${what} ${sent}, the release has ${released}`,
  )
  if (sentences.length > 0) return sentences.join('; ')
  if (state.stage === 'ended') return `the release has ended (${state.outcome ?? ''}): ${state.reason ?? ''}`
  if (state.stage === 'rolling_back')
    return `the release is being rolled back: ${state.rollbackOrder?.reason ?? ''}`
  const approved = name === 'approve' ? alreadyApproved(state, atMs) : undefined
  if (approved !== undefined) return approved
  if (!commandStages[name].includes(state.stage))
    return `${nothingToDo[name]}: release is in ${state.stage.replace('_', ' ')}`
  return undefined
}

/** Answers an approval that comes after the last one that was needed; undefined while one is needed. */
export function alreadyApproved(state: ReleaseState, atMs: number): string | undefined {
  const last = state.approvals.at(-1)
  if (last === undefined || decided.includes(state.stage)) return undefined
  const ago = remainingText(Math.max(0, atMs - last.atMs))
  return `already approved by ${approversOf(state.approvals).join(' and ')} ${ago} ago; the release is in ${state.stage.replace('_', ' ')}`
}

function approve(state: ReleaseState, given: Statement): Advance {
  const approval = { ...given, digests: state.digests }
  const own = requesterIssue(state, approval)
  if (own !== undefined) return ignored(state, own)
  if (!mayApprove(state, approval))
    return ignored(
      state,
      `${approval.by} may not approve; the policy names ${state.policy.approval.from?.join(', ')}`,
    )
  const approvals = [...state.approvals, approval]
  const next: ReleaseState = { ...state, approvals }
  const asked = state.lastVerdict?.questions ?? []
  if (asked.length > 0 && state.stage === 'awaiting_decision')
    next.accepted = [...new Set([...(state.accepted ?? []), ...asked])]
  if (state.stage === 'awaiting_decision')
    return applied(nextStage(next, approval.atMs), `stage passed by decision of ${approval.by}`)
  if (state.approvals.some((each) => isSamePerson(each, approval)))
    return ignored(state, `already approved by ${approval.by}`)
  const { approvers } = state.policy.approval
  if (!isApproved(next))
    return applied(
      next,
      `approved by ${approval.by}, ${approvals.length} of ${approvers}${missingSidesText(next)}`,
    )
  return applied(nextStage(next, approval.atMs), `approved by ${approvals.map(({ by }) => by).join(' and ')}`)
}

/** A rejection ends the release at once. The same user may approve a later release of the version. */
function reject(state: ReleaseState, statement: Statement): Advance {
  const rejection = { ...statement, digests: state.digests }
  const next = { ...withdrawn(state, statement), rejections: [...state.rejections, rejection] }
  const reason = words('reject', statement)
  if (state.stage === 'awaiting_approval') return endRelease(next, statement.atMs, 'rejected', reason)
  return rollBack(next, statement.atMs, 'rolled_back', reason, true)
}

const endsWithoutOrder: readonly (string | undefined)[] = ['promoted', 'superseded', 'failed']

/** Whether a rollback still decides how the release ends: its end is not recorded, and no user has ordered it. */
const isEndingOtherwise = ({ stage, closed, outcome, rollbackOrder }: ReleaseState): boolean =>
  !closed &&
  ((stage === 'ended' && endsWithoutOrder.includes(outcome)) ||
    (stage === 'rolling_back' && endsWithoutOrder.includes(rollbackOrder?.outcome)))

/** Like a rollback of a release that runs, because the model may have no version to return to. A rollback that runs begins again. */
function rollBackEnding(given: ReleaseState, order: Statement): Advance {
  const { outcome: _outcome, reason: _reason, ...state } = given
  const done = rollBack(state, order.atMs, 'rolled_back', words('rollback', order), true)
  return { ...done, state: { ...done.state, attempts: state.attempts + 1 } }
}

function resume(state: ReleaseState, statement: Statement): Advance {
  if (state.stage === 'awaiting_decision') {
    if (state.undecidedStage === undefined) return ignored(state, 'no stage needs a decision')
    return applied(
      extended(state, state.undecidedStage, statement.atMs),
      `deadline extended by ${statement.by}`,
    )
  }
  if (!state.paused) return ignored(state, nothingToDo.resume)
  const { pause, ...rest } = state
  const pausedMs = statement.atMs - (pause?.atMs ?? statement.atMs)
  return applied(
    { ...rest, paused: false, enteredMs: state.enteredMs + pausedMs },
    `resumed by ${statement.by}`,
  )
}

function promoteNow(state: ReleaseState, order: Statement): Advance {
  if (order.reason === undefined || order.reason.trim() === '')
    return ignored(state, 'promoteNow skips approvals and waits; it needs a reason')
  if (state.breakGlass !== undefined)
    return ignored(state, `break-glass was already used by ${state.breakGlass.by}`)
  if (state.drill !== undefined) return ignored(state, 'a drill is never promoted')
  if (state.baseline === undefined)
    return ignored(state, 'the first version of a model needs its approval and has no stage to skip')
  if (state.undecidedStage === 'probation')
    return ignored(state, 'already champion; approve ends the probation')
  if (state.lastVerdict?.kind === 'fail')
    return ignored(state, `the last verdict is against the candidate: ${state.lastVerdict.reason}`)
  const hurried = applyBreakGlass(state, order)
  return applied(hurried, `break-glass by ${order.by}: ${order.reason}; ${stillAhead(hurried)}`)
}

const verbs = { reject: 'rejected', abort: 'aborted', rollback: 'rolled back' } as const

function words(name: keyof typeof verbs, statement: Pick<Statement, 'by' | 'reason'>): string {
  return `${verbs[name]} by ${statement.by}${statement.reason ? `: ${statement.reason}` : ''}`
}

// The basis of a release that waits for approval

/** Ends a release that waits for approval because its basis is gone. */
const endUnfounded = (
  state: ReleaseState,
  atMs: number,
  { reason, championChanged }: LostBasis,
): ReleaseState => ({
  ...end(voided(state, reason), atMs, 'superseded', reason),
  ...(championChanged && { championChanged }),
})

/** The state after a change of the release's basis, and a sentence on the change; undefined when the basis is unchanged. */
function recheckBasis(
  state: ReleaseState,
  basis: ReleaseBasis | undefined,
  atMs: number,
): { state: ReleaseState; changed: string } | undefined {
  if (basis === undefined || state.stage !== 'awaiting_approval') return undefined
  const [issue] = issuesOf(state, basis)
  if (issue === undefined) return undefined
  const lost = lostBasis(state, basis)
  if (lost !== undefined)
    return { state: endUnfounded(state, atMs, lost), changed: `${lost.reason}; ${voidWords(state)}` }
  const evaluated: ReleaseDigests = { ...state.digests, evaluation: basis.evaluation! }
  const changed = `${issue.message}; ${voidWords(state)}; review it and approve again`
  return { state: { ...voided(state, issue.message), digests: evaluated }, changed }
}

const voidWords = ({ approvals }: ReleaseState): string =>
  approvals.length === 0
    ? 'no approval had been given'
    : `approvals voided: ${approvals.map(({ by }) => by).join(', ')}`

// Break-glass: the order of one admin replaces missing approvals and the waiting between shares. It replaces no check: an emergency is when
// the checks are needed most.

/** How long the order stays valid while the checks run. */
export const breakGlassMs = 3_600_000

/**
 * Shortens the release to one stage: its current share, or the first one, and then 100 %. A strategy without canary stages keeps its
 * shadow; a strategy without any observed stage is promoted directly.
 */
function applyBreakGlass(given: ReleaseState, order: Statement): ReleaseState {
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
function stillAhead(state: ReleaseState): string {
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

// Moves from stage to stage, for commands and reports alike. Each move resets everything that belongs to a stage, so that no release passes a
// stage on the evidence of another.

function applied(state: ReleaseState, message: string): Advance {
  return { state: { ...state, revision: state.revision + 1 }, applied: true, message }
}

/** Ends the release, with its reason as the message. */
const endRelease = (
  state: ReleaseState,
  atMs: number,
  outcome: ReleaseOutcomeKind,
  reason: string,
): Advance => applied(end(state, atMs, outcome, reason), reason)

/** Orders a rollback, with its reason as the message; `withdraw` when the version must never be routed again. */
const rollBack = (
  state: ReleaseState,
  atMs: number,
  outcome: RollbackOrder['outcome'],
  reason: string,
  withdraw = false,
): Advance => ordered(state, atMs, { outcome, reason, withdraw })

const ordered = (state: ReleaseState, atMs: number, order: RollbackOrder): Advance =>
  applied(orderRollback(state, atMs, order), order.reason)

const ignored = (state: ReleaseState, message: string): Advance => ({ state, applied: false, message })

/** Enters a stage with a new clock, not paused and not routed unless `changes` set it. */
function enterStage(
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
function extended(state: ReleaseState, stage: ReleaseStage, atMs: number): ReleaseState {
  const { stageIndex, extensions } = state
  return enterStage(state, stage, atMs, { stageIndex, routed: true, extensions: extensions + 1 })
}

/** The state after the current stage has passed: the next share, the promotion, or the end. */
function nextStage(state: ReleaseState, atMs: number): ReleaseState {
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
