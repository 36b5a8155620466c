/**
 * Decides whether an approval still counts: it belongs to the artifact, the evidence and the policy at the time it was given, so that no
 * approver answers for anything unseen.
 */
import { basisIssues, type BasisIssue } from './basis.ts'
import { approvalSides, type ApprovalSide } from './rules/approval-policy.ts'
import type { ReleaseState, ReleaseBasis, Statement } from './state.ts'

type Person = Pick<Statement, 'by' | 'key'>

/**
 * Why a user cannot approve the release that the user requested; undefined for another user. Compares the name and the key, because a name
 * can be given to another user.
 */
export const requesterIssue = (state: ReleaseState, { by, key }: Person): string | undefined =>
  by === state.requestedBy || (key !== undefined && key === state.requestedByKey)
    ? `${by} requested the release; someone else must approve it`
    : undefined

/** Whether the policy lets this user approve. Without names, every approver may. */
export const mayApprove = (
  { policy }: Pick<ReleaseState, 'policy'>,
  { by }: Pick<Statement, 'by'>,
): boolean => policy.approval.from?.includes(by) ?? true

/** Returns the users who approved, each once: an approver who also passes an inconclusive stage has given two approvals. */
export const approversOf = (approvals: readonly Pick<Statement, 'by'>[]): string[] => [
  ...new Set(approvals.map(({ by }) => by)),
]

type Approvals = Pick<ReleaseState, 'approvals' | 'policy'>

/** The sides that the policy requires and that have not approved yet. */
export const missingSides = ({ approvals, policy }: Approvals): ApprovalSide[] => {
  const { sides } = policy.approval
  return sides === undefined
    ? []
    : approvalSides.filter((side) => !approvals.some(({ by }) => sides[side].includes(by)))
}

/** `; business must sign (carol, dan)`; empty when no side is missing. */
export const missingSidesText = (state: Approvals): string =>
  missingSides(state)
    .map((side) => `; ${side} must sign (${state.policy.approval.sides?.[side].join(', ')})`)
    .join('')

/** How many approvals are still needed; more than the policy's number when a side is missing. */
export const missingApprovals = (state: Approvals): number =>
  Math.max(state.policy.approval.approvers - state.approvals.length, missingSides(state).length, 0)

/** Whether the policy requires no further approval. */
export const isApproved = (state: Approvals): boolean => missingApprovals(state) === 0

/** Whether two statements come from the same user, by name or key. */
export const isSamePerson = (one: Person, other: Person): boolean =>
  one.by === other.by || (one.key !== undefined && one.key === other.key)

/** Why a release ends; `championChanged` when another version has become champion while it waited for approval. */
export interface LostBasis {
  reason: string
  championChanged?: true
}

/**
 * Why a release that waits for approval can never be released; undefined while it can. Another evaluation of the version can still be approved;
 * another champion needs another evaluation, which only a new version has.
 */
export function lostBasis(state: ReleaseState, basis: ReleaseBasis): LostBasis | undefined {
  const [issue] = issuesOf(state, basis)
  if (issue === undefined || isReevaluated(issue, basis)) return undefined
  const { kind, message } = issue
  return kind === 'champion' || kind === 'comparison'
    ? {
        reason: `Champion changed: ${message}. Make another with \`${basis.another ?? `tenure retrain ${state.model}`}\``,
        championChanged: true,
      }
    : { reason: message }
}

export const issuesOf = ({ version, baseline: champion, digests }: ReleaseState, basis: ReleaseBasis) =>
  basisIssues({ version, champion, ...digests }, basis)

const isReevaluated = ({ kind }: BasisIssue, { evaluation }: ReleaseBasis): boolean =>
  kind === 'evaluation' && evaluation !== undefined

/** Moves approvals to the voided ones, with the reason. */
export function voided(
  state: ReleaseState,
  why: string,
  isVoid: (given: Statement) => boolean = () => true,
): ReleaseState {
  const lost = state.approvals.filter(isVoid).map((each) => ({ ...each, why }))
  if (lost.length === 0) return state
  const approvals = state.approvals.filter((each) => !isVoid(each))
  return { ...state, approvals, voidedApprovals: [...(state.voidedApprovals ?? []), ...lost] }
}

/** Voids the approval of a user who rejects the release. */
export const withdrawn = (state: ReleaseState, rejection: Statement): ReleaseState =>
  voided(state, `${rejection.by} has rejected the release since`, (each) => isSamePerson(each, rejection))
