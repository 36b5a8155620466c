/**
 * Applies the commands of users to a release. Each command gets an answer that says what it did or why it was refused. An invalid or late
 * command changes nothing, so a late approval cannot revive a release that was rolled back.
 */
import {
  isApproved,
  requesterIssue,
  isSamePerson,
  mayApprove,
  missingSidesText,
  recheckBasis,
  withdrawn,
} from './approval.ts'
import { applyBreakGlass, stillAhead } from './break-glass.ts'
import { remainingText } from './explain.ts'
import type { Advance, CommandEvent } from './events.ts'
import {
  commandRoles,
  watchedStages,
  type CommandName,
  type ReleaseStage,
  type ReleaseState,
  type Statement,
} from './state.ts'
import { applied, endRelease, extended, nextStage, ignored, rollBack } from './transitions.ts'

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
  approve: 'nothing to approve',
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
  const seen: [string, string | undefined, string][] = [
    ['artifact', event.artifactDigest, artifact],
    ['evaluation', event.evaluationDigest, evaluation],
    ['policy', event.policyDigest, policy],
  ]
  const differing = seen.filter(([, sent, released]) => sent !== undefined && sent !== released)
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
  return `already approved by ${state.approvals.map(({ by }) => by).join(' and ')} ${ago} ago; the release is in ${state.stage.replace('_', ' ')}`
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
