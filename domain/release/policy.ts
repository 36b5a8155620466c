/**
 * Defines the release policy of a model. It is frozen into each release when it starts, so that an edited policy never changes a
 * running release; all durations are milliseconds, so that a test runs in a second what production runs in a week.
 */
import { issuesOfAb, type AbPolicy } from '../canary/ab-test.ts'
import { issuesOfBusinessTimes } from '../canary/business-policy.ts'
import { issuesOfExternalTimes } from '../canary/external/external-policy.ts'
import { checkCanaryPolicy, defaultCanaryPolicy, type CanaryPolicy } from '../canary/policy.ts'
import { issuesOfDrill, type DrillPolicy } from '../drill.ts'
import { policyIssues, type PolicyIssues } from '../policy-issues.ts'
import { issuesOfTarget, type CallerTarget } from '../serving/target.ts'
import { checkQualification, type QualificationLimits } from '../model/qualification.ts'
import { issuesOfWords } from '../tasks/judged-words.ts'
import type { Output } from '../tasks/output.ts'
import { checkApproval, checkRisk, type ApprovalSide } from './rules/approval-policy.ts'

/**
 * - `canary`: shadow → rising shares → 100 % → probation with a champion holdback.
 * - `direct`: floors and approval only; the first version of a model is released this way.
 * - `blue_green`: every replica loads the candidate, then 0 → 100 % at once; the previous champion stays loaded, keeps its
 *   holdback in the probation and takes over again with one change of the routing.
 * - `shadow`: callers never see predictions of the candidate before it is champion; proof on paired predictions, or an approver,
 *   ends the shadow.
 * - `ab`: a fixed split until the sequential test on the declared metric decides; at the deadline of its only stage it is
 *   inconclusive.
 * - `rolling`: replica by replica. The shares of the stages are shares of the replicas, rounded up; each replica serves one version
 *   only, so the version depends on the replica and no routing key is sticky until the promotion.
 */
export type Strategy = 'canary' | 'direct' | 'blue_green' | 'shadow' | 'ab' | 'rolling'

export interface StagePolicy {
  /** The candidate's share in basis points. */
  shareBp: number
  /** The minimum time; a stage needs minimum time, minimum requests and a verdict to pass. */
  minMs: number
  /** The minimum requests of the candidate in the stage. */
  minRequests: number
  /** The time after which the stage ends: no data and errors roll back, inconclusive asks an approver. */
  deadlineMs: number
}

export interface TargetedPolicy extends Omit<StagePolicy, 'shareBp'> {
  /** The callers who get the candidate first. They keep it in later stages, and are never compared with other callers. */
  target: CallerTarget
}

export interface ProbationPolicy {
  /** The share in basis points that stays on the previous champion as a control. */
  holdbackBp: number
  /**
   * The share of the requests in basis points that is copied to the previous champion, to compare both predictions; none when
   * absent.
   */
  shadowBp?: number
  /** Whether the probation lasts at least as long as outcomes take to arrive, as the monitor has measured before the release. */
  coverLabels?: boolean
  /** The minimum time of the probation. */
  minMs: number
  /** The minimum requests of the new champion in the probation. */
  minRequests: number
  /** The time after which the probation ends as a stage does. */
  deadlineMs: number
}

export interface WatchPolicy {
  /** The length of a counter tick. */
  tickMs: number
  /** The time between two verdicts. */
  everyMs: number
  /** How long the candidate stays exposed without a new verdict. */
  exposureMs: number
  /** How long a routing change waits for the replicas' acknowledgements before a retry. */
  acknowledgeMs: number
  /** How long an inconclusive or paused stage waits for a decision before the release is rolled back. A question about answers waits longer. */
  decisionMs: number
}

export interface ReleasePolicy {
  /** How the candidate gets traffic. */
  strategy: Strategy
  /** The approvals that a release needs before its first stage. */
  approval: {
    /** The number of different approvers; 0 is refused for the first version of a model. */
    approvers: number
    /** The time in which the approvals must be given. */
    withinMs: number
    /** The names of the users whose approval counts. Absent: every approver and admin. */
    from?: readonly string[]
    /** The users of two sides. Each side must give an approval, so that one side cannot release alone. */
    sides?: Record<ApprovalSide, readonly string[]>
  }
  /**
   * `high`: two approvers, stages before 100 %, a probation, and a drill within five weeks. A request for one release cannot lower it.
   */
  risk?: 'high'
  /** The shadow stage before the first share; none when absent. */
  shadow?: StagePolicy
  /** The stage in which only chosen callers meet the candidate, before the first share; none when absent. */
  targeted?: TargetedPolicy
  /** The canary stages in order; each share is larger than the previous one. */
  stages: StagePolicy[]
  /** The time after the promotion in which the new champion is still rolled back automatically; none when absent. */
  probation?: ProbationPolicy
  /** Intervals and timeouts of the observation. */
  watch: WatchPolicy
  /** The limits of the canary judge. */
  limits: CanaryPolicy
  /** The metric and the α of an A/B release. */
  ab?: AbPolicy
  /**
   * The result of an inconclusive stage at its deadline: an approver decides, or the release ends and the version may be released
   * again. A question about answers alone goes to an approver either way. `ask` when absent.
   */
  whenInconclusive?: 'ask' | 'end'
  /**
   * What a passed shadow release does: `promote`, which needs `limits.nonInferiority`, or `ask` an approver. Absent: `promote` with
   * `limits.nonInferiority`, `ask` without it.
   */
  whenPassed?: 'promote' | 'ask'
  /**
   * The behaviour while another release of the model is open. `queue`, the default: wait, and replace an older queued release, but
   * a retraining does not replace one that a user has started; a release started by a user supersedes one that is only awaiting
   * approval. `supersede`: end any release that is not being promoted yet. `refuse`: do not start.
   */
  whenBusy?: 'queue' | 'supersede' | 'refuse'
  /** The shorter stages of a release that an approver has marked as a hotfix; the stages above when absent. */
  hotfix?: {
    /** The stages; at least one, each with minimum requests. */
    stages: StagePolicy[]
    /** The probation; the one above when absent. */
    probation?: ProbationPolicy
  }
  /** The limits of the pre-flight checks of a candidate. */
  qualification?: Partial<QualificationLimits>
  /** The scheduled drills of the model; none when absent. */
  drill?: DrillPolicy
  /** Refuses a release when the last drill of the model has failed or is older. */
  requireDrill?: {
    /** The maximum age of the last drill. */
    withinMs: number
  }
}

export const defaultWatch: WatchPolicy = {
  tickMs: 10_000,
  everyMs: 5_000,
  exposureMs: 15_000,
  acknowledgeMs: 10_000,
  decisionMs: 86_400_000,
}

const hourMs = 3_600_000
function during(shareBp: number, hours: number): StagePolicy {
  return { shareBp, minMs: hours * hourMs, minRequests: 1_000, deadlineMs: 2 * hours * hourMs }
}

/** A canary of one day over shares from 1 to 50 %: the default policy of a simulation. */
export const dayPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 7 * 24 * hourMs },
  stages: [during(100, 2), during(500, 4), during(1_000, 4), during(2_500, 6), during(5_000, 8)],
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}

const strategies: readonly string[] = ['canary', 'direct', 'blue_green', 'shadow', 'ab', 'rolling']

/**
 * The issues of a policy, each with its field; empty when it is valid. `output`: that of the model, which what the policy declares must be
 * able to judge; where it is not known, this is not checked.
 */
export function issuesOfPolicy(policy: ReleasePolicy, output?: Output): string[] {
  const check = policyIssues()
  const { approval, shadow, targeted, probation, hotfix, watch, drill, requireDrill } = policy
  check.oneOf('strategy', policy.strategy, strategies)
  checkApproval(check, approval)
  if (policy.risk !== undefined) checkRisk(check, policy)
  if (shadow) checkStage(check, 'shadow', shadow)
  if (targeted) checkTargeted(check, targeted, policy.strategy)
  checkStages(check, 'stages', policy.stages)
  if (probation) checkProbation(check, 'probation', probation)
  checkStrategy(check, policy)
  if (policy.limits.business) check.issues.push(...issuesOfBusinessTimes(policy.limits.business, policy))
  if (policy.limits.external) check.issues.push(...issuesOfExternalTimes(policy.limits.external, policy))
  const { whenInconclusive = 'ask', whenPassed = 'ask', whenBusy = 'queue' } = policy
  check.oneOf('whenInconclusive', whenInconclusive, ['ask', 'end'])
  check.oneOf('whenPassed', whenPassed, ['promote', 'ask'])
  check.oneOf('whenBusy', whenBusy, ['queue', 'supersede', 'refuse'])
  if (hotfix) checkHotfix(check, hotfix)
  checkControl(check, policy)
  checkQualification(check, policy.qualification ?? {})
  if (drill) check.part('drill', issuesOfDrill(drill))
  if (requireDrill) check.duration('requireDrill.withinMs', requireDrill.withinMs, 1)
  for (const [name, value] of Object.entries(watch)) check.duration(`watch.${name}`, value, 1)
  check.need(
    !(watch.exposureMs <= watch.everyMs),
    'watch.exposureMs must be longer than watch.everyMs, or the exposure expires between two verdicts',
  )
  check.part('limits', checkCanaryPolicy(policy.limits))
  if (output !== undefined)
    for (const { field, message } of issuesOfWords({ release: policy }, output))
      check.issues.push(`${field}: ${message}`)
  return check.issues
}

function checkStage(check: PolicyIssues, place: string, each: StagePolicy): void {
  check.integer(`${place}.shareBp`, each.shareBp, 1, 10_000)
  checkTimes(check, place, each)
}

function checkTargeted(check: PolicyIssues, each: TargetedPolicy, strategy: Strategy): void {
  check.need(strategy === 'canary', `targeted belongs to a canary release; ${strategy} chooses no callers`)
  check.part('targeted.target', issuesOfTarget(each.target))
  checkTimes(check, 'targeted', each)
}

function checkTimes(check: PolicyIssues, place: string, each: Omit<StagePolicy, 'shareBp'>): void {
  check.duration(`${place}.minMs`, each.minMs, 0)
  check.integer(`${place}.minRequests`, each.minRequests, 0)
  check.duration(`${place}.deadlineMs`, each.deadlineMs, 1)
  check.need(!(each.deadlineMs <= each.minMs), `${place}.deadlineMs must be longer than its minMs`)
}

function checkStages(check: PolicyIssues, place: string, stages: readonly StagePolicy[]): void {
  for (const [index, each] of stages.entries()) {
    checkStage(check, `${place}[${index}]`, each)
    const before = stages[index - 1]
    if (before && each.shareBp <= before.shareBp)
      check.issues.push(
        `${place}[${index}].shareBp must be larger than that of the stage before: ${each.shareBp / 100} % follows ${before.shareBp / 100} %`,
      )
  }
}

function checkProbation(check: PolicyIssues, place: string, each: ProbationPolicy): void {
  // A probation without a holdback has no control, so no verdict could pass it.
  check.integer(`${place}.holdbackBp`, each.holdbackBp, 1, 5_000)
  if (each.shadowBp !== undefined) check.integer(`${place}.shadowBp`, each.shadowBp, 1, 10_000)
  checkTimes(check, place, each)
}

/** A hotfix is shorter, but still observed. */
function checkHotfix(check: PolicyIssues, { stages, probation }: NonNullable<ReleasePolicy['hotfix']>): void {
  checkStages(check, 'hotfix.stages', stages)
  check.need(stages.length > 0, 'hotfix.stages needs at least one share')
  for (const [index, each] of stages.entries())
    check.integer(`hotfix.stages[${index}].minRequests`, each.minRequests, 1)
  if (probation) checkProbation(check, 'hotfix.probation', probation)
}

/** A stage of 100 % leaves the champion no requests to compare with. A rolling release always keeps a replica for it. */
function checkControl({ need }: PolicyIssues, { strategy, stages, hotfix }: ReleasePolicy): void {
  const check = (place: string, each: readonly StagePolicy[]): void =>
    need(
      !each.some(({ shareBp }) => shareBp === 10_000),
      `${place} must stay below 100 %, which leaves no control; the promotion follows the last stage`,
    )
  if (strategy === 'canary' || strategy === 'ab') check('stages', stages)
  if (hotfix && strategy !== 'rolling') check('hotfix.stages', hotfix.stages)
}

/** The parts that each strategy requires. */
function checkStrategy({ need, part }: PolicyIssues, policy: ReleasePolicy): void {
  const { strategy, stages, shadow, probation, ab, whenPassed, limits } = policy
  need(
    limits.nonInferiority === undefined || shadow !== undefined,
    'limits.nonInferiority needs requests that both versions answer: add a shadow, or leave it out',
  )
  switch (strategy) {
    case 'canary':
    case 'rolling':
      return need(stages.length > 0, 'stages needs at least one share')
    case 'blue_green':
      return need(
        probation !== undefined,
        'probation is missing: a blue_green release needs it to keep the previous champion loaded',
      )
    case 'shadow':
      need(shadow !== undefined, 'shadow is missing: it is the only stage of a shadow release')
      return need(
        whenPassed !== 'promote' || limits.nonInferiority !== undefined,
        'limits.nonInferiority is missing: whenPassed "promote" needs its proof',
      )
    case 'ab':
      need(stages.length === 1, 'stages needs exactly one share: the split of an ab release is fixed')
      need(ab !== undefined, 'ab is missing: declare the metric before the release')
      if (ab !== undefined) part('ab', issuesOfAb(ab, Object.keys(limits.business ?? {})))
      return
    case 'direct':
      return
  }
}
