/** Checks the approvals of a release policy, and the minimum that its risk class requires. */
import { counted } from '../../figures.ts'
import type { PolicyIssues } from '../../policy-issues.ts'

/** Who is responsible for a release: the users of its decisions, and the engineers who run it. */
export type ApprovalSide = 'business' | 'engineering'

export const approvalSides: readonly ApprovalSide[] = ['business', 'engineering']

/** The approvals of a policy, as the release policy documents them. */
interface ApprovalRules {
  approvers: number
  withinMs: number
  from?: readonly string[]
  sides?: Record<ApprovalSide, readonly string[]>
}

/** The parts of a policy that a risk class restricts. */
interface RiskRules {
  strategy: string
  approval: ApprovalRules
  risk?: 'high'
  probation?: object
  drill?: object
  requireDrill?: { withinMs: number }
}

export function checkApproval(check: PolicyIssues, approval: ApprovalRules): void {
  check.integer('approval.approvers', approval.approvers, 0, 10)
  check.duration('approval.withinMs', approval.withinMs, 1)
  if (approval.from !== undefined) checkNames(check, 'approval.from', approval.from, approval.approvers)
  checkSides(check, approval)
}

function checkNames(
  { need }: PolicyIssues,
  place: string,
  names: readonly string[],
  approvers: number,
): void {
  const isList =
    Array.isArray(names) &&
    names.every((name) => typeof name === 'string' && name.trim() !== '' && name.length <= 200) &&
    new Set(names).size === names.length
  need(isList, `${place} is a list of different names of users`)
  need(
    !isList || names.length >= Math.max(1, approvers),
    `${place} names ${counted(Array.isArray(names) ? names.length : 0, 'user')}, and approval.approvers is ${approvers}`,
  )
}

/** Two sides are two persons: a user on both sides could sign alone. */
function checkSides(check: PolicyIssues, { sides, approvers, from }: ApprovalRules): void {
  if (sides === undefined) return
  const { need } = check
  for (const side of approvalSides) checkNames(check, `approval.sides.${side}`, sides[side], 1)
  need(approvers >= 2, `approval.approvers is ${approvers}, it must be 2 or more with approval.sides`)
  const [business, engineering] = [sides.business ?? [], sides.engineering ?? []]
  const both = business.filter((name) => engineering.includes(name))
  need(both.length === 0, `approval.sides names ${both.join(', ')} on both sides`)
  const unknown = [...business, ...engineering].filter((name) => from?.includes(name) === false)
  need(unknown.length === 0, `approval.sides names ${unknown.join(', ')}, and approval.from does not`)
}

export const leastHighRisk = { approvers: 2, drillWithinMs: 35 * 24 * 3_600_000 } as const

/** The minimum that a model of high risk requires. */
export function checkRisk({ oneOf, need }: PolicyIssues, policy: RiskRules): void {
  const { risk = '', strategy, approval, probation, drill, requireDrill } = policy
  const { approvers, drillWithinMs } = leastHighRisk
  const least = 'of a model of high risk'
  oneOf('risk', risk, ['high'])
  need(strategy !== 'direct', `strategy ${least} must have stages before 100 %, so it cannot be direct`)
  need(approval.approvers >= approvers, `approval.approvers ${least} must be ${approvers} or more`)
  need(strategy === 'direct' || probation !== undefined, `probation ${least} cannot be off`)
  need(drill !== undefined, `drill ${least} cannot be off`)
  need(
    (requireDrill?.withinMs ?? Infinity) <= drillWithinMs,
    `requireDrill ${least} must be within ${drillWithinMs / 86_400_000} days`,
  )
}

/** A request for one release must not lower the number of approvals, change who may give them, or lower the risk class. */
export function checkReplacedApproval(
  { need }: PolicyIssues,
  policy: RiskRules,
  own: Partial<RiskRules>,
): void {
  const { approval } = policy
  const { approvers } = approval
  const minApprovers = own.approval?.approvers ?? 0
  need(
    !(approvers < minApprovers),
    `approval.approvers is ${approvers}, the model file requires at least ${minApprovers}`,
  )
  const named = own.approval?.from
  need(
    named === undefined ||
      (approval.from?.length !== 0 && approval.from?.every((name) => named.includes(name)) === true),
    `approval.from must name only users that the model file names: ${named?.join(', ')}`,
  )
  for (const side of approvalSides) {
    const needed = own.approval?.sides?.[side]
    const given = approval.sides?.[side]
    need(
      needed === undefined || (given !== undefined && given.every((name) => needed.includes(name))),
      `approval.sides.${side} must name only users that the model file names: ${needed?.join(', ')}`,
    )
  }
  need(own.risk === undefined || policy.risk === own.risk, `risk must be ${own.risk}, as in the model file`)
}
