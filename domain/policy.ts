/**
 * How one model's versions are released: data, frozen into each release when it starts, so that editing a
 * policy never changes a release in flight. Every duration is here, in milliseconds, so that a test can run
 * the same machine in a second that production runs in a week.
 */

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
  /** Counters older than this are no data. */
  maxStaleMs: number
  /** How long a routing change waits for the replicas' acknowledgement before it is tried again. */
  acknowledgeMs: number
  /** How long a person is waited for after an inconclusive stage, before the release is taken back. */
  decisionMs: number
}

/** What the canary judge needs; see domain/canary.ts for the formulas. */
export interface CanaryLimits {
  /** The tolerated ratio of the canary's bad rate to the control's under H0, 1 or a little more. */
  errorRatio: number
  /** Smallest difference of rates that may roll back, as a fraction (0.001 = 0.1 percentage point). */
  minDelta: number
  /** The absolute guard: the highest tolerated error rate whatever the control does. */
  guardRate: number
  /** One α for the whole release, split over its metrics; the parts sum to at most 0.05. */
  alpha: {
    error: number
    guard: number
    slow95: number
    slow99: number
    invalid: number
    paired: number
    conversion: number
    reserve: number
  }
  /** What a promotion must prove: H0 "the bad rate is at least `ratio` times the control's", rejected at `logE`; `off` asks for time and requests only. */
  promotion: { ratio: number; logE: number } | 'off'
  /** Excess bad requests the whole release may cost. */
  harmBudget: number
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
  limits: CanaryLimits
}

export const defaultLimits: CanaryLimits = {
  errorRatio: 1,
  minDelta: 0.001,
  guardRate: 0.02,
  alpha: {
    error: 0.01,
    guard: 0.001,
    slow95: 0.005,
    slow99: 0.005,
    invalid: 0.005,
    paired: 0.01,
    conversion: 0.01,
    reserve: 0.004,
  },
  promotion: { ratio: 2, logE: Math.log(20) },
  harmBudget: 50,
}

export const defaultWatch: WatchPolicy = {
  tickMs: 10_000,
  everyMs: 5_000,
  exposureMs: 15_000,
  maxStaleMs: 30_000,
  acknowledgeMs: 10_000,
  decisionMs: 86_400_000,
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
  const between = (place: string, value: number, min: number, max: number) => {
    if (!(value >= min && value <= max))
      issues.push(`${place} is a number from ${min} to ${max}, not ${value}`)
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
    whole('probation.holdbackBp', policy.probation.holdbackBp, 0, 5_000)
    whole('probation.minMs', policy.probation.minMs, 0)
    whole('probation.minRequests', policy.probation.minRequests, 0)
    whole('probation.deadlineMs', policy.probation.deadlineMs, 1)
  }
  for (const [name, value] of Object.entries(policy.watch)) whole(`watch.${name}`, value, 1)
  if (policy.watch.exposureMs <= policy.watch.everyMs)
    issues.push('watch.exposureMs is longer than watch.everyMs, or the lease lapses between two looks')
  between('limits.errorRatio', policy.limits.errorRatio, 1, 100)
  between('limits.minDelta', policy.limits.minDelta, 0, 1)
  between('limits.guardRate', policy.limits.guardRate, 0, 1)
  between('limits.harmBudget', policy.limits.harmBudget, 0, Number.MAX_SAFE_INTEGER)
  for (const [name, value] of Object.entries(policy.limits.alpha))
    between(`limits.alpha.${name}`, value, 0, 0.05)
  const sum = Object.values(policy.limits.alpha).reduce((total, value) => total + value, 0)
  if (!(sum <= 0.05 + 1e-12)) issues.push(`limits.alpha sums to at most 0.05, not ${sum}`)
  if (policy.limits.promotion !== 'off') {
    between('limits.promotion.ratio', policy.limits.promotion.ratio, 1, 100)
    between('limits.promotion.logE', policy.limits.promotion.logE, 0, 100)
  }
  return issues
}
