/**
 * Decides from recorded rows whether a release may route or promote its candidate: from how it was opened, what users signed and what
 * judges found. The workflow state is not a proof, because a Temporal client can write any state.
 */
import { breakGlassMs } from './break-glass.ts'
import { isApproved, isRequester, isSamePerson, mayApprove, missingSidesText } from './approval.ts'
import { withFacts, type OpenedFacts } from './facts.ts'
import {
  commandRoles,
  isBreakGlass,
  observedStage,
  promotesByProof,
  stepsOf,
  type CommandName,
  type ReleaseDigests,
  type ReleaseStage,
  type ReleaseState,
  type Statement,
  type Step,
} from './state.ts'
import type { Role } from '../roles.ts'

/** A recorded command whose signature was verified. Times are milliseconds on the database's clock. */
export interface SignedStatement extends Statement {
  command: CommandName
  role: Role
  /** Whether the key covers the model, and was active when the command was recorded. */
  isValid: boolean
  /** The digests that the command names. */
  seen: Partial<ReleaseDigests>
  untilMs?: number
}

export interface StageVerdicts {
  stage: ReleaseStage
  stageIndex: number
  passed: boolean
  firstMs: number
  /** The sequence number of the last verdict; later verdicts have higher numbers. */
  last: number
}

export interface ReleaseRecord {
  facts: OpenedFacts
  /** The artifact and the policy when the release was opened. */
  digests: Pick<ReleaseDigests, 'artifact' | 'policy'>
  /** In the order of arrival. */
  statements: readonly SignedStatement[]
  verdicts: readonly StageVerdicts[]
  /** Whether this release has promoted its candidate. */
  promoted: boolean
  /** Whether a rollback of the candidate has begun. */
  rolledBack: boolean
}

/** The state with its facts, approvals, break-glass order and share replaced by what the record supports. */
export function supported(given: ReleaseState, record: ReleaseRecord): ReleaseState {
  const { facts, promoted } = record
  const digests = { ...given.digests, ...record.digests }
  const state: ReleaseState = { ...withFacts(given, facts), digests, promoted: given.promoted && promoted }
  const step = stepsOf(state).find((each) => isAt(each, state))
  const approvals = approvalsOf(state, record)
  const breakGlass = given.breakGlass && glassOf(state, record)
  return { ...state, shareBp: step?.policy.shareBp ?? state.shareBp, approvals, breakGlass }
}

const isAt = (step: Step, state: ReleaseState): boolean =>
  step.stage === observedStage(state) && step.stageIndex === state.stageIndex

/** A command is recorded a moment after the release has accepted it. */
const recordingMs = 60_000

/** Whether a statement was signed by an approver, for these digests, in time. */
function counts(
  state: ReleaseState,
  { command, role, isValid, seen, ...statement }: SignedStatement,
): boolean {
  const { artifact, evaluation, policy } = state.digests
  const isFor =
    (seen.artifact ?? artifact) === artifact &&
    (seen.evaluation ?? evaluation) === evaluation &&
    (seen.policy ?? policy) === policy
  const isInTime = statement.untilMs === undefined || statement.atMs <= statement.untilMs + recordingMs
  return isValid && isFor && isInTime && commandRoles[command].includes(role)
}

/** One approval per person; the requester's own does not count. */
function approvalsOf(state: ReleaseState, { statements }: ReleaseRecord): Statement[] {
  const approvals: Statement[] = []
  for (const statement of statements) {
    if (statement.command !== 'approve' || !counts(state, statement)) continue
    if (isRequester(state, statement) || !mayApprove(state, statement)) continue
    if (approvals.some((each) => isSamePerson(each, statement))) continue
    approvals.push(statementOf(state, statement))
  }
  return approvals
}

const statementOf = ({ digests }: ReleaseState, { by, key, atMs, reason }: SignedStatement): Statement => ({
  by,
  key,
  atMs,
  reason,
  digests,
})

function glassOf(state: ReleaseState, { statements }: ReleaseRecord): ReleaseState['breakGlass'] {
  if (state.drill !== undefined || state.baseline === undefined) return undefined
  const order = statements.find(
    (each) => each.command === 'promoteNow' && counts(state, each) && (each.reason ?? '').trim() !== '',
  )
  const untilMs = Math.min(state.breakGlass?.untilMs ?? Infinity, (order?.atMs ?? 0) + breakGlassMs)
  return order && { ...statementOf(state, order), untilMs }
}

/** Why the recorded rows do not allow the routing of this stage, or the promotion; undefined when they do. */
export function issueOfRoute(state: ReleaseState, record: ReleaseRecord): string | undefined {
  const stage = observedStage(state)
  if (stage === 'probation') return record.promoted ? undefined : 'the promotion is not recorded'
  const steps = stepsOf(state)
  const at = stage === 'promoting' ? steps.length : steps.findIndex((each) => isAt(each, state))
  if (at < 0) return `no routing belongs to the stage ${stage}/${state.stageIndex}`
  if (isBreakGlass(state)) return issueOfBreakGlass(state, record, { steps, at })
  if (!isApproved(state))
    return `${state.approvals.length} of ${state.policy.approval.approvers} signed approvals are recorded${missingSidesText(state)}`
  return issueOfSteps(state, record, steps.slice(0, at))
}

function issueOfSteps(state: ReleaseState, record: ReleaseRecord, steps: readonly Step[]) {
  const missing = steps.find((step) => !hasPassed(state, record, step))
  return missing && `no verdict or decision that ${nameOf(missing)} was passed is recorded`
}

/** Requires that the watched stage that was judged last has passed. */
function issueOfBreakGlass(
  state: ReleaseState,
  record: ReleaseRecord,
  { steps, at }: { steps: readonly Step[]; at: number },
): string | undefined {
  const first = steps.find(({ stage }) => stage === 'canary') ?? steps[0]
  if (first === undefined || steps[at] === first) return undefined
  if (at < steps.length) return issueOfSteps(state, record, steps.slice(0, at))
  const judged = record.verdicts
    .filter(({ stage }) => stage === first.stage)
    .sort((a, b) => b.last - a.last)[0]
  const last = steps.find((each) => each.stage === judged?.stage && each.stageIndex === judged.stageIndex)
  return issueOfSteps(state, record, [last ?? first])
}

/** Whether a verdict passed the stage, or an approver who had seen the verdicts so far. */
function hasPassed(
  state: ReleaseState,
  { verdicts, statements }: ReleaseRecord,
  { stage, stageIndex }: Pick<Step, 'stageIndex'> & { stage: ReleaseStage },
): boolean {
  const seen = verdicts.find((each) => each.stage === stage && each.stageIndex === stageIndex)
  if (seen === undefined) return false
  const isDecided = () =>
    statements.some(
      (statement) =>
        statement.command === 'approve' &&
        statement.atMs >= seen.firstMs &&
        counts(state, statement) &&
        !isRequester(state, statement) &&
        mayApprove(state, statement),
    )
  const needsDecision = stage === 'shadow' && state.strategy === 'shadow' && !isBreakGlass(state)
  const isProven = !needsDecision || promotesByProof(state)
  return (seen.passed && isProven) || isDecided()
}

const nameOf = ({ stage, stageIndex }: Step): string =>
  stage === 'canary' ? `canary stage ${stageIndex}` : stage

/** Why the recorded rows do not allow the end as promoted; undefined when they do. */
export function issueOfEnd(state: ReleaseState, record: ReleaseRecord): string | undefined {
  if (!record.promoted) return 'the promotion is not recorded'
  // A rollback without a version to return to leaves the candidate champion.
  if (state.policy.probation === undefined || state.baseline === undefined || record.rolledBack)
    return undefined
  const isOver = hasPassed(state, record, { stage: 'probation', stageIndex: 0 })
  return isOver ? undefined : 'no verdict or decision that the probation was passed is recorded'
}
