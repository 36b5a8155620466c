/** Checks a policy that a request provides instead of the model's own, which it must not weaken without an approver. */
import { canonicalJson } from '../../canonical-json.ts'
import { defaultDrill } from '../../drill.ts'
import { loosestQualification } from '../../model/qualification.ts'
import { policyIssues, type PolicyIssues } from '../../policy-issues.ts'
import type { ReleasePolicy, StagePolicy } from '../policy.ts'
import { checkReplacedApproval } from './approval-policy.ts'

/**
 * The issues of a policy that a request provides instead of the model's own; empty when it is allowed. Its shares and times are approved
 * with it, but it must not lower the number of approvals or the drills that the model requires. Without an approver the requester alone
 * would decide, so it must then observe at least as much as the model's own policy.
 */
export function issuesOfReplacement(policy: ReleasePolicy, own: Partial<ReleasePolicy>): string[] {
  const check = policyIssues()
  checkReplacedApproval(check, policy, own)
  const maxMs = own.requireDrill?.withinMs ?? Infinity
  check.need(
    !((policy.requireDrill?.withinMs ?? Infinity) > maxMs),
    `requireDrill.withinMs must be at most ${maxMs}, as in the model file`,
  )
  if (own.requireDrill !== undefined) {
    const kinds = (own.drill ?? defaultDrill).kinds
    const given = (policy.drill ?? defaultDrill).kinds
    check.need(
      kinds.every((kind) => given.includes(kind)),
      `drill.kinds must include ${kinds.join(', ')}, as in the model file`,
    )
  }
  if (policy.approval.approvers === 0) checkUnapproved(check, policy, own)
  return check.issues
}

/** A policy that no approver sees must keep each observation and each limit of the model's own, and must not expose more at once. */
function checkUnapproved(
  { issues, need }: PolicyIssues,
  policy: ReleasePolicy,
  own: Partial<ReleasePolicy>,
): void {
  const unapproved = 'without an approver; ask for approval.approvers of at least 1'
  const observe = (place: string, given: readonly Observation[], wanted: readonly Observation[]): void => {
    if (wanted.length > 0 && given.length === 0) issues.push(`${place} cannot be left out ${unapproved}`)
    else
      for (const field of ['minMs', 'minRequests'] as const) {
        const least = sumOf(wanted, field)
        need(
          !(sumOf(given, field) < least),
          `${place}: ${field} must add up to at least ${least} ${unapproved}`,
        )
      }
  }
  const atMost = (
    place: string,
    given: Readonly<Record<string, number>>,
    max: Record<string, number>,
  ): void => {
    for (const [name, value] of Object.entries(given))
      need(!(value > max[name]!), `${place}.${name} must be at most ${max[name]} ${unapproved}`)
  }
  // Each strategy has other steps; a direct release has none to lose.
  const { strategy = 'direct', stages = [] } = own
  need(
    strategy === 'direct' || policy.strategy === strategy,
    `strategy cannot become ${policy.strategy} ${unapproved}`,
  )
  observe('stages', policy.stages, stages)
  observe('shadow', policy.shadow ? [policy.shadow] : [], own.shadow ? [own.shadow] : [])
  observe('targeted', policy.targeted ? [policy.targeted] : [], own.targeted ? [own.targeted] : [])
  observe('probation', policy.probation ? [policy.probation] : [], own.probation ? [own.probation] : [])
  if (policy.probation) {
    for (const name of ['holdbackBp', 'shadowBp'] as const) {
      const least = own.probation?.[name] ?? 0
      need(
        !((policy.probation[name] ?? 0) < least),
        `probation.${name} must be at least ${least} ${unapproved}`,
      )
    }
    need(
      own.probation?.coverLabels !== true || policy.probation.coverLabels === true,
      `probation.coverLabels must be true, as in the model file, ${unapproved}`,
    )
  }
  for (const [which, at] of [
    ['first', 0],
    ['largest', -1],
  ] as const) {
    const max = stages.at(at)?.shareBp ?? Infinity
    need(
      !((policy.stages.at(at)?.shareBp ?? 0) > max),
      `stages: the ${which} share must be at most ${max / 100} % ${unapproved}`,
    )
  }
  atMost('watch', { ...policy.watch }, { ...own.watch })
  atMost(
    'qualification',
    { ...loosestQualification, ...policy.qualification },
    { ...loosestQualification, ...own.qualification },
  )
  const same = (place: string, given: unknown, wanted: unknown): void =>
    need(
      canonicalJson([given]) === canonicalJson([wanted]),
      `${place} must be as in the model file ${unapproved}`,
    )
  if (own.limits) same('limits', policy.limits, own.limits)
  if (own.ab) same('ab', policy.ab, own.ab)
  if (own.whenPassed === 'ask') same('whenPassed', policy.whenPassed, own.whenPassed)
  if (policy.targeted) same('targeted.target', policy.targeted.target, own.targeted?.target)
  if (policy.hotfix) same('hotfix', policy.hotfix, own.hotfix)
}

type Observation = Pick<StagePolicy, 'minMs' | 'minRequests'>

const sumOf = (parts: readonly Observation[], field: keyof Observation): number =>
  parts.reduce((sum, part) => sum + part[field], 0)
