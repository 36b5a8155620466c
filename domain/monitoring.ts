/**
 * What is looked at of a model that serves, and how often. All durations and limits are data of the model, so that a week of
 * watching can be run through in a second.
 */
import { defaultTriggerPolicy, issuesOfTriggers, type TriggerPolicy } from './triggers.ts'

/** Limits are crossed by the figure of one window; a rate counts only from `minRequests` on. */
export interface ServiceLimits {
  /** Share of answers that failed or were no answer. */
  errorWarn: number
  errorAlarm: number
  latencyP95Ms: number
  /** A feature is missing in this share of the requests, and in twice as many as in training. */
  missingShare: number
  minRequests: number
  /** Nobody has asked for this long. */
  silentMs: number
  /** No outcome has come for this long, though some had come before and predictions go on. */
  outcomesMs: number
}

export interface MonitorPolicy {
  /** Windows follow each other without a gap, each as long as this. */
  everyMs: number
  /** A window is looked at so long after its end: the replicas' last counts are on their way. */
  settleMs: number
  /** The span over which drift and quality are judged; whole hours. */
  spanMs: number
  /** The age from which a prediction without an outcome will hardly get one any more. */
  observedMs: number
  service: ServiceLimits
  /** Floors for the model's primary metric on matured outcomes, whatever it was in training. */
  quality?: { warn: number; alarm: number }
  /** Whether what is found may ask for a retraining. It can never release anything by itself. */
  retrain: boolean
  /** What holds such a request back. */
  brakes: TriggerPolicy
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
  },
  retrain: true,
  brakes: defaultTriggerPolicy,
}

/** The usual floors of accuracy; other metrics have none of their own. */
export const accuracyFloors = { warn: 0.85, alarm: 0.8 } as const

/** What is wrong with a policy, field by field; empty when it may be used. */
export function issuesOfMonitor(policy: MonitorPolicy): string[] {
  const issues: string[] = []
  const { everyMs, settleMs, spanMs, observedMs, service, quality } = policy
  const lasting = { everyMs, spanMs, observedMs, 'service.silentMs': service.silentMs }
  for (const [name, value] of Object.entries({ ...lasting, 'service.outcomesMs': service.outcomesMs }))
    if (!Number.isInteger(value) || value < 1) issues.push(`${name} is a whole number from 1, not ${value}`)
  if (!Number.isInteger(settleMs) || settleMs < 0)
    issues.push(`settleMs is a whole number from 0, not ${settleMs}`)
  if (spanMs % hourMs !== 0) issues.push(`spanMs is a number of whole hours, not ${spanMs} ms`)
  for (const name of ['errorWarn', 'errorAlarm', 'missingShare'] as const)
    if (!(service[name] > 0 && service[name] <= 1))
      issues.push(`service.${name} is above 0 and at most 1, not ${service[name]}`)
  if (service.errorAlarm < service.errorWarn) issues.push('service.errorAlarm is not below errorWarn')
  if (!(service.latencyP95Ms > 0)) issues.push(`service.latencyP95Ms is above 0, not ${service.latencyP95Ms}`)
  if (!Number.isInteger(service.minRequests) || service.minRequests < 1)
    issues.push(`service.minRequests is a whole number from 1, not ${service.minRequests}`)
  if (quality && !(Number.isFinite(quality.warn) && Number.isFinite(quality.alarm)))
    issues.push('quality.warn and quality.alarm are finite numbers')
  issues.push(...issuesOfTriggers(policy.brakes).map((issue) => `brakes.${issue}`))
  return issues
}

/** Where the windows of a model begin that was never looked at: with the interval that runs. */
export const firstWindowStart = (nowMs: number, everyMs: number): number =>
  Math.floor(nowMs / everyMs) * everyMs
