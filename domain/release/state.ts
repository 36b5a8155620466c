/**
 * A release as data: where one version stands on its way to being champion, and who and what brought it there. The
 * whole of it can be written down, sent and read again, so that a worker that dies loses nothing and a person who asks
 * "why is it waiting?" gets the answer from the state alone.
 */
import type { DrillKind } from '../drill.ts'
import type { ReleasePolicy, StagePolicy, Strategy } from './policy.ts'
import type { Role } from '../roles.ts'
import type { VerdictKind } from '../verdict.ts'

export type ReleaseId = `rel_${string}`

/** Each stage with a sentence that says what has already happened. */
export const releaseStages = {
  qualifying:
    'The release is open and the version is registered; the champion answers every request and nobody has been asked yet.',
  awaiting_approval:
    'A process of its own has loaded the candidate and found its golden answers, latency and memory in order; approvals have been asked for, and no request has reached it.',
  shadow:
    'The approvals are in and the candidate has been given copies of requests; none of its answers has left the server.',
  canary:
    'The candidate has been given a share of the callers under an exposure lease; the champion answers the others.',
  awaiting_decision:
    'The deadline of a stage has passed without enough evidence for or against the candidate, and a person has been asked; it keeps its share only while the watch finds nothing against it.',
  promoting:
    'Every stage has been passed, or by break-glass the one that counts, and the move of the champion has been ordered.',
  probation:
    'The candidate has become champion; a few callers have stayed with the previous one, which is warm and takes over again when the watch finds anything against the new one.',
  rolling_back:
    'It has been decided to take the candidate back, and every replica is being told to return to the champion that has earned its place.',
  ended: 'The outcome and its reason stand; no version that has not earned it answers any request.',
} as const satisfies Record<string, string>

export type ReleaseStage = keyof typeof releaseStages

/** Each outcome with what it means. */
export const releaseOutcomes = {
  promoted: 'The version is champion and proven: later releases may be taken back to it.',
  rolled_back:
    'The version has been taken back by a verdict, a deadline or a person; the champion is the one from before.',
  rejected: 'A person has refused it before it met any request.',
  expired:
    'The approvals, or in a shadow release the evidence, did not come in time; none of its answers has left the server.',
  aborted: 'A person has stopped it before it was champion.',
  superseded:
    'Another release has taken its place, or the champion, the candidate or the evidence is no longer what it was built on.',
  failed: 'It could not be carried out, for the reason given; the champion is the one from before.',
} as const satisfies Record<string, string>

export type ReleaseOutcomeKind = keyof typeof releaseOutcomes

/** The words a person can say to a release. */
export const commandNames = [
  'approve',
  'reject',
  'pause',
  'resume',
  'abort',
  'rollback',
  'promoteNow',
] as const
export type CommandName = (typeof commandNames)[number]

/** Who may say what. A role that is not listed may not. */
export const commandRoles: Readonly<Record<CommandName, readonly Role[]>> = {
  approve: ['approver', 'admin'],
  reject: ['approver', 'admin'],
  pause: ['operator', 'approver', 'admin'],
  resume: ['approver', 'admin'],
  abort: ['operator', 'approver', 'admin'],
  rollback: ['operator', 'approver', 'admin'],
  promoteNow: ['admin'],
}

/** Who may mark a release as a hotfix, which takes the place of an open one. */
export const hotfixRoles: readonly Role[] = ['approver', 'admin']

/** The bytes and the evidence a release is about. An approval is given to these and to no others. */
export interface ReleaseDigests {
  artifact: string
  evaluation: string
  policy: string
}

/** What the database says of the release's foundations at the moment of a command. */
export interface ReleaseBasis {
  /** Who is champion; absent when the model has none. */
  champion?: string
  /** Of the version: its bytes, its evidence, and the champion it was compared with. Absent when there is no such version. */
  artifact?: string
  evaluation?: string
  evaluatedAgainst?: string
  withdrawn: boolean
}

/** What a person has said, and when; times are milliseconds on the workflow's clock. */
export interface Statement {
  by: string
  /** The id of the key; absent when it is not known. */
  key?: string
  atMs: number
  reason?: string
  /** What it was given to, for an approval. */
  digests?: ReleaseDigests
}

/** A generation of the routing that the release has written and all live replicas have acknowledged. */
export interface RoutedStage {
  stage: ReleaseStage
  stageIndex: number
  generation: number
  shareBp: number
  /** When it was written, on the database's clock, which is that of the counters. */
  startedMs: number
  /** The replicas that answer with the candidate alone, in a rolling release. */
  replicas?: string[]
}

/** How a candidate was taken back; times are milliseconds on the database's clock. */
export interface Recovery {
  /** Who answers now; absent when the model has no champion. */
  champion?: string
  /** Whether the candidate had become champion before. */
  wasChampion: boolean
  /** Why what its callers send and read by now does not fit who answers; absent when it does, or it was not champion. */
  incompatibilities?: string[]
  /** The verdict that led to it; absent when a person or a deadline did. */
  decidedMs?: number
  /** When the order was written. */
  orderedMs: number
  /** When the last live replica had acknowledged it. */
  acknowledgedMs: number
}

export interface ReleaseState {
  id: ReleaseId
  model: string
  version: string
  /** The champion it was compared with and would replace; absent for the first version of a model. */
  baseline?: string
  requestedBy: string
  /** The id of that key, when a key has asked. */
  requestedByKey?: string
  /** Who has marked it as a hotfix, and why. */
  hotfix?: Statement
  /** What it rehearses. A drill is never promoted. */
  drill?: DrillKind
  strategy: Strategy
  /** Frozen: a policy edited in the meantime changes nothing here. */
  policy: ReleasePolicy
  digests: ReleaseDigests
  /** The champion's latency quantiles in microseconds, fixed before the release. */
  latencyUs?: { p95: number; p99: number }

  stage: ReleaseStage
  /** Which of the policy's canary stages; 0 outside of them. */
  stageIndex: number
  /** The share of the callers that get the candidate, or of the requests it is shown in shadow. */
  shareBp: number
  /** When the stage began, on the workflow's clock. */
  enteredMs: number
  /** Whether every live replica has acknowledged this stage's routing. */
  routed: boolean
  /** How often the present step has been tried again. */
  attempts: number
  /** How often a person has given this stage its deadline anew. */
  extensions: number
  /** The last routing known to be in force: what the next write replaces. 0 before the first. */
  epoch: number
  generation: number
  /** All routing of this release so far, oldest first. */
  routings: RoutedStage[]
  /** What keeps the present routing from being acknowledged. */
  blockedBy: string[]
  /** Set while a person has stopped the clock of the stage. */
  paused: boolean
  pause?: Statement

  approvals: Statement[]
  /** Approvals that count no more, and why. */
  voidedApprovals?: (Statement & { why: string })[]
  rejections: Statement[]
  /** An admin's word in the place of missing approvals and of waiting; over when the checks have not let the candidate through by then. */
  breakGlass?: Statement & { untilMs?: number }
  lastVerdict?: { kind: VerdictKind; reason: string; atMs: number }
  /** Where an answer to `awaiting_decision` leads back to. */
  undecidedStage?: 'shadow' | 'canary' | 'probation'
  /** Set once the candidate has been made champion. */
  promoted: boolean
  /** Set with the decision to take the candidate back. */
  rollbackOrder?: {
    outcome: 'rolled_back' | 'aborted' | 'superseded' | 'expired' | 'failed'
    reason: string
    withdraw: boolean
  }
  rollbackResult?: Recovery
  outcome?: ReleaseOutcomeKind
  reason?: string
  /** Whether the end has been written down. */
  closed: boolean
  /** Rises with every change, so that a late writer cannot put an old state over a new one. */
  revision: number
}

/** What must be known to open a release. */
export type ReleaseFacts = Pick<
  ReleaseState,
  | 'id'
  | 'model'
  | 'version'
  | 'baseline'
  | 'requestedBy'
  | 'requestedByKey'
  | 'hotfix'
  | 'drill'
  | 'policy'
  | 'digests'
  | 'latencyUs'
  | 'epoch'
  | 'generation'
>

/** The first state of a release. The first version of a model is released directly: there is nothing to compare it with. */
export function openingState(facts: ReleaseFacts, atMs: number): ReleaseState {
  return {
    ...facts,
    strategy: facts.baseline === undefined ? 'direct' : facts.policy.strategy,
    stage: 'qualifying',
    stageIndex: 0,
    shareBp: 0,
    enteredMs: atMs,
    routed: false,
    attempts: 0,
    extensions: 0,
    routings: [],
    blockedBy: [],
    paused: false,
    approvals: [],
    rejections: [],
    promoted: false,
    closed: false,
    revision: 1,
  }
}

/** Why a release must not be opened; empty when it may. */
export function issuesOfOpening(facts: ReleaseFacts): string[] {
  const issues: string[] = []
  if (facts.baseline === undefined && facts.policy.approval.approvers === 0)
    issues.push('the first version of a model needs at least one approval: approval.approvers is 0')
  if (facts.baseline === facts.version) issues.push(`${facts.version} is champion already`)
  if (facts.hotfix !== undefined && facts.baseline !== undefined && facts.policy.stages.length === 0)
    issues.push('a hotfix is never released without a watched stage, and its policy has none')
  if (facts.drill !== undefined && facts.baseline === undefined)
    issues.push('a drill needs a champion to be compared with')
  return issues
}

/** A stage in which the candidate meets requests, in the order of the release. */
export interface Step {
  stage: 'shadow' | 'canary'
  stageIndex: number
  policy: StagePolicy
}

/** The steps before promotion, by strategy. */
export function stepsOf(state: Pick<ReleaseState, 'strategy' | 'policy'>): Step[] {
  const { strategy, policy } = state
  if (strategy === 'direct') return []
  const shadow: Step[] = policy.shadow ? [{ stage: 'shadow', stageIndex: 0, policy: policy.shadow }] : []
  if (strategy === 'shadow' || strategy === 'blue_green') return shadow
  return [
    ...shadow,
    ...policy.stages.map((each, stageIndex): Step => ({ stage: 'canary', stageIndex, policy: each })),
  ]
}

/** Whether an admin's order carries it on and it is not champion yet: it waits for requests and a verdict, and for no clock. */
export const isBreakGlass = ({
  breakGlass,
  promoted,
}: Pick<ReleaseState, 'breakGlass' | 'promoted'>): boolean => breakGlass !== undefined && !promoted

/** What the watched stage asks for: minimum time, minimum requests, deadline. Absent where nothing is watched. */
export function watchedPolicy(
  state: Pick<ReleaseState, 'policy' | 'stage' | 'stageIndex' | 'undecidedStage' | 'breakGlass' | 'promoted'>,
): Omit<StagePolicy, 'shareBp'> | undefined {
  const asked = (policy: StagePolicy | undefined) =>
    policy && isBreakGlass(state) ? { ...policy, minMs: 0 } : policy
  switch (state.stage === 'awaiting_decision' ? state.undecidedStage : state.stage) {
    case 'shadow':
      return asked(state.policy.shadow)
    case 'canary':
      return asked(state.policy.stages[state.stageIndex])
    case 'probation':
      return state.policy.probation
    default:
      return undefined
  }
}

/** Whether every replica is still to load the candidate before the champion moves: it has met no request in any stage. */
export function isWarming(state: Pick<ReleaseState, 'stage' | 'baseline' | 'routed' | 'routings'>): boolean {
  return (
    state.stage === 'promoting' &&
    state.baseline !== undefined &&
    !state.routed &&
    state.routings.length === 0
  )
}
