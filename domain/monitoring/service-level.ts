/**
 * Judges the service of a model: errors, latency, missing features, traffic, outcomes, replicas, resources and cost. Drift and quality
 * checks do not notice a model that gets no requests.
 */
import { pricePerPrediction, type MeasuredCost } from '../model/cost.ts'
import { fourDigits, groupedDigits } from '../figures.ts'
import type { CostPolicy, ServiceLimits } from './policy.ts'
import type { Reason } from '../verdict.ts'

export const serviceJudge = 'service@1'

/** The counts of all arms of a model in one window. */
export interface ServiceFacts {
  windowMs: number
  requests: number
  errors: number
  invalid: number
  /** The requests of the champion since it became champion, and how many of them failed. A canary, or the version before it, may have failed. */
  champion: { requests: number; bad: number }
  /** Upper bounds of the quantiles in microseconds; null without a request. */
  latencyUs: { p50: number; p95: number; p99: number } | null
  /** Feature → share of rows without a value, now and in training, when both are known. */
  missing: Record<string, { share: number; reference: number; rows: number }>
  /** The time from the last request and the last outcome to the end of the window; null without any. */
  requestAgeMs: number | null
  outcomeAgeMs: number | null
  /** Whether the model has scored a batch at any time. */
  hasBatches: boolean
  /** How long the model has had a champion, in milliseconds. */
  championMs: number
  /** Replicas with a valid lease. */
  replicas: number
  /** The maximum over the replicas; null without a report. */
  resources: { rssMb: number; cpuShare: number; loopDelayMs: number } | null
  /** Feature with limits → share of rows outside the limits. */
  outside: Record<string, { share: number; rows: number }>
  /** The number of logged predictions, without batches; a request may have several. */
  predictions: number
  /** What the champion took in the checks before its release; absent where they did not measure it. */
  measured?: MeasuredCost
}

export type ServiceMatter =
  | 'errors'
  | 'latency'
  | 'missing'
  | 'outside'
  | 'silent'
  | 'outcomes'
  | 'replicas'
  | 'resources'
  | 'cost'

export interface ServiceFinding extends Reason {
  code: ServiceMatter
  severity: 'warning' | 'critical'
}

export interface ServiceReport {
  findings: ServiceFinding[]
  /** Matters that were measured without a finding; their alerts are resolved. Matters that were not measured are in neither list. */
  cleared: ServiceMatter[]
  judge: string
}

/**
 * The cost of the predictions of a window, and of a day at the same rate. `basis`: whether the cost of a prediction is that of the model file or
 * what the champion took before its release.
 */
export interface ServiceCost {
  total: number
  perDay: number
  unit: string
  basis: 'declared' | 'measured'
}

/** Undefined where the cost of a prediction is to be measured and the champion was not. */
export function costOf(
  { predictions, windowMs, measured }: Pick<ServiceFacts, 'predictions' | 'windowMs' | 'measured'>,
  policy: CostPolicy,
): ServiceCost | undefined {
  const { perPrediction = measured && pricePerPrediction(measured, policy), unit } = policy
  if (perPrediction === undefined) return undefined
  const total = predictions * perPrediction
  const perDay = (total * dayMs) / Math.max(1, windowMs)
  return { total, perDay, unit, basis: policy.perPrediction === undefined ? 'measured' : 'declared' }
}

const dayMs = 86_400_000

export function judgeService(facts: ServiceFacts, limits: ServiceLimits, cost?: CostPolicy): ServiceReport {
  const findings: ServiceFinding[] = []
  const cleared: ServiceMatter[] = []
  const report = (finding: ServiceFinding | undefined, code: ServiceMatter) => {
    if (finding === undefined) cleared.push(code)
    else findings.push(finding)
  }
  if (facts.champion.requests >= limits.minRequests) report(tooManyErrors(facts.champion, limits), 'errors')
  if (facts.requests >= limits.minRequests) report(tooSlow(facts, limits), 'latency')
  const isMeasured = (features: Record<string, { rows: number }>) =>
    Object.values(features).some(({ rows }) => rows >= limits.minRequests)
  if (isMeasured(facts.missing)) report(tooMuchMissing(facts, limits), 'missing')
  if (isMeasured(facts.outside)) report(tooMuchOutside(facts, limits), 'outside')
  // A champion that is new is no evidence of requests.
  const silent = silence(facts, limits)
  if (silent !== undefined || facts.requestAgeMs !== null) report(silent, 'silent')
  const late = noOutcomes(facts, limits)
  if (late !== undefined || (facts.outcomeAgeMs ?? Infinity) < limits.outcomesMs) report(late, 'outcomes')
  report(noReplica(facts), 'replicas')
  if (facts.resources !== null) report(tooMuchNeeded(facts.resources, limits), 'resources')
  const spent = cost && costOf(facts, cost)
  if (spent !== undefined) report(tooDear(facts, spent, cost?.perDay), 'cost')
  return { findings, cleared, judge: serviceJudge }
}

/**
 * What the version that serves has answered in the shortest window with enough requests, if that is within the error limit; undefined
 * otherwise.
 */
export function servedWellText(
  {
    version,
    windows,
  }: { version: string; windows: readonly { minutes: number; requests: number; bad: number }[] },
  { minRequests, errorWarn }: Pick<ServiceLimits, 'minRequests' | 'errorWarn'>,
): string | undefined {
  const window = windows.find(({ requests }) => requests >= minRequests)
  if (window === undefined || window.bad / window.requests > errorWarn) return undefined
  const { minutes, requests, bad } = window
  return `${groupedDigits(bad)} of ${groupedDigits(requests)} requests to ${version} failed in the last ${minutes} min`
}

/** What a window has measured of a matter without a finding. */
export function clearedText(matter: ServiceMatter, facts: ServiceFacts): string {
  switch (matter) {
    case 'errors':
      return `${groupedDigits(facts.champion.bad)} of ${groupedDigits(facts.champion.requests)} requests failed in the last window`
    case 'latency':
      return `latency p95 ${fourDigits((facts.latencyUs?.p95 ?? 0) / 1_000)} ms in the last window`
    case 'silent':
      return `the last request came ${hours(facts.requestAgeMs ?? 0)} ago`
    case 'outcomes':
      return `the last outcome came ${hours(facts.outcomeAgeMs ?? 0)} ago`
    case 'replicas':
      return `${facts.replicas} replicas hold a lease`
    case 'missing':
    case 'outside':
    case 'resources':
    case 'cost':
      return 'within the limit in the last window'
    default:
      return matter satisfies never
  }
}

function tooManyErrors(
  { requests, bad }: ServiceFacts['champion'],
  limits: ServiceLimits,
): ServiceFinding | undefined {
  const rate = bad / requests
  if (rate <= limits.errorWarn) return undefined
  const isAlarm = rate > limits.errorAlarm
  const limit = isAlarm ? limits.errorAlarm : limits.errorWarn
  const severity = isAlarm ? 'critical' : 'warning'
  const message = `${groupedDigits(bad)} of ${groupedDigits(requests)} requests failed: ${percent(rate)} > ${percent(limit)}`
  return { code: 'errors', severity, message, values: { bad, requests, rate, limit } }
}

function tooSlow({ latencyUs }: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const p95Ms = (latencyUs?.p95 ?? 0) / 1_000
  if (p95Ms <= limits.latencyP95Ms) return undefined
  const message = `latency p95 ${fourDigits(p95Ms)} ms > ${limits.latencyP95Ms} ms`
  return { code: 'latency', severity: 'warning', message, values: { p95Ms, limit: limits.latencyP95Ms } }
}

function tooMuchMissing({ missing }: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const found = Object.entries(missing).filter(
    ([, { share, reference, rows }]) =>
      rows >= limits.minRequests && share > limits.missingShare && share > 2 * reference,
  )
  if (found.length === 0) return undefined
  const named = found.map(
    ([name, { share, reference }]) => `${name} in ${percent(share)} (${percent(reference)} in training)`,
  )
  const message = `missing feature values: ${named.join(', ')}`
  return { code: 'missing', severity: 'warning', message, values: sharesOf(found) }
}

function tooMuchOutside({ outside }: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const found = Object.entries(outside).filter(
    ([, { share, rows }]) => rows >= limits.minRequests && share > limits.outsideShare,
  )
  if (found.length === 0) return undefined
  const limit = percent(limits.outsideShare)
  const named = found.map(([name, { share }]) => `${name} in ${percent(share)} > ${limit}`)
  const message = `features outside the limits of the model file: ${named.join(', ')}`
  return { code: 'outside', severity: 'warning', message, values: sharesOf(found) }
}

const sharesOf = (found: readonly [string, { share: number }][]): Reason['values'] =>
  Object.fromEntries(found.map(([name, { share }]) => [name, share]))

function tooMuchNeeded(
  { rssMb, cpuShare, loopDelayMs }: NonNullable<ServiceFacts['resources']>,
  limits: ServiceLimits,
): ServiceFinding | undefined {
  const found = [
    rssMb > limits.rssMb ? `${fourDigits(rssMb)} MB of memory > ${limits.rssMb} MB` : '',
    cpuShare > limits.cpuShare ? `${percent(cpuShare)} of a core > ${percent(limits.cpuShare)}` : '',
    loopDelayMs > limits.loopDelayMs
      ? `event loop delay ${fourDigits(loopDelayMs)} ms > ${limits.loopDelayMs} ms`
      : '',
  ].filter((text) => text !== '')
  if (found.length === 0) return undefined
  const message = `a replica exceeds its limits: ${found.join(', ')}`
  return { code: 'resources', severity: 'warning', message, values: { rssMb, cpuShare, loopDelayMs } }
}

function tooDear(
  { predictions }: ServiceFacts,
  { total, perDay, unit, basis }: ServiceCost,
  limit: number | undefined,
): ServiceFinding | undefined {
  if (limit === undefined || perDay <= limit) return undefined
  const message =
    `${predictions} predictions cost ${fourDigits(total)} ${unit} as ${basis}: ${fourDigits(perDay)} ${unit} a day > ` +
    `${limit} ${unit}`
  return { code: 'cost', severity: 'warning', message, values: { total, perDay, limit } }
}

/** A model that scores batches and was never asked is not silent: the alerts of its triggers tell when they stop. */
function silence(facts: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  if (facts.requestAgeMs === null && facts.hasBatches) return undefined
  const forMs = facts.requestAgeMs ?? facts.championMs
  if (forMs < limits.silentMs) return undefined
  const message =
    facts.requestAgeMs === null
      ? `no request since it became champion ${hours(forMs)} ago`
      : `no request for ${hours(forMs)}`
  return { code: 'silent', severity: 'warning', message, values: { forMs, limitMs: limits.silentMs } }
}

/** Outcomes can only stop for a model that has had some. */
function noOutcomes(facts: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const { outcomeAgeMs, requestAgeMs } = facts
  if (outcomeAgeMs === null || outcomeAgeMs < limits.outcomesMs) return undefined
  // Without predictions no outcomes are due.
  if (requestAgeMs === null || requestAgeMs >= outcomeAgeMs) return undefined
  const message = `no outcome for ${hours(outcomeAgeMs)} while predictions continue: the quality is unknown`
  const values = { forMs: outcomeAgeMs, limitMs: limits.outcomesMs }
  return { code: 'outcomes', severity: 'critical', message, values }
}

function noReplica({ replicas }: ServiceFacts): ServiceFinding | undefined {
  if (replicas > 0) return undefined
  const message = 'no replica holds a lease: all replicas are down or cannot reach Postgres'
  return { code: 'replicas', severity: 'critical', message, values: { replicas } }
}

const percent = (share: number): string => `${fourDigits(100 * share)} %`
const hours = (ms: number): string =>
  ms >= 3_600_000 ? `${fourDigits(ms / 3_600_000)} h` : `${fourDigits(ms / 1_000)} s`
