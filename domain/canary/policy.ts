/**
 * Defines the limits of the canary judge. They are frozen into a release when it starts, so that an edited policy cannot change a
 * running release.
 */
import { issuesOfBusiness, type BusinessMetric } from './business-policy.ts'
import { issuesOfExternal, type ExternalMetric } from './external/external-policy.ts'
import { defaultDisagreement, type DisagreementPolicy } from './disagreement.ts'
import { policyIssues } from '../policy-issues.ts'
import { defaultScoreShift, type ScoreShiftPolicy } from './score-shift.ts'
import { checkAlpha, defaultAlpha, type AlphaSplit } from './alpha-split.ts'

/** The metrics compared between the two arms. */
export type RateMetric = 'errors' | 'invalid' | 'slow95' | 'slow99'

export const rateMetrics: readonly RateMetric[] = ['errors', 'invalid', 'slow95', 'slow99']

export interface PromotionPolicy {
  /** Promotion needs proof that each of `metrics` is below `ratio` times the control's rate … */
  ratio: number
  /** … with this log evidence (ln 20: a canary exactly that bad passes with probability 1/20). */
  logE: number
  /** The rates that need the proof. */
  metrics: RateMetric[]
  /**
   * A rate below this (0..1) is harmless at any ratio, and proof of it suffices: two arms that never fail cannot prove a ratio.
   * `null` requires the ratio.
   */
  negligibleRate: number | null
  /** Whether every stage needs the proof, or the last one only (evidence is carried over stages). */
  at: 'every_stage' | 'last_stage'
}

export interface SrmPolicy {
  /** The probability of ever holding a healthy stage. Not part of Σα, because it never rolls a release back. */
  alpha: number
  /** How far the realised share may deviate from the configured one, relative. Routing keys with unequal traffic need some tolerance. */
  tolerance: number
  /** How many requests of one routing key count as one independent request. */
  designEffect: number
}

export interface CanaryPolicy {
  /** The multiple of the control's rate of errors and of invalid outputs that still counts as no worse. */
  errorRatio: number
  /** The same for slow requests. */
  slowRatio: number
  /** The absolute limit: a higher share of failed requests (errors and invalid outputs) is never accepted. */
  guardRate: number
  /** How the probability of a false rollback is split. */
  alpha: AlphaSplit
  /** A smaller difference of rates (0..1) never causes a rollback. */
  minDelta: number
  /** Older counters count as missing. */
  maxStaleMs: number
  /** How many failures above the champion's rate a release may cause. */
  harmBudget: number
  /**
   * What the copies of a shadow stage may cost, in the unit of the price of the server that answers the candidate. Then no more are sent, and the
   * stage passes by what it has, or ends at its deadline. A candidate of a server without
   * a known price is refused. Absent: no limit.
   */
  shadowCost?: number
  /** How often the sequential tests restart, to find faults that appear late. */
  restartMs: number
  /**
   * `'off'` lets a stage pass on its minimum time and requests alone. Stages of seconds with a few hundred requests cannot prove a
   * ratio; a doubled error rate is then promoted one time in three.
   */
  promotion: PromotionPolicy | 'off'
  /**
   * The proof that the last stage needs from paired predictions of a shadow: the candidate's loss is not higher by more than `margin`. Only for models whose labels arrive within the release.
   */
  nonInferiority?: {
    /** How much higher the loss may be, 0..1. */
    margin: number
    /** The required log evidence. */
    logE: number
  }
  /** How the realised shares are compared with the configured ones. */
  srm: SrmPolicy | 'off'
  /** How far the answers of the arms may differ without outcomes. `'off'`: they are not compared. */
  scoreShift: ScoreShiftPolicy | 'off'
  /** How often the versions may answer one request differently, in a shadow. `'off'`: it is not judged. */
  disagreement: DisagreementPolicy | 'off'
  /**
   * Business metrics by name: what users do after their first request. A loss rolls back. Needs `alpha.business`. Absent: events are not
   * judged.
   */
  business?: Record<string, BusinessMetric>
  /**
   * External metrics by name: what other systems measure for each arm. A loss rolls back. Needs `alpha.external`. Absent: no other system
   * is queried.
   */
  external?: Record<string, ExternalMetric>
  /**
   * Lets a stage end before its minimum time when the next share costs at most the rest of the failure budget, assuming that a canary as bad
   * as the evidence still allows serves it for `reactionSeconds`. The last stage always takes its minimum time. Absent: every stage does.
   */
  ramp?: {
    /** The time from a fault until the candidate is dropped. */
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
  scoreShift: defaultScoreShift,
  disagreement: defaultDisagreement,
}

/** What the evidence against the candidate leads to at its threshold. Business and external metrics have one figure for all, of the worst. */
export function evidenceEffect(policy: CanaryPolicy, metric: string): string {
  const { scoreShift, disagreement, business = {}, external = {} } = policy
  const actions: Readonly<Record<string, readonly unknown[]>> = {
    scoreShift: scoreShift !== 'off' ? [scoreShift.action] : [],
    disagreement: disagreement !== 'off' ? [disagreement.action] : [],
    business: Object.values(business).map(({ action }) => action),
    external: Object.values(external).map(({ action }) => action),
  }
  const found = actions[metric] ?? []
  if (!found.includes('ask')) return 'a rollback'
  return found.includes('rollback') ? 'an approver’s decision or a rollback' : 'an approver’s decision'
}

/** The issues of a policy, each with its field; empty when it is valid. */
export function checkCanaryPolicy(policy: CanaryPolicy): string[] {
  if (!isGiven(policy) || !isGiven(policy.alpha)) return ['alpha is missing']
  const { issues, need, part } = policyIssues(checkAlpha(policy.alpha))
  const between = (field: string, value: number, low: number, high: number) =>
    need(value > low && value < high, `${field} is ${value}, it must lie between ${low} and ${high}`)
  const above = (field: string, value: number, low: number) =>
    need(value > low && Number.isFinite(value), `${field} is ${value}, it must be above ${low}`)
  const atLeast = (field: string, value: number, low: number) =>
    need(value >= low && Number.isFinite(value), `${field} is ${value}, it must be ${low} or more`)
  const { promotion, nonInferiority, srm, minDelta } = policy
  atLeast('errorRatio', policy.errorRatio, 1)
  atLeast('slowRatio', policy.slowRatio, 1)
  atLeast('harmBudget', policy.harmBudget, 0)
  if (isGiven(policy.shadowCost)) above('shadowCost', policy.shadowCost, 0)
  atLeast('restartMs', policy.restartMs, 1)
  atLeast('maxStaleMs', policy.maxStaleMs, 1)
  between('guardRate', policy.guardRate, 0, 0.95)
  need(minDelta >= 0 && minDelta < 1, `minDelta is ${minDelta}, it must lie between 0 and 1`)
  if (policy.ramp) above('ramp.reactionSeconds', policy.ramp.reactionSeconds, 0)
  if (!isGiven(promotion)) issues.push('promotion is missing; set it to "off" to require no proof')
  else if (promotion !== 'off') {
    const { metrics, negligibleRate } = promotion
    above('promotion.ratio', promotion.ratio, 1)
    above('promotion.logE', promotion.logE, 0)
    need(
      Array.isArray(metrics) && metrics.length > 0 && metrics.every((metric) => rateMetrics.includes(metric)),
      `promotion.metrics names at least one of ${rateMetrics.join(', ')}; set promotion to "off" to require none`,
    )
    need(
      negligibleRate === null || (negligibleRate > 0 && negligibleRate < 0.95),
      `promotion.negligibleRate is ${negligibleRate}, it must lie between 0 and 0.95, or be null`,
    )
  }
  if (isGiven(nonInferiority)) {
    between('nonInferiority.margin', nonInferiority.margin, 0, 1)
    above('nonInferiority.logE', nonInferiority.logE, 0)
  }
  if (!isGiven(srm)) issues.push('srm is missing; set it to "off" to compare no shares')
  else if (srm !== 'off') {
    between('srm.alpha', srm.alpha, 0, 1)
    atLeast('srm.tolerance', srm.tolerance, 0)
    atLeast('srm.designEffect', srm.designEffect, 1)
  }
  checkAnswers(policy, { issues, need, above, between })
  if (isGiven(policy.business)) {
    part('business', issuesOfBusiness(policy.business))
    need(
      policy.alpha.business !== undefined,
      'alpha.business is missing: the business metrics need a share of the α',
    )
  }
  if (isGiven(policy.external)) {
    part('external', issuesOfExternal(policy.external))
    need(
      policy.alpha.external !== undefined,
      'alpha.external is missing: the external metrics need a share of the α',
    )
  }
  return issues
}

type Check = (field: string, value: number, low: number) => void

/** The limits of the comparisons without outcomes. */
function checkAnswers(
  { scoreShift, disagreement }: CanaryPolicy,
  checks: {
    issues: string[]
    need: (holds: boolean, issue: string) => void
    above: Check
    between: (field: string, value: number, low: number, high: number) => void
  },
): void {
  const { issues, need, above, between } = checks
  const action = (field: string, value: string) =>
    need(['ask', 'rollback'].includes(value), `${field}.action is one of ask, rollback, not ${value}`)
  if (!isGiven(scoreShift)) issues.push('scoreShift is missing; set it to "off" to compare no answers')
  else if (scoreShift !== 'off') {
    const { tolerance, minDelta, rollbackRatio } = scoreShift
    above('scoreShift.tolerance', tolerance, 0)
    need(minDelta >= 0 && minDelta < 1, `scoreShift.minDelta is ${minDelta}, it must lie between 0 and 1`)
    action('scoreShift', scoreShift.action)
    need(
      rollbackRatio === null || rollbackRatio > 1 + tolerance,
      `scoreShift.rollbackRatio is ${rollbackRatio}, it must be above 1 + tolerance, or be null`,
    )
  }
  if (!isGiven(disagreement))
    issues.push('disagreement is missing; set it to "off" to compare no answers of the shadow')
  else if (disagreement !== 'off') {
    between('disagreement.max', disagreement.max, 0, 1)
    action('disagreement', disagreement.action)
  }
}

/** A policy may come from a database row, where any part may be absent. */
function isGiven<T>(part: T): part is NonNullable<T> {
  return part !== undefined && part !== null
}
