/**
 * How one model's versions are released: data, frozen into each release when it starts, so that editing a
 * policy never changes a release in flight. Every duration is here, in milliseconds, so that a test can run
 * the same machine in a second that production runs in a week.
 */
import { checkCanaryPolicy, defaultCanaryPolicy, type CanaryPolicy } from './canary-policy.ts'

/**
 * - `canary`: shadow → rising shares → 100 % → probation with a champion hold-back.
 * - `direct`: floors and approval only; what the first version of a model gets.
 * - `blue_green`: 0 → 100 % at once, both warm, instant return.
 * - `shadow`: the candidate's answers never leave the server.
 * - `ab`: a fixed split until the sequential test or the horizon decides.
 * - `rolling`: replica by replica.
 */
export type Strategy = 'canary' | 'direct' | 'blue_green' | 'shadow' | 'ab' | 'rolling'

export interface StagePolicy {
  /** The candidate's share in basis points. */
  shareBp: number
  /** A stage passes on minimum time and minimum requests and verdict, never on the clock alone. */
  minMs: number
  minRequests: number
  /** When the stage has not passed by then, it ends: no data and errors roll back, inconclusive asks a person. */
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
  strategy: Strategy
  approval: {
    /** How many different people approve; 0 needs none and is refused for the first version of a model. */
    approvers: number
    /** An approval must come within this time. */
    withinMs: number
  }
  shadow?: StagePolicy
  stages: StagePolicy[]
  probation?: {
    /** The share that stays on the previous champion as a control. */
    holdbackBp: number
    minMs: number
    minRequests: number
    deadlineMs: number
  }
  watch: WatchPolicy
  /** What the canary judge tolerates. */
  limits: CanaryPolicy
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
  policy.stages.forEach((each, index) => stage(`stages[${index}]`, each))
  policy.stages.forEach((each, index) => {
    const before = policy.stages[index - 1]
    if (before && each.shareBp <= before.shareBp)
      issues.push(`stages[${index}].shareBp rises: ${each.shareBp} follows ${before.shareBp}`)
  })
  if (policy.strategy === 'canary' && policy.stages.length === 0) issues.push('stages has at least one share')
  if (policy.probation) {
    // Without a hold-back there is no control to compare with, and no probation could ever be passed.
    whole('probation.holdbackBp', policy.probation.holdbackBp, 1, 5_000)
    whole('probation.minMs', policy.probation.minMs, 0)
    whole('probation.minRequests', policy.probation.minRequests, 0)
    whole('probation.deadlineMs', policy.probation.deadlineMs, 1)
  }
  for (const [name, value] of Object.entries(policy.watch)) whole(`watch.${name}`, value, 1)
  if (policy.watch.exposureMs <= policy.watch.everyMs)
    issues.push('watch.exposureMs is longer than watch.everyMs, or the lease lapses between two looks')
  issues.push(...checkCanaryPolicy(policy.limits).map((issue) => `limits.${issue}`))
  return issues
}
