/**
 * What a release lets its canary judge tolerate. It is data, frozen into the release when it starts, so that a
 * policy edited in the meantime cannot move the goalposts of a release under way.
 */

import { checkAlpha, defaultAlpha, type AlphaSplit } from '../sequential/alpha-split.ts'

/** The metrics compared between the two arms by K1. */
export type RateMetric = 'errors' | 'invalid' | 'slow95' | 'slow99' | 'conversions'

export const rateMetrics: readonly RateMetric[] = ['errors', 'invalid', 'slow95', 'slow99', 'conversions']

export interface PromotionPolicy {
  /** Promote only on proof that each of `metrics` is below `ratio` times the control's … */
  ratio: number
  /** … with this log evidence (ln 20 leaves one chance in twenty to a canary that is exactly that bad). */
  logE: number
  /** The rates of which that must be proven. */
  metrics: RateMetric[]
  /**
   * A rate below this (0..1) does no harm whatever its ratio, and proof of that counts as well. Without it two
   * arms that never fail could never prove anything. `null` asks for the ratio alone.
   */
  negligibleRate: number | null
  /** Whether the proof is due at every stage, or when leaving the last one (evidence is carried over stages). */
  at: 'every_stage' | 'last_stage'
}

export interface SrmPolicy {
  /** The probability of ever holding a healthy stage. It is not part of Σα: it never takes a release back. */
  alpha: number
  /** How far the realised share may lie from the configured one, relative. Sticky keys of unequal size need some. */
  tolerance: number
  /** How many requests of one routing key come together and count as one. */
  designEffect: number
}

export interface CanaryPolicy {
  /** r0 for errors and invalid outputs: how many times the control's rate is still "no worse". */
  errorRatio: number
  /** r0 for slow requests. */
  slowRatio: number
  /** p0 of the absolute guard: bad answers (errors and invalid outputs) above this share are never accepted. */
  guardRate: number
  /** How the one probability of a false rollback is shared out. */
  alpha: AlphaSplit
  /** A difference below this (0..1) is never acted on, however certain it is. */
  minDelta: number
  /** Counters older than this are no evidence. */
  maxStaleMs: number
  /** How many bad answers above the champion's rate the whole release may cost. */
  harmBudget: number
  /** How often the sequential tests are begun afresh, to find faults that appear late. */
  restartMs: number
  /**
   * `'off'` lets a stage pass on its minimum time and requests alone: stages of seconds with a few hundred
   * requests cannot prove a ratio, and a doubled error rate can then be promoted one time in three.
   */
  promotion: PromotionPolicy | 'off'
  /**
   * What paired answers must prove before the last stage passes: that the candidate's accuracy is not lower by more
   * than `margin`, with this log evidence. Only for models whose labels come within the release.
   */
  nonInferiority?: {
    /** How much lower the accuracy may be. */
    margin: number
    /** The log evidence that is asked for. */
    logE: number
  }
  /** Whether, and how, the realised shares are compared with the configured ones. */
  srm: SrmPolicy | 'off'
  /**
   * Lets a stage end before its minimum time when the next share, held for `reactionSeconds` by a canary as bad as the
   * evidence still allows, would cost no more than what is left of the harm budget. The last stage always takes its time.
   * Absent: every stage takes its time.
   */
  ramp?: {
    /** How long it takes from a fault until the candidate is gone. */
    reactionSeconds: number
  }
}

export const defaultCanaryPolicy: CanaryPolicy = {
  errorRatio: 1,
  slowRatio: 1.2,
  guardRate: 0.02,
  alpha: defaultAlpha,
  minDelta: 0.001,
  maxStaleMs: 30_000,
  harmBudget: 50,
  restartMs: 3_600_000,
  promotion: { ratio: 2, logE: Math.log(20), metrics: ['errors'], negligibleRate: 0.001, at: 'last_stage' },
  srm: { alpha: 0.001, tolerance: 0, designEffect: 1 },
}

/** Says what is wrong with a policy, each with its field; an empty list means it can be used. */
export function checkCanaryPolicy(policy: CanaryPolicy): string[] {
  if (!isGiven(policy) || !isGiven(policy.alpha)) return ['alpha is missing']
  const issues = checkAlpha(policy.alpha)
  const need = (holds: boolean, sentence: string) => {
    if (!holds) issues.push(sentence)
  }
  const above = (name: 'errorRatio' | 'slowRatio' | 'harmBudget' | 'restartMs' | 'maxStaleMs', low: number) =>
    need(
      Number.isFinite(policy[name]) && policy[name] >= low,
      `${name} is ${policy[name]}, it must be ${low} or more`,
    )
  above('errorRatio', 1)
  above('slowRatio', 1)
  above('harmBudget', 0)
  above('restartMs', 1)
  above('maxStaleMs', 1)
  need(
    policy.guardRate > 0 && policy.guardRate < 0.95,
    `guardRate is ${policy.guardRate}, it must lie between 0 and 0.95`,
  )
  need(
    policy.minDelta >= 0 && policy.minDelta < 1,
    `minDelta is ${policy.minDelta}, it must lie between 0 and 1`,
  )
  if (policy.ramp) {
    const { reactionSeconds } = policy.ramp
    need(
      Number.isFinite(reactionSeconds) && reactionSeconds > 0,
      `ramp.reactionSeconds is ${reactionSeconds}, it must be above 0`,
    )
  }
  if (!isGiven(policy.promotion)) issues.push('promotion is missing; set it to "off" to ask for no proof')
  else if (policy.promotion !== 'off') {
    const { ratio, logE, metrics, negligibleRate } = policy.promotion
    need(ratio > 1 && Number.isFinite(ratio), `promotion.ratio is ${ratio}, it must be above 1`)
    need(logE > 0 && Number.isFinite(logE), `promotion.logE is ${logE}, it must be above 0`)
    need(
      Array.isArray(metrics) && metrics.length > 0 && metrics.every((metric) => rateMetrics.includes(metric)),
      `promotion.metrics names at least one of ${rateMetrics.join(', ')}; set promotion to "off" for none`,
    )
    need(
      negligibleRate === null || (negligibleRate > 0 && negligibleRate < 0.95),
      `promotion.negligibleRate is ${negligibleRate}, it must lie between 0 and 0.95, or be null`,
    )
  }
  if (isGiven(policy.nonInferiority)) {
    const { margin, logE } = policy.nonInferiority!
    need(margin > 0 && margin < 1, `nonInferiority.margin is ${margin}, it must lie between 0 and 1`)
    need(logE > 0 && Number.isFinite(logE), `nonInferiority.logE is ${logE}, it must be above 0`)
  }
  if (!isGiven(policy.srm)) issues.push('srm is missing; set it to "off" to compare no shares')
  else if (policy.srm !== 'off') {
    const { alpha, tolerance, designEffect } = policy.srm
    need(alpha > 0 && alpha < 1, `srm.alpha is ${alpha}, it must lie between 0 and 1`)
    need(tolerance >= 0 && Number.isFinite(tolerance), `srm.tolerance is ${tolerance}, it must be 0 or more`)
    need(
      designEffect >= 1 && Number.isFinite(designEffect),
      `srm.designEffect is ${designEffect}, it must be 1 or more`,
    )
  }
  return issues
}

/** A policy comes out of a database row as well, where anything may be absent. */
function isGiven(part: unknown): boolean {
  return part !== undefined && part !== null
}
