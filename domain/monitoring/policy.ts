/**
 * Defines the monitoring policy of a model: intervals and limits. They are data of the model, so that a test runs a week of
 * monitoring in a second.
 */
import type { Price } from '../model/cost.ts'
import type { GateMetric } from '../evaluation/gate-metrics.ts'
import { policyIssues } from '../policy-issues.ts'
import type { DriftLimits } from './drift.ts'
import { driftPolicyOf, referencesOf, type DriftTuning } from './drift-history.ts'
import { defaultTriggerPolicy, issuesOfTriggers, type TriggerPolicy } from './retraining-triggers.ts'

/** The limits for one window; rates count only from `minRequests` on. */
export interface ServiceLimits {
  /** The share of failed requests and invalid outputs that warns, 0..1. */
  errorWarn: number
  /** The share that alarms, 0..1. */
  errorAlarm: number
  /** The limit of the 95th percentile of the latency. */
  latencyP95Ms: number
  /** The share of rows without a feature that warns, 0..1; it must also be twice the share in training. */
  missingShare: number
  /** The minimum requests of a window for a rate. */
  minRequests: number
  /** The time without a request that warns. */
  silentMs: number
  /** The time without an outcome that alarms, while predictions continue and earlier outcomes exist. */
  outcomesMs: number
  /** The share of rows with a number outside the limits of its feature that warns, 0..1. */
  outsideShare: number
  /** The memory limit of one replica. */
  rssMb: number
  /** The CPU limit of one replica, as a share of a core. */
  cpuShare: number
  /** The limit of the event loop delay of one replica (99th percentile). */
  loopDelayMs: number
}

/** At least one of both. */
export interface QualityFloors {
  /** A value that is certainly below this one warns; above it where lower is better. */
  warn?: number
  /** A value that is certainly below this one alarms; above it where lower is better. */
  alarm?: number
}

export interface QualityPolicy extends QualityFloors {
  /** Floors of other metrics. */
  metrics?: Partial<Record<GateMetric, QualityFloors>>
}

/** The value of a prediction once its outcome is known. */
export interface BusinessPolicy {
  /** The name of the figure. */
  name: string
  /** What it is counted in. */
  unit: string
  /**
   * DuckDB SQL over the features, `prediction` (the probability, class or number), `predicted` (whether it is positive, the class,
   * or the number) and `outcome`; a number for each prediction. Several numbers have their names: `prediction.arrival_delay`.
   */
  perPrediction: string
  /** A mean that is certainly below this one warns; above it where lower is better. Reported without a limit when absent. */
  warn?: number
  /** A mean that is certainly below this one alarms; above it where lower is better. */
  alarm?: number
  /** Whether lower is better. */
  lowerIsBetter?: boolean
}

/**
 * The cost of predictions: declared (`perPrediction`), or measured at the price of a processor and of memory (`processorHour`, `gibHour`).
 */
export interface CostPolicy extends Price {
  /** The cost of one prediction, where it is not measured. */
  perPrediction?: number
  /**
   * The price of a processor for an hour. With it, the pre-flight checks of a release show the cost of 1,000 predictions and of the training,
   * and the cost of a prediction is what they measured.
   */
  processorHour?: number
  /** The price of a GiB of memory for an hour. */
  gibHour?: number
  /** What it is counted in. */
  unit: string
  /** The cost of a day that warns. */
  perDay?: number
}

export interface MonitorPolicy {
  /** The length of a window; windows follow each other without a gap. */
  everyMs: number
  /** The delay after the end of a window, in which the replicas' last counts arrive. */
  settleMs: number
  /** The period over which drift and quality are judged. */
  spanMs: number
  /**
   * The period of the feature counters, on which drift is judged. It is stored with each trained version, so that counters match
   * their reference. One hour when absent.
   */
  countMs?: number
  /** The age after which a prediction is not expected to get an outcome. */
  observedMs: number
  /** The limits of the service. */
  service: ServiceLimits
  /** Floors of the primary metric on matured outcomes. */
  quality?: QualityPolicy
  /** The importance of features for drift, on any scale: 0 warns and never alarms. Measured with each version when absent. */
  importance?: Record<string, number>
  /** The limits of drift, where they differ from the defaults. */
  drift?: DriftTuning
  /** The value of predictions; not computed when absent. */
  business?: BusinessPolicy
  /** The cost of predictions; not computed when absent. */
  cost?: CostPolicy
  /** Whether findings may start a retraining. They never release a version. */
  retrain: boolean
  /** The limits of such retrainings. */
  cooldown: TriggerPolicy
  /**
   * Whether a champion gives way to the last known good version when its responses fail, or when its quality is lost or its answers collapse
   * while that version is better on the same rows; and a compressed one to its parent when its answers are proven to differ.
   */
  rollback: boolean
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
  rollback: true,
}

/** The default floors of accuracy; other metrics have none. */
export const accuracyFloors = { warn: 0.85, alarm: 0.8 } as const

/** A stored policy, with defaults for fields that the build that stored it did not know. */
export const completeMonitorPolicy = (stored: MonitorPolicy = defaultMonitorPolicy): MonitorPolicy => ({
  ...defaultMonitorPolicy,
  ...stored,
  service: { ...defaultMonitorPolicy.service, ...stored.service },
})

/** The issues of a policy, each with its field; empty when it is valid. */
export function issuesOfMonitor(policy: MonitorPolicy): string[] {
  const { issues, need, integer, part } = policyIssues()
  const { spanMs, countMs = hourMs, service, quality, business, cost } = policy
  for (const name of ['everyMs', 'spanMs', 'observedMs'] as const) integer(name, policy[name], 1)
  for (const name of ['silentMs', 'outcomesMs'] as const) integer(`service.${name}`, service[name], 1)
  integer('settleMs', policy.settleMs, 0)
  for (const [name, weight] of Object.entries(policy.importance ?? {}))
    need(weight >= 0 && weight < Infinity, `importance.${name} is a number of 0 or more, not ${weight}`)
  need(
    Number.isInteger(countMs) && countMs >= 1 && spanMs % countMs === 0,
    `spanMs is a multiple of countMs (${countMs} ms), not ${spanMs} ms`,
  )
  for (const name of ['errorWarn', 'errorAlarm', 'missingShare', 'outsideShare'] as const)
    need(
      service[name] > 0 && service[name] <= 1,
      `service.${name} is above 0 and at most 1, not ${service[name]}`,
    )
  need(!(service.errorAlarm < service.errorWarn), 'service.errorAlarm is not below errorWarn')
  for (const name of ['latencyP95Ms', 'rssMb', 'cpuShare', 'loopDelayMs'] as const)
    need(service[name] > 0, `service.${name} is above 0, not ${service[name]}`)
  integer('service.minRequests', service.minRequests, 1)
  if (quality !== undefined) part('quality', issuesOfQuality(quality))
  if (policy.drift !== undefined) part('drift', issuesOfDrift(policy.drift, policy.spanMs))
  if (business !== undefined) part('business', issuesOfBusiness(business))
  if (cost !== undefined) part('cost', issuesOfCost(cost))
  part('cooldown', issuesOfTriggers(policy.cooldown))
  return issues
}

const isText = (value: unknown): boolean => typeof value === 'string' && value.trim() !== ''

function issuesOfQuality({ metrics, ...own }: QualityPolicy): string[] {
  const { issues, need } = policyIssues()
  const check = (place: string, floors: QualityFloors) =>
    need(
      Object.keys(floors ?? {}).length > 0 && Object.values(floors).every(Number.isFinite),
      `${place}warn and alarm are finite numbers, at least one of them`,
    )
  if (metrics === undefined || Object.keys(own).length > 0) check('', own)
  for (const [metric, floors] of Object.entries(metrics ?? {})) check(`metrics.${metric}.`, floors)
  return issues
}

function issuesOfBusiness({ name, unit, perPrediction, warn, alarm, ...policy }: BusinessPolicy): string[] {
  const { issues, need } = policyIssues()
  for (const [what, text] of Object.entries({ name, unit, perPrediction }))
    need(isText(text), `${what} is a text`)
  for (const [what, limit] of Object.entries({ warn, alarm }))
    need(limit === undefined || Number.isFinite(limit), `${what} is a finite number, not ${limit}`)
  const [low, high] = policy.lowerIsBetter === true ? [warn, alarm] : [alarm, warn]
  need(low === undefined || high === undefined || !(low > high), 'warn must be reached before business.alarm')
  return issues
}

function issuesOfDrift(tuning: DriftTuning, spanMs: number): string[] {
  const { issues, need } = policyIssues()
  const { features = {} } = tuning
  const all = driftPolicyOf(tuning)
  const limits = (place: string, { warn = all.warn, alarm = all.alarm }: Partial<DriftLimits>) => {
    for (const [name, psi] of Object.entries({ warn, alarm }))
      need(psi > 0 && psi < Infinity, `${place}${name} is a PSI above 0, not ${psi}`)
    need(!(warn > alarm), `${place}alarm (${alarm}) is not below ${place}warn (${warn})`)
  }
  limits('', tuning)
  for (const [name, each] of Object.entries(features)) limits(`features.${name}.`, each)
  for (const beforeMs of referencesOf(tuning))
    need(
      Number.isInteger(beforeMs) && beforeMs >= spanMs,
      `reference is at least the judged span (${spanMs} ms), not ${beforeMs} ms: the two periods would overlap`,
    )
  return issues
}

/** The declared prices; undefined without one. */
export function pricesOf(cost: CostPolicy | undefined): Price | undefined {
  if (cost === undefined) return undefined
  const { processorHour, gibHour, unit } = cost
  return processorHour === undefined && gibHour === undefined ? undefined : { processorHour, gibHour, unit }
}

function issuesOfCost({ unit, perDay = 1, ...cost }: CostPolicy): string[] {
  const { issues, need } = policyIssues()
  const { perPrediction, processorHour, gibHour } = cost
  for (const [name, value = 0] of Object.entries({ perPrediction, processorHour, gibHour }))
    need(value >= 0 && Number.isFinite(value), `${name} is 0 or more, not ${value}`)
  const isMeasured = pricesOf({ ...cost, unit }) !== undefined
  need(
    (perPrediction !== undefined) !== isMeasured,
    isMeasured
      ? 'perPrediction is declared and cannot be measured too: leave out perPrediction, or processorHour and gibHour'
      : 'perPrediction is required, or processorHour and gibHour, at which it is measured',
  )
  need(isText(unit), 'unit is a text')
  need(perDay > 0 && Number.isFinite(perDay), `perDay is above 0, not ${perDay}`)
  return issues
}

/** The start of the first window of a model: of the last interval that is complete. */
export const firstWindowStart = (
  nowMs: number,
  { everyMs, settleMs }: Pick<MonitorPolicy, 'everyMs' | 'settleMs'>,
): number => (Math.floor((nowMs - settleMs) / everyMs) - 1) * everyMs
