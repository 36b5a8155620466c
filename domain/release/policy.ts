/**
 * How one model's versions are released: data, frozen into each release when it starts, so that editing a
 * policy never changes a release in flight. Every duration is here, in milliseconds, so that a test can run
 * the same machine in a second that production runs in a week.
 */
import { issuesOfAb, type AbPolicy } from '../canary/ab-test.ts'
import { checkCanaryPolicy, defaultCanaryPolicy, type CanaryPolicy } from '../canary/policy.ts'
import { issuesOfDrill, type DrillPolicy } from '../drill.ts'

/**
 * - `canary`: shadow → rising shares → 100 % → probation with a champion hold-back.
 * - `direct`: floors and approval only; what the first version of a model gets.
 * - `blue_green`: every replica loads the candidate, then 0 → 100 % at once; the previous champion stays loaded, keeps its
 *   hold-back in the probation and takes over again with one flip.
 * - `shadow`: the candidate's answers never leave the server before it is champion; proof on paired answers, or a person,
 *   ends it.
 * - `ab`: a fixed split until the sequential test on the declared metric decides; at the horizon, which is the deadline of its
 *   only stage, it is inconclusive.
 * - `rolling`: replica by replica. The shares of the stages are shares of the replicas, rounded up; each replica answers with
 *   one version alone. So a caller's version depends on the replica that is reached: nothing is sticky until the promotion.
 */
export type Strategy = 'canary' | 'direct' | 'blue_green' | 'shadow' | 'ab' | 'rolling'

export interface StagePolicy {
  /** The candidate's share in basis points. */
  shareBp: number
  /** A stage passes on minimum time and minimum requests and verdict, never on the clock alone. */
  minMs: number
  /** The fewest requests that the candidate must have had in the stage. */
  minRequests: number
  /** When the stage has not passed by then, it ends: no data and errors roll back, inconclusive asks a person. */
  deadlineMs: number
}

export interface ProbationPolicy {
  /** The share that stays on the previous champion as a control. */
  holdbackBp: number
  /**
   * The share of the requests that the previous champion is shown too, so that its answers can be compared with those that
   * were given; none when absent.
   */
  shadowBp?: number
  /** The shortest probation. */
  minMs: number
  /** The fewest requests that the new champion must have had in it. */
  minRequests: number
  /** When the probation has not passed by then, it ends as a stage does. */
  deadlineMs: number
}

export interface WatchPolicy {
  /** The length of a counter tick. */
  tickMs: number
  /** How often the judge looks. */
  everyMs: number
  /** How long the candidate stays exposed without a fresh verdict. */
  exposureMs: number
  /** How long a routing change waits for the replicas' acknowledgement before it is tried again. */
  acknowledgeMs: number
  /** How long a person is waited for after an inconclusive stage, before the release is taken back. */
  decisionMs: number
}

export interface ReleasePolicy {
  /** How the share of the candidate grows, or whether it does at all. */
  strategy: Strategy
  /** Who has to agree before any caller meets the candidate. */
  approval: {
    /** How many different people approve; 0 needs none and is refused for the first version of a model. */
    approvers: number
    /** An approval must come within this time. */
    withinMs: number
  }
  /** Copies of requests for the candidate before its first share; none when absent. */
  shadow?: StagePolicy
  /** The shares of the candidate, one after the other; each is larger than the one before. */
  stages: StagePolicy[]
  /** The time after 100 % in which the new champion is still taken back by itself; none when absent. */
  probation?: ProbationPolicy
  /** How often is looked, and how long is waited. */
  watch: WatchPolicy
  /** What the canary judge tolerates. */
  limits: CanaryPolicy
  /** What an A/B release is decided by. */
  ab?: AbPolicy
  /**
   * What comes of a stage without enough evidence at its deadline: a person is asked, or the release ends and the version may
   * be released again. `ask` when absent.
   */
  whenInconclusive?: 'ask' | 'end'
  /**
   * What comes of a shadow release that has passed: the promotion, which needs proof by `limits.nonInferiority`, or the
   * question to a person. When absent the promotion with such a proof, the question without one.
   */
  whenPassed?: 'promote' | 'ask'
  /**
   * What a release of this policy does while another one of its model is open. `queue`, when absent: it waits, and replaces an
   * older one that waits; started by a person it takes the place of one that only awaits approval. `supersede`: it takes the
   * place of any that is not yet being promoted. `refuse`: it is not released.
   */
  whenBusy?: 'queue' | 'supersede' | 'refuse'
  /** The shorter way of a release that an approver has marked as a hotfix. The usual stages when absent. */
  hotfix?: {
    /** Its shares; at least one, each with a number of requests. */
    stages: StagePolicy[]
    /** Its probation; the usual one when absent. */
    probation?: ProbationPolicy
  }
  /** What the process that qualifies a candidate may need. */
  qualification?: Partial<QualificationLimits>
  /** How the model is drilled; never by itself when absent. */
  drill?: DrillPolicy
  /** Refuses a release when the last drill of the model failed or is older. */
  requireDrill?: {
    /** How old the last drill may be. */
    withinMs: number
  }
}

export interface QualificationLimits {
  /** For loading, answering and measuring together. */
  timeoutMs: number
  /** Of one row, from its features to its answer; the 99th percentile. */
  p99Us: number
  /** Resident memory of the process, with the candidate loaded. */
  rssBytes: number
}

export const defaultQualification: QualificationLimits = {
  timeoutMs: 30_000,
  p99Us: 20_000,
  rssBytes: 512 * 1_048_576,
}

export const defaultWatch: WatchPolicy = {
  tickMs: 10_000,
  everyMs: 5_000,
  exposureMs: 15_000,
  acknowledgeMs: 10_000,
  decisionMs: 86_400_000,
}

const hourMs = 3_600_000
const during = (shareBp: number, hours: number): StagePolicy => ({
  shareBp,
  minMs: hours * hourMs,
  minRequests: 1_000,
  deadlineMs: 2 * hours * hourMs,
})

/** A canary of a day over shares from 1 to 50 %: what a simulation runs unless it is told another. */
export const dayPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 7 * 24 * hourMs },
  stages: [during(100, 2), during(500, 4), during(1_000, 4), during(2_500, 6), during(5_000, 8)],
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}

const strategies: readonly string[] = ['canary', 'direct', 'blue_green', 'shadow', 'ab', 'rolling']

/** What is wrong with a policy, field by field; empty when it may be used. */
export function issuesOfPolicy(policy: ReleasePolicy): string[] {
  const issues: string[] = []
  const whole = (place: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER) => {
    if (!Number.isInteger(value) || value < min || value > max)
      issues.push(
        `${place} is a whole number from ${min}${max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`}, not ${value}`,
      )
  }
  if (!strategies.includes(policy.strategy))
    issues.push(`strategy is one of ${strategies.join(', ')}, not ${policy.strategy}`)
  whole('approval.approvers', policy.approval.approvers, 0, 10)
  whole('approval.withinMs', policy.approval.withinMs, 1)
  const stage = (place: string, each: StagePolicy) => {
    whole(`${place}.shareBp`, each.shareBp, 1, 10_000)
    whole(`${place}.minMs`, each.minMs, 0)
    whole(`${place}.minRequests`, each.minRequests, 0)
    whole(`${place}.deadlineMs`, each.deadlineMs, 1)
    if (each.deadlineMs <= each.minMs) issues.push(`${place}.deadlineMs is longer than its minMs`)
  }
  if (policy.shadow) stage('shadow', policy.shadow)
  const rising = (place: string, stages: readonly StagePolicy[]) =>
    stages.forEach((each, index) => {
      stage(`${place}[${index}]`, each)
      const before = stages[index - 1]
      if (before && each.shareBp <= before.shareBp)
        issues.push(`${place}[${index}].shareBp rises: ${each.shareBp} follows ${before.shareBp}`)
    })
  const probation = (place: string, each: ProbationPolicy) => {
    // Without a hold-back there is no control to compare with, and no probation could ever be passed.
    whole(`${place}.holdbackBp`, each.holdbackBp, 1, 5_000)
    if (each.shadowBp !== undefined) whole(`${place}.shadowBp`, each.shadowBp, 1, 10_000)
    whole(`${place}.minMs`, each.minMs, 0)
    whole(`${place}.minRequests`, each.minRequests, 0)
    whole(`${place}.deadlineMs`, each.deadlineMs, 1)
  }
  rising('stages', policy.stages)
  if (policy.probation) probation('probation', policy.probation)
  issues.push(...issuesOfStrategy(policy))
  const oneOf = (name: 'whenInconclusive' | 'whenPassed' | 'whenBusy', allowed: readonly string[]) => {
    const value = policy[name]
    if (value !== undefined && !allowed.includes(value))
      issues.push(`${name} is one of ${allowed.join(', ')}, not ${value}`)
  }
  oneOf('whenInconclusive', ['ask', 'end'])
  oneOf('whenPassed', ['promote', 'ask'])
  oneOf('whenBusy', ['queue', 'supersede', 'refuse'])
  if (policy.hotfix) {
    rising('hotfix.stages', policy.hotfix.stages)
    // A hotfix is shorter, never blind: without a watched stage it would be the outage after the outage.
    if (policy.hotfix.stages.length === 0) issues.push('hotfix.stages has at least one share')
    policy.hotfix.stages.forEach((each, index) =>
      whole(`hotfix.stages[${index}].minRequests`, each.minRequests, 1),
    )
    if (policy.hotfix.probation) probation('hotfix.probation', policy.hotfix.probation)
  }
  for (const [name, value] of Object.entries(policy.qualification ?? {}))
    whole(`qualification.${name}`, value, 1)
  if (policy.drill) issues.push(...issuesOfDrill(policy.drill).map((issue) => `drill.${issue}`))
  if (policy.requireDrill) whole('requireDrill.withinMs', policy.requireDrill.withinMs, 1)
  for (const [name, value] of Object.entries(policy.watch)) whole(`watch.${name}`, value, 1)
  if (policy.watch.exposureMs <= policy.watch.everyMs)
    issues.push('watch.exposureMs is longer than watch.everyMs, or the lease lapses between two looks')
  issues.push(...checkCanaryPolicy(policy.limits).map((issue) => `limits.${issue}`))
  return issues
}

/**
 * What a policy that comes with a request takes from the one of the model's file; empty when nothing. Its shares and times are
 * approved with it, but whoever may start a release must not choose who else has to agree.
 */
export function issuesOfReplacement(policy: ReleasePolicy, own: Partial<ReleasePolicy>): string[] {
  const issues: string[] = []
  const approvers = own.approval?.approvers ?? 0
  if (policy.approval.approvers < approvers)
    issues.push(
      `approval.approvers is ${policy.approval.approvers}, and the model file asks for at least ${approvers}`,
    )
  const { withinMs = Infinity } = own.requireDrill ?? {}
  if ((policy.requireDrill?.withinMs ?? Infinity) > withinMs)
    issues.push(`requireDrill.withinMs is more than the ${withinMs} of the model file, or missing`)
  return issues
}

/** What each strategy cannot do without. */
function issuesOfStrategy(policy: ReleasePolicy): string[] {
  const { strategy, stages, limits } = policy
  switch (strategy) {
    case 'canary':
    case 'rolling':
      return stages.length === 0 ? ['stages has at least one share'] : []
    case 'blue_green':
      return policy.probation === undefined
        ? ['probation is missing: in it the previous champion of a blue_green release stays to return to']
        : []
    case 'shadow':
      return [
        ...(policy.shadow === undefined ? ['shadow is missing: a shadow release has nothing else'] : []),
        ...(policy.whenPassed === 'promote' && limits.nonInferiority === undefined
          ? ['whenPassed promote needs proof on paired answers: limits.nonInferiority is missing']
          : []),
      ]
    case 'ab':
      return [
        ...(stages.length === 1 ? [] : ['stages has exactly one share: the split of an ab release is fixed']),
        ...(policy.ab === undefined
          ? ['ab is missing: the metric is declared before the release']
          : issuesOfAb(policy.ab).map((issue) => `ab.${issue}`)),
      ]
    default:
      return []
  }
}

/** The way of a hotfix: the model's shorter stages, no shadow, and everything else as ever. */
export function hotfixPolicy(policy: ReleasePolicy): ReleasePolicy {
  if (policy.hotfix === undefined || policy.stages.length === 0) return policy
  const { shadow: _shadow, ab: _ab, ...kept } = policy
  const { stages, probation = policy.probation } = policy.hotfix
  return {
    ...kept,
    strategy: policy.strategy === 'rolling' ? 'rolling' : 'canary',
    stages,
    ...(probation ? { probation } : {}),
  }
}
