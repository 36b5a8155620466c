/**
 * Defines the state of a release as plain data: its stage, policy, evidence, approvals and result. All of it is stored, so that a worker
 * crash loses nothing and the state alone explains what the release waits for.
 */
import type { QualificationCost } from '../model/cost.ts'
import type { DrillKind } from '../drill.ts'
import type { ProbationPolicy, ReleasePolicy, StagePolicy, Strategy } from './policy.ts'
import type { Role } from '../roles.ts'
import {
  disagreementCode,
  needsApprover,
  scoreShiftCode,
  type Verdict,
  type VerdictKind,
} from '../verdict.ts'

export type ReleaseId = `rel_${string}`
/** Derives the release id from the workflow run, so that the starter knows it at once. */
export const releaseIdOf = (firstRunId: string): ReleaseId => `rel_${firstRunId.replaceAll('-', '')}`

/** Each stage with one sentence on what has happened so far. */
export const releaseStages = {
  qualifying: 'The release is open and the version is registered; the champion serves all traffic.',
  awaiting_approval:
    'The pre-flight checks of the candidate (golden predictions, latency, memory) have passed and approvals were requested; no request has reached the candidate.',
  shadow:
    'The approvals were given and the candidate receives copies of requests; callers never see its predictions.',
  targeted:
    'The candidate serves callers who were chosen to meet it first, under an exposure lease; the champion serves all others.',
  canary:
    'The candidate serves a share of the traffic under an exposure lease; the champion serves the rest.',
  awaiting_decision:
    'The deadline of a stage has passed without enough evidence, and an approver was asked to decide; the candidate keeps its share while nothing is found against it.',
  promoting: 'All stages were passed (by break-glass, the one that counts), and the promotion was ordered.',
  probation:
    'The candidate has become champion; the previous champion serves a small holdback and takes over again if the new one fails.',
  rolling_back:
    'A rollback was ordered, and the replicas are returning to the last version that passed its probation.',
  ended: 'The outcome and its reason are recorded; only versions that passed their release serve traffic.',
} as const satisfies Record<string, string>

export type ReleaseStage = keyof typeof releaseStages

/** The stages with a minimum time, minimum requests, a verdict and a deadline. */
export const watchedStages = ['shadow', 'targeted', 'canary', 'probation'] as const
export type WatchedStage = (typeof watchedStages)[number]

/** Each outcome with its meaning. */
export const releaseOutcomes = {
  promoted: 'The version is champion and has passed its probation; later releases can be rolled back to it.',
  rolled_back: 'A verdict, a deadline or a user has rolled the version back; the previous champion serves.',
  rejected: 'An approver has rejected the version before it received any request.',
  expired:
    'The approvals, or in a shadow release the evidence, did not arrive in time; callers never saw a prediction of the version.',
  aborted: 'A user has stopped the release before the promotion.',
  superseded:
    'Another release has superseded this one, or the champion, the candidate or the evidence has changed since it began.',
  failed: 'A step of the release has failed for the given reason; the previous champion serves.',
} as const satisfies Record<string, string>

export type ReleaseOutcomeKind = keyof typeof releaseOutcomes

/** The commands of users to a release. */
export type CommandName = 'approve' | 'reject' | 'pause' | 'resume' | 'abort' | 'rollback' | 'promoteNow'

/** The roles that may give each command. */
export const commandRoles: Readonly<Record<CommandName, readonly Role[]>> = {
  approve: ['approver', 'admin'],
  reject: ['approver', 'admin'],
  pause: ['operator', 'approver', 'admin'],
  resume: ['approver', 'admin'],
  abort: ['operator', 'approver', 'admin'],
  rollback: ['operator', 'approver', 'admin'],
  promoteNow: ['admin'],
}
export const commandNames = Object.keys(commandRoles) as CommandName[]

interface CommandTerms {
  /**
   * Whether the command needs a reason. `asked`: the form of a page requires it, and the command line asks for it but goes on without, because
   * a rollback must not wait for words.
   */
  reason: 'required' | 'asked' | 'optional'
  /** Whether the command applies only to the stage and the digests that its sender was shown. */
  isBound: boolean
}

/** What pages and the command line require of each command. */
export const commandTerms: Readonly<Record<CommandName, CommandTerms>> = {
  approve: { reason: 'optional', isBound: true },
  reject: { reason: 'required', isBound: true },
  pause: { reason: 'optional', isBound: false },
  resume: { reason: 'optional', isBound: true },
  abort: { reason: 'asked', isBound: false },
  rollback: { reason: 'asked', isBound: false },
  promoteNow: { reason: 'required', isBound: true },
}

/** The roles that may mark a release as a hotfix, which supersedes an open release. */
export const hotfixRoles: readonly Role[] = ['approver', 'admin']

/** The artifact, evidence and policy of a release. An approval covers exactly these. */
export interface ReleaseDigests {
  artifact: string
  evaluation: string
  policy: string
}

/** The basis of a release as stored at the moment of a command. */
export interface ReleaseBasis {
  /** The current champion; absent when the model has none. */
  champion?: string
  /** The rollback that has made it champion; absent when it was promoted. */
  rollback?: { from: string; by: string; reason: string }
  /** The artifact and evaluation of the version, and the champion of that evaluation. Absent when the version does not exist. */
  artifact?: string
  evaluation?: string
  evaluatedAgainst?: string
  withdrawn: boolean
  /** The command that makes another version in its way; `tenure retrain` where absent. */
  another?: string
}

/** A statement of a user; times are milliseconds on the workflow's clock. */
export interface Statement {
  by: string
  /** The id of the key; absent when unknown. */
  key?: string
  atMs: number
  reason?: string
  /** The digests that an approval covers. */
  digests?: ReleaseDigests
}

/** A routing generation that the release has written and all live replicas have acknowledged. */
export interface RoutedStage {
  stage: ReleaseStage
  stageIndex: number
  generation: number
  shareBp: number
  /** The time of the write, on the database's clock, which the counters use as well. */
  startedMs: number
  /** The replicas that serve the candidate only, in a rolling release. */
  replicas?: string[]
}

/** The result of a rollback; times are milliseconds on the database's clock. */
export interface Recovery {
  /** The champion after the rollback; absent when the model has none. */
  champion?: string
  /** Whether the candidate had been champion. */
  wasChampion: boolean
  /** Schema differences that callers of the candidate meet after the rollback; absent without any. */
  incompatibilities?: string[]
  /** The time of the verdict; absent when a user or a deadline caused the rollback. */
  decidedMs?: number
  /** The time of the order. */
  orderedMs: number
  /** The time of the last acknowledgement of a live replica. */
  acknowledgedMs: number
  /** The live replicas that never acknowledged the rollback, each with its reason; absent when all have. */
  unacknowledged?: string[]
  /** Replicas without a lease whose last route may name the candidate as proven; absent without any. */
  cutOff?: string[]
}

/** The time until the last live replica acknowledged the rollback, and what it counts from: the order when no verdict caused the rollback. */
export const rollbackTime = ({
  decidedMs,
  orderedMs,
  acknowledgedMs,
}: Pick<Recovery, 'decidedMs' | 'orderedMs' | 'acknowledgedMs'>): {
  ms: number
  from: 'verdict' | 'order'
} => ({
  ms: Math.max(0, acknowledgedMs - (decidedMs ?? orderedMs)),
  from: decidedMs === undefined ? 'order' : 'verdict',
})

export interface ReleaseState {
  id: ReleaseId
  model: string
  version: string
  /** The champion of the evaluation, which the candidate would replace; absent for the first version of a model. */
  baseline?: string
  requestedBy: string
  /** The id of the requester's key, when a key requested the release. */
  requestedByKey?: string
  /** The statement that marked the release as a hotfix. */
  hotfix?: Statement
  /** The kind of the drill. A drill is never promoted. */
  drill?: DrillKind
  strategy: Strategy
  /** Frozen at the start of the release. */
  policy: ReleasePolicy
  digests: ReleaseDigests
  /** The champion's latency quantiles in microseconds, fixed before the release. */
  latencyUs?: { p95: number; p99: number }
  /** How long outcomes take to arrive plus the length of their window, as measured before the release. */
  labelsMs?: number

  stage: ReleaseStage
  /** The index of the canary stage; 0 in other stages. */
  stageIndex: number
  /** The candidate's share of the traffic, or of the copied requests in shadow, in basis points. */
  shareBp: number
  /** The start of the stage, on the workflow's clock. */
  enteredMs: number
  /** Whether every live replica has acknowledged this stage's routing. */
  routed: boolean
  /** The retries of the current step. */
  attempts: number
  /** How often the deadline of this stage was extended. */
  extensions: number
  /** The last routing in force, which the next write replaces. 0 before the first. */
  epoch: number
  generation: number
  /** All routings of this release, oldest first. */
  routings: RoutedStage[]
  /** The replicas that have not acknowledged the current routing, with reasons. */
  blockedBy: string[]
  /** Whether the clock of the stage is stopped. */
  paused: boolean
  pause?: Statement

  /** What the candidate and the champion take, as the pre-flight checks measured them. */
  cost?: QualificationCost

  approvals: Statement[]
  /** Approvals that no longer count, with the reason. */
  voidedApprovals?: (Statement & { why: string })[]
  rejections: Statement[]
  /** The break-glass order of an admin; it expires at `untilMs`. */
  breakGlass?: Statement & { untilMs?: number }
  lastVerdict?: { kind: VerdictKind; reason: string; atMs: number; questions?: string[] }
  /** The questions that an approver has answered by passing the stage. */
  accepted?: string[]
  /** The stage that `awaiting_decision` returns to. */
  undecidedStage?: WatchedStage
  /** Whether the candidate has become champion. */
  promoted: boolean
  /** The order of a rollback, from the moment of its decision. */
  rollbackOrder?: {
    outcome: 'rolled_back' | 'aborted' | 'superseded' | 'expired' | 'failed'
    reason: string
    withdraw: boolean
    /** Set when nothing but missing data ordered it, which says nothing against the version. */
    isWithoutData?: true
  }
  rollbackResult?: Recovery
  outcome?: ReleaseOutcomeKind
  reason?: string
  /** Set when it has ended because another version became champion while it waited for approval. */
  championChanged?: true
  /** Whether the end is recorded. */
  closed: boolean
  /** The epoch of the routes after a restored backup that the release has heard of. */
  restoredEpoch?: number
  /** Increases with each change, so that a late writer cannot overwrite a newer state. */
  revision: number
}

/**
 * Whether a stage waits for an approver only because the answers differ, which is no harm: no deadline rolls it back. Its workflow still wakes up
 * at each deadline, as the histories of releases under way do.
 */
export const asksAboutAnswers = ({
  stage,
  lastVerdict,
}: Pick<ReleaseState, 'stage' | 'lastVerdict'>): boolean =>
  stage === 'awaiting_decision' && areAboutAnswers(lastVerdict?.questions)

/** Whether an approver is asked whatever the policy says: nothing but the question about answers is left. A drill asks no approver. */
export const alwaysAsks = ({ drill }: Pick<ReleaseState, 'drill'>, verdict: Verdict): boolean =>
  drill === undefined && needsApprover(verdict) && areAboutAnswers(verdict.questions)

/** Whether all questions are about answers that differ. */
const areAboutAnswers = (questions: readonly string[] = []): boolean =>
  questions.length > 0 &&
  questions.every((question) => question === scoreShiftCode || question === disagreementCode)

/** What the judges of a stage read of a release. */
export interface JudgedState extends Pick<
  ReleaseState,
  | 'version'
  | 'baseline'
  | 'drill'
  | 'strategy'
  | 'policy'
  | 'labelsMs'
  | 'stage'
  | 'stageIndex'
  | 'undecidedStage'
  | 'shareBp'
  | 'routings'
  | 'promoted'
  | 'accepted'
> {
  /** Present while an order to promote by break-glass is in force. */
  breakGlass?: object
}

/** The facts that a release starts with. */
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
  | 'labelsMs'
  | 'epoch'
  | 'generation'
>

/** The first state of a release. The first version of a model is released directly, because it has no champion to compare with. */
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

/** Why a release must not start; empty when it may. */
export function issuesOfOpening(facts: ReleaseFacts): string[] {
  const issues: string[] = []
  const { baseline, version, policy, hotfix, drill } = facts
  if (baseline === undefined && policy.approval.approvers === 0)
    issues.push('the first version of a model needs at least one approval: approval.approvers is 0')
  if (baseline === version) issues.push(`${version} is already champion`)
  if (hotfix !== undefined && baseline !== undefined && policy.stages.length === 0)
    issues.push('a hotfix needs at least one canary stage, and its policy has none')
  if (drill !== undefined && baseline === undefined) issues.push('a drill needs a champion to compare with')
  return issues
}

/** A stage in which the candidate gets requests. */
export interface Step {
  stage: Exclude<WatchedStage, 'probation'>
  stageIndex: number
  /** The share of a targeted stage is 0: its callers are selected, not drawn. */
  policy: StagePolicy
}

/** The steps before the promotion, in order, by strategy. */
export function stepsOf(state: Pick<ReleaseState, 'strategy' | 'policy'>): Step[] {
  const { strategy, policy } = state
  if (strategy === 'direct') return []
  const shadow: Step[] = policy.shadow ? [{ stage: 'shadow', stageIndex: 0, policy: policy.shadow }] : []
  if (strategy === 'shadow' || strategy === 'blue_green') return shadow
  const { targeted } = policy
  return [
    ...shadow,
    ...(targeted ? [{ stage: 'targeted', stageIndex: 0, policy: { ...targeted, shareBp: 0 } } as const] : []),
    ...policy.stages.map((each, stageIndex): Step => ({ stage: 'canary', stageIndex, policy: each })),
  ]
}

/** Whether a break-glass order is in force: the release then waits for requests and a verdict, but not for a minimum time. */
export const isBreakGlass = (state: Pick<JudgedState, 'breakGlass' | 'promoted'>): boolean =>
  state.breakGlass !== undefined && !state.promoted

/** Whether a shadow release is promoted by its verdict, without an approver. */
export const promotesByProof = ({ policy }: Pick<ReleaseState, 'policy'>): boolean =>
  (policy.whenPassed ?? 'promote') === 'promote' && policy.limits.nonInferiority !== undefined

/** The stage whose evidence counts: while a person decides about a stage, that stage. */
export const observedStage = ({
  stage,
  undecidedStage,
}: Pick<ReleaseState, 'stage' | 'undecidedStage'>): ReleaseStage =>
  stage === 'awaiting_decision' ? (undecidedStage ?? stage) : stage

/** The minimum time, minimum requests and deadline of the observed stage; undefined in other stages. */
export function watchedPolicy(
  state: Pick<
    JudgedState,
    'policy' | 'stage' | 'stageIndex' | 'undecidedStage' | 'breakGlass' | 'promoted' | 'labelsMs'
  >,
): Omit<StagePolicy, 'shareBp'> | undefined {
  const required = (policy: Omit<StagePolicy, 'shareBp'> | undefined) =>
    policy && isBreakGlass(state) ? { ...policy, minMs: 0 } : policy
  switch (observedStage(state)) {
    case 'shadow':
      return required(state.policy.shadow)
    case 'targeted':
      return required(state.policy.targeted)
    case 'canary':
      return required(state.policy.stages[state.stageIndex])
    case 'probation':
      return coveringLabels(state.policy.probation, state.labelsMs)
    default:
      return undefined
  }
}

/** A probation that ends before its outcomes arrive cannot detect a model that has become wrong. */
function coveringLabels(probation: ProbationPolicy | undefined, labelsMs = 0): ProbationPolicy | undefined {
  if (probation?.coverLabels !== true || labelsMs <= probation.minMs) return probation
  return { ...probation, minMs: labelsMs, deadlineMs: probation.deadlineMs + labelsMs - probation.minMs }
}

/** Whether the replicas still load the candidate before its promotion, because no stage has routed it to them. */
export function isWarming(state: Pick<ReleaseState, 'stage' | 'baseline' | 'routed' | 'routings'>): boolean {
  const { stage, baseline, routed, routings } = state
  return stage === 'promoting' && baseline !== undefined && !routed && routings.length === 0
}
