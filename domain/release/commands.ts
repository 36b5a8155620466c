/**
 * What people may say to a release, and what it does. Every command gets an answer in words: what happened, or why
 * nothing did. Nothing a person sends can break a release; a late approval must not wake one that was taken back.
 */
import { isRequester, isSamePerson, recheckBasis, withdrawn } from './approval.ts'
import { applyBreakGlass } from './break-glass.ts'
import type { Advance, CommandEvent } from './events.ts'
import {
  commandRoles,
  type CommandName,
  type ReleaseStage,
  type ReleaseState,
  type Statement,
} from './state.ts'
import { applied, end, enterStage, nextStage, ignored, orderRollback } from './transitions.ts'

const open: readonly ReleaseStage[] = [
  'qualifying',
  'awaiting_approval',
  'shadow',
  'canary',
  'awaiting_decision',
  'promoting',
  'probation',
]

/** The stages in which a command can change something. */
export const commandStages: Readonly<Record<CommandName, readonly ReleaseStage[]>> = {
  approve: ['awaiting_approval', 'awaiting_decision'],
  reject: ['awaiting_approval', 'awaiting_decision'],
  pause: ['shadow', 'canary', 'probation'],
  resume: ['shadow', 'canary', 'probation', 'awaiting_decision'],
  abort: open,
  rollback: open,
  promoteNow: ['awaiting_approval', 'shadow', 'canary', 'awaiting_decision'],
}

/** Why a command means nothing in a stage it cannot change. */
const nothingToDo: Readonly<Record<CommandName, string>> = {
  approve: 'no approval is waited for',
  reject: 'no approval is waited for; abort or rollback takes a release back',
  pause: 'no clock of a stage is running',
  resume: 'nothing is paused and no decision is waited for',
  abort: 'nothing is left to stop',
  rollback: 'nothing is left to take back',
  promoteNow: 'there is nothing to skip',
}

export function command(given: ReleaseState, event: CommandEvent): Advance {
  const refusal = unauthorised(given, event)
  if (refusal !== undefined) return ignored(given, refusal)
  const rested =
    event.command === 'approve' || event.command === 'promoteNow'
      ? recheckBasis(given, event.standing, event.atMs)
      : undefined
  if (rested === undefined) return applyReleaseCommand(given, event)
  const { state, changed } = rested
  // Whoever names the new evidence has seen it.
  const aware = state.stage !== 'ended' && event.evaluationDigest === state.digests.evaluation
  const done = aware ? applyReleaseCommand(state, event) : ignored(state, changed)
  return done.applied ? done : { ...applied(state, done.message), applied: false }
}

function applyReleaseCommand(state: ReleaseState, event: CommandEvent): Advance {
  const refusal = outOfPlace(state, event)
  if (refusal !== undefined) return ignored(state, refusal)
  const said: Statement = {
    by: event.by,
    key: event.key,
    atMs: event.atMs,
    reason: event.reason,
  }
  switch (event.command) {
    case 'approve':
      return approve(state, said)
    case 'reject':
      return reject(state, said)
    case 'pause':
      if (state.paused) return ignored(state, `it is paused already, by ${state.pause?.by ?? 'a person'}`)
      return applied(
        { ...state, paused: true, pause: said },
        `paused by ${said.by}; a verdict against it still takes it back`,
      )
    case 'resume':
      return resume(state, said)
    case 'abort':
    case 'rollback':
      return applied(
        orderRollback(state, said.atMs, orderOf(state, event.command, said)),
        `${words(event.command, said)}`,
      )
    case 'promoteNow':
      return promoteNow(state, said)
    default:
      return event.command satisfies never
  }
}

/** Why this person may not say it at all. */
function unauthorised({ model }: ReleaseState, event: CommandEvent): string | undefined {
  const { command: name, by, role } = event
  if (event.rejectedBecause !== undefined) return event.rejectedBecause
  if (role === undefined) return `no active key is named "${by}"`
  if (!commandRoles[name].includes(role))
    return `${by} has the role ${role}; ${name} needs ${commandRoles[name].join(' or ')}`
  if (!event.inScope) return `the key of ${by} does not cover the model ${model}`
  return undefined
}

/** Why it means nothing now, or is meant for something else. */
function outOfPlace(state: ReleaseState, event: CommandEvent): string | undefined {
  const { command: name, by, atMs, untilMs } = event
  if (untilMs !== undefined && atMs > untilMs)
    return `${by} has said it for a wait that was over at ${new Date(untilMs).toISOString()}`
  const { artifact, evaluation, policy } = state.digests
  const seen: [string, string | undefined, string][] = [
    ['artifact', event.artifactDigest, artifact],
    ['evaluation', event.evaluationDigest, evaluation],
    ['policy', event.policyDigest, policy],
  ]
  const differing = seen.filter(([, sent, released]) => sent !== undefined && sent !== released)
  if (differing.length > 0)
    return differing
      .map(
        ([what, sent, released]) => `${by} has seen the ${what} ${sent}, but ${released} is what is released`,
      )
      .join('; ')
  if (state.stage === 'ended') return `the release has ended: ${state.outcome ?? ''}, ${state.reason ?? ''}`
  if (state.stage === 'rolling_back') return `it is being taken back: ${state.rollbackOrder?.reason ?? ''}`
  if (!commandStages[name].includes(state.stage)) return `${nothingToDo[name]} in the stage ${state.stage}`
  return undefined
}

function approve(state: ReleaseState, given: Statement): Advance {
  const said = { ...given, digests: state.digests }
  if (isRequester(state, said))
    return ignored(state, `${said.by} has asked for the release and cannot approve it`)
  if (state.stage === 'awaiting_decision')
    return applied(
      nextStage({ ...state, approvals: [...state.approvals, said] }, said.atMs),
      `${said.by} has decided that the stage is passed`,
    )
  if (state.approvals.some((each) => isSamePerson(each, said)))
    return ignored(state, `${said.by} has approved it already`)
  const approvals = [...state.approvals, said]
  const next = { ...state, approvals }
  const { approvers } = state.policy.approval
  if (approvals.length < approvers)
    return applied(next, `approved by ${said.by}, ${approvals.length} of ${approvers}`)
  return applied(nextStage(next, said.atMs), `approved by ${approvals.map(({ by }) => by).join(' and ')}`)
}

/** A denial ends the release at once and stays in it; whoever has denied one may approve a later one of the same version. */
function reject(state: ReleaseState, said: Statement): Advance {
  const denied = { ...said, digests: state.digests }
  const next = { ...withdrawn(state, said), rejections: [...state.rejections, denied] }
  const reason = words('reject', said)
  if (state.stage === 'awaiting_approval') return applied(end(next, said.atMs, 'rejected', reason), reason)
  return applied(orderRollback(next, said.atMs, { outcome: 'rolled_back', reason, withdraw: true }), reason)
}

function resume(state: ReleaseState, said: Statement): Advance {
  if (state.stage === 'awaiting_decision') {
    if (state.undecidedStage === undefined) return ignored(state, 'no stage is undecided')
    return applied(
      enterStage(state, state.undecidedStage, said.atMs, {
        stageIndex: state.stageIndex,
        routed: true,
        extensions: state.extensions + 1,
      }),
      `${said.by} has given the stage its deadline anew`,
    )
  }
  if (!state.paused) return ignored(state, nothingToDo.resume)
  const { pause, ...kept } = state
  const pausedMs = said.atMs - (pause?.atMs ?? said.atMs)
  return applied({ ...kept, paused: false, enteredMs: state.enteredMs + pausedMs }, `resumed by ${said.by}`)
}

function promoteNow(state: ReleaseState, said: Statement): Advance {
  if (said.reason === undefined || said.reason.trim() === '')
    return ignored(state, 'promoteNow stands in for approvals and time; it needs a reason')
  if (state.breakGlass !== undefined)
    return ignored(state, `the glass is broken already, by ${state.breakGlass.by}`)
  if (state.drill !== undefined) return ignored(state, 'it is a drill, which is never promoted')
  if (state.baseline === undefined)
    return ignored(state, 'the first version of a model needs its approval; there is no stage to skip')
  if (state.undecidedStage === 'probation')
    return ignored(state, 'it is champion already; approve ends its probation')
  if (state.lastVerdict?.kind === 'fail')
    return ignored(state, `the last verdict is against it: ${state.lastVerdict.reason}`)
  return applied(applyBreakGlass(state, said), `break-glass by ${said.by}: ${said.reason}`)
}

function orderOf(
  state: ReleaseState,
  name: 'abort' | 'rollback',
  said: Statement,
): NonNullable<ReleaseState['rollbackOrder']> {
  const after = state.promoted || name === 'rollback'
  return { outcome: after ? 'rolled_back' : 'aborted', reason: words(name, said), withdraw: after }
}

const verbs = { reject: 'rejected', abort: 'aborted', rollback: 'rolled back' } as const

function words(name: keyof typeof verbs, said: Statement): string {
  return `${verbs[name]} by ${said.by}${said.reason ? `: ${said.reason}` : ''}`
}
