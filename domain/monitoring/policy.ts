/**
 * What is looked at of a model that serves, and how often. All durations and limits are data of the model, so that a week of
 * watching can be run through in a second.
 */
import { defaultTriggerPolicy, issuesOfTriggers, type TriggerPolicy } from './retraining-triggers.ts'

/** Limits are crossed by the figure of one window; a rate counts only from `minRequests` on. */
export interface ServiceLimits {
  /** Share of answers that failed or were no answer. */
  errorWarn: number
  /** The same share, from which it is an alarm. */
  errorAlarm: number
  /** 95 % of the answers may take no longer. */
  latencyP95Ms: number
  /** A feature is missing in this share of the requests, and in twice as many as in training. */
  missingShare: number
  /** Fewer requests in a window say nothing of a rate. */
  minRequests: number
  /** Nobody has asked for this long. */
  silentMs: number
  /** No outcome has come for this long, though some had come before and predictions go on. */
  outcomesMs: number
  /** A number lies outside the limits that the model file gives its feature in this share of the requests. */
  outsideShare: number
  /** The memory that one replica may need. */
  rssMb: number
  /** Its share of a core. */
  cpuShare: number
  /** How long a request may wait there for its turn (99th percentile). */
  loopDelayMs: number
}

/** What an answer was worth once its outcome is known, in the words of the model file. */
export interface BusinessPolicy {
  /** What the figure is called. */
  name: string
  /** What it is counted in. */
  unit: string
  /**
   * DuckDB SQL over the features, `prediction` (the probability, class or number), `predicted` (whether it was taken for
   * positive, the class, or the number) and `outcome`; a number for each answer.
   */
  perPrediction: string
  /** The mean below which people are warned; above it where lower is better. Told without limits. */
  warn?: number
  /** The mean from which it is an alarm. */
  alarm?: number
  /** Whether less of it is better. */
  lowerIsBetter?: boolean
}

export interface CostPolicy {
  /** What one prediction costs. */
  perPrediction: number
  /** What it is counted in. */
  unit: string
  /** Told when a day would cost more than this. */
  perDay?: number
}

export interface MonitorPolicy {
  /** Windows follow each other without a gap, each as long as this. */
  everyMs: number
  /** A window is looked at so long after its end: the replicas' last counts are on their way. */
  settleMs: number
  /** The span over which drift and quality are judged. */
  spanMs: number
  /**
   * How long serving counts what it is asked before it begins anew; drift is judged on whole counts. It goes into each version
   * that is trained, so that counts fit what they are compared with. An hour when absent.
   */
  countMs?: number
  /** The age from which a prediction without an outcome will hardly get one any more. */
  observedMs: number
  /** Limits of what every service has. */
  service: ServiceLimits
  /** Floors for the model's primary metric on matured outcomes, whatever it was in training. */
  quality?: {
    /** Below it people are warned … */
    warn: number
    /** … and below this it is an alarm. */
    alarm: number
  }
  /** What an answer was worth once its outcome is known; not reckoned when absent. */
  business?: BusinessPolicy
  /** What predictions cost; not reckoned when absent. */
  cost?: CostPolicy
  /** Whether what is found may ask for a retraining. It can never release anything by itself. */
  retrain: boolean
  /** What holds such a request back. */
  cooldown: TriggerPolicy
}

const hourMs = 3_600_000

export const defaultMonitorPolicy: MonitorPolicy = {
  everyMs: hourMs,
  settleMs: 30_000,
  spanMs: 24 * hourMs,
  observedMs: 7 * 24 * hourMs,
  service: {
    errorWarn: 0.01,
    errorAlarm: 0.02,
    latencyP95Ms: 200,
    missingShare: 0.05,
    minRequests: 200,
    silentMs: 24 * hourMs,
    outcomesMs: 48 * hourMs,
    outsideShare: 0.05,
    rssMb: 512,
    cpuShare: 0.9,
    loopDelayMs: 250,
  },
  retrain: true,
  cooldown: defaultTriggerPolicy,
}

/** The usual floors of accuracy; other metrics have none of their own. */
export const accuracyFloors = { warn: 0.85, alarm: 0.8 } as const

/** A policy as an earlier build has stored it may lack what has come since. */
export const completeMonitorPolicy = (stored: MonitorPolicy = defaultMonitorPolicy): MonitorPolicy => ({
  ...defaultMonitorPolicy,
  ...stored,
  service: { ...defaultMonitorPolicy.service, ...stored.service },
})

/** What is wrong with a policy, field by field; empty when it may be used. */
export function issuesOfMonitor(policy: MonitorPolicy): string[] {
  const issues: string[] = []
  const { everyMs, settleMs, spanMs, observedMs, countMs = hourMs, service, quality } = policy
  const lasting = { everyMs, spanMs, observedMs, 'service.silentMs': service.silentMs }
  for (const [name, value] of Object.entries({ ...lasting, 'service.outcomesMs': service.outcomesMs }))
    if (!Number.isInteger(value) || value < 1) issues.push(`${name} is a whole number from 1, not ${value}`)
  if (!Number.isInteger(settleMs) || settleMs < 0)
    issues.push(`settleMs is a whole number from 0, not ${settleMs}`)
  if (!Number.isInteger(countMs) || countMs < 1 || spanMs % countMs !== 0)
    issues.push(`spanMs is a number of whole counts of ${countMs} ms, not ${spanMs} ms`)
  for (const name of ['errorWarn', 'errorAlarm', 'missingShare', 'outsideShare'] as const)
    if (!(service[name] > 0 && service[name] <= 1))
      issues.push(`service.${name} is above 0 and at most 1, not ${service[name]}`)
  if (service.errorAlarm < service.errorWarn) issues.push('service.errorAlarm is not below errorWarn')
  for (const name of ['latencyP95Ms', 'rssMb', 'cpuShare', 'loopDelayMs'] as const)
    if (!(service[name] > 0)) issues.push(`service.${name} is above 0, not ${service[name]}`)
  if (!Number.isInteger(service.minRequests) || service.minRequests < 1)
    issues.push(`service.minRequests is a whole number from 1, not ${service.minRequests}`)
  if (quality && !(Number.isFinite(quality.warn) && Number.isFinite(quality.alarm)))
    issues.push('quality.warn and quality.alarm are finite numbers')
  if (policy.business !== undefined) issues.push(...issuesOfBusiness(policy.business))
  if (policy.cost !== undefined) issues.push(...issuesOfCost(policy.cost))
  issues.push(...issuesOfTriggers(policy.cooldown).map((issue) => `cooldown.${issue}`))
  return issues
}

function issuesOfBusiness({
  name,
  unit,
  perPrediction,
  warn,
  alarm,
  lowerIsBetter,
}: BusinessPolicy): string[] {
  const issues: string[] = []
  for (const [what, text] of Object.entries({ name, unit, perPrediction }))
    if (typeof text !== 'string' || text.trim() === '') issues.push(`business.${what} is a text`)
  for (const [what, limit] of Object.entries({ warn, alarm }))
    if (limit !== undefined && !Number.isFinite(limit))
      issues.push(`business.${what} is a finite number, not ${limit}`)
  const [least, most] = lowerIsBetter === true ? [warn, alarm] : [alarm, warn]
  if (least !== undefined && most !== undefined && least > most)
    issues.push('business.alarm is not reached before business.warn')
  return issues
}

function issuesOfCost({ perPrediction, unit, perDay }: CostPolicy): string[] {
  const issues: string[] = []
  if (!(perPrediction >= 0 && Number.isFinite(perPrediction)))
    issues.push(`cost.perPrediction is 0 or more, not ${perPrediction}`)
  if (typeof unit !== 'string' || unit.trim() === '') issues.push('cost.unit is a text')
  if (perDay !== undefined && !(perDay > 0 && Number.isFinite(perDay)))
    issues.push(`cost.perDay is above 0, not ${perDay}`)
  return issues
}

/** Where the windows of a model begin that was never looked at: with the interval that runs. */
export const firstWindowStart = (nowMs: number, everyMs: number): number =>
  Math.floor(nowMs / everyMs) * everyMs
