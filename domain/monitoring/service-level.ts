/**
 * Whether a model is served as its callers may expect: it answers, in time, what it is asked, and somebody tells how it turned
 * out. Drift and quality say nothing about a model that nobody can reach.
 */
import type { CostPolicy, ServiceLimits } from './policy.ts'
import type { Reason } from '../verdict.ts'

export const serviceJudge = 'service@1'

/** What was counted of the champion and all other arms in one window. */
export interface ServiceFacts {
  windowMs: number
  requests: number
  errors: number
  invalid: number
  /** Upper bounds, in microseconds; null without a request. */
  latencyUs: { p50: number; p95: number; p99: number } | null
  /** Feature → share of rows without a value, now and in training; only where both are known. */
  missing: Record<string, { share: number; reference: number; rows: number }>
  /** Since the last request and the last outcome, counted from the end of the window; null when there never was one. */
  requestAgeMs: number | null
  outcomeAgeMs: number | null
  /** How long the model has had a champion. */
  championMs: number
  /** Replicas whose lease runs. */
  replicas: number
  /** The largest figures of any of them; null where none has said. */
  resources: { rssMb: number; cpuShare: number; loopDelayMs: number } | null
  /** Feature with limits → share of rows whose value lay outside. */
  outside: Record<string, { share: number; rows: number }>
  /** Predictions in the log, which may be more than requests. */
  predictions: number
}

export type ServiceMatter =
  'errors' | 'latency' | 'missing' | 'outside' | 'silent' | 'outcomes' | 'replicas' | 'resources' | 'cost'

export interface ServiceFinding extends Reason {
  code: ServiceMatter
  severity: 'warning' | 'critical'
}

export interface ServiceReport {
  findings: ServiceFinding[]
  /** What was measured and found in order: an alert about it is over. What could not be measured is in neither list. */
  cleared: ServiceMatter[]
  judge: string
}

/** What the predictions of a window cost, and what a day like it would. */
export const costOf = (
  { predictions, windowMs }: Pick<ServiceFacts, 'predictions' | 'windowMs'>,
  { perPrediction }: CostPolicy,
): { total: number; perDay: number } => {
  const total = predictions * perPrediction
  return { total, perDay: (total * dayMs) / Math.max(1, windowMs) }
}

const dayMs = 86_400_000

export function judgeService(facts: ServiceFacts, limits: ServiceLimits, cost?: CostPolicy): ServiceReport {
  const findings: ServiceFinding[] = []
  const cleared: ServiceMatter[] = []
  const say = (finding: ServiceFinding | undefined, code: ServiceMatter) => {
    if (finding === undefined) cleared.push(code)
    else findings.push(finding)
  }
  if (facts.requests >= limits.minRequests) {
    say(tooManyErrors(facts, limits), 'errors')
    say(tooSlow(facts, limits), 'latency')
  }
  const measured = Object.values(facts.missing).some(({ rows }) => rows >= limits.minRequests)
  if (measured) say(tooMuchMissing(facts, limits), 'missing')
  if (Object.values(facts.outside).some(({ rows }) => rows >= limits.minRequests))
    say(tooMuchOutside(facts, limits), 'outside')
  say(silence(facts, limits), 'silent')
  say(noOutcomes(facts, limits), 'outcomes')
  say(nobodyServes(facts), 'replicas')
  if (facts.resources !== null) say(tooMuchNeeded(facts.resources, limits), 'resources')
  if (cost !== undefined) say(tooDear(facts, cost), 'cost')
  return { findings, cleared, judge: serviceJudge }
}

function tooManyErrors(facts: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const bad = facts.errors + facts.invalid
  const rate = bad / facts.requests
  if (rate <= limits.errorWarn) return undefined
  const isAlarm = rate > limits.errorAlarm
  const limit = isAlarm ? limits.errorAlarm : limits.errorWarn
  return {
    code: 'errors',
    severity: isAlarm ? 'critical' : 'warning',
    message: `${bad} of ${facts.requests} answers failed or were none: ${percent(rate)} > ${percent(limit)}`,
    values: { bad, requests: facts.requests, rate, limit },
  }
}

function tooSlow({ latencyUs }: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const p95Ms = (latencyUs?.p95 ?? 0) / 1_000
  if (p95Ms <= limits.latencyP95Ms) return undefined
  return {
    code: 'latency',
    severity: 'warning',
    message: `95 % of the answers took up to ${figure(p95Ms)} ms > ${limits.latencyP95Ms} ms`,
    values: { p95Ms, limit: limits.latencyP95Ms },
  }
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
  return {
    code: 'missing',
    severity: 'warning',
    message: `features come without a value: ${named.join(', ')}`,
    values: Object.fromEntries(found.map(([name, { share }]) => [name, share])),
  }
}

function tooMuchOutside({ outside }: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const found = Object.entries(outside).filter(
    ([, { share, rows }]) => rows >= limits.minRequests && share > limits.outsideShare,
  )
  if (found.length === 0) return undefined
  return {
    code: 'outside',
    severity: 'warning',
    message: `features lie outside the limits of the model file: ${found
      .map(([name, { share }]) => `${name} in ${percent(share)} > ${percent(limits.outsideShare)}`)
      .join(', ')}`,
    values: Object.fromEntries(found.map(([name, { share }]) => [name, share])),
  }
}

function tooMuchNeeded(
  { rssMb, cpuShare, loopDelayMs }: NonNullable<ServiceFacts['resources']>,
  limits: ServiceLimits,
): ServiceFinding | undefined {
  const found = [
    rssMb > limits.rssMb ? `${figure(rssMb)} MB of memory > ${limits.rssMb} MB` : '',
    cpuShare > limits.cpuShare ? `${percent(cpuShare)} of a core > ${percent(limits.cpuShare)}` : '',
    loopDelayMs > limits.loopDelayMs
      ? `requests wait ${figure(loopDelayMs)} ms for their turn > ${limits.loopDelayMs} ms`
      : '',
  ].filter((text) => text !== '')
  if (found.length === 0) return undefined
  return {
    code: 'resources',
    severity: 'warning',
    message: `a replica needs more than it should: ${found.join(', ')}`,
    values: { rssMb, cpuShare, loopDelayMs },
  }
}

function tooDear(facts: ServiceFacts, cost: CostPolicy): ServiceFinding | undefined {
  const { total, perDay } = costOf(facts, cost)
  if (cost.perDay === undefined || perDay <= cost.perDay) return undefined
  return {
    code: 'cost',
    severity: 'warning',
    message:
      `${facts.predictions} predictions cost ${figure(total)} ${cost.unit}, which is ${figure(perDay)} ${cost.unit} a day > ` +
      `${cost.perDay} ${cost.unit}`,
    values: { total, perDay, limit: cost.perDay },
  }
}

function silence(facts: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const forMs = facts.requestAgeMs ?? facts.championMs
  if (forMs < limits.silentMs) return undefined
  return {
    code: 'silent',
    severity: 'warning',
    message:
      facts.requestAgeMs === null
        ? `nobody has ever asked it, and it has been champion for ${hours(forMs)}`
        : `nobody has asked it for ${hours(forMs)}`,
    values: { forMs, limitMs: limits.silentMs },
  }
}

/** A team that never sends outcomes has no feed that could stop. */
function noOutcomes(facts: ServiceFacts, limits: ServiceLimits): ServiceFinding | undefined {
  const { outcomeAgeMs, requestAgeMs } = facts
  if (outcomeAgeMs === null || outcomeAgeMs < limits.outcomesMs) return undefined
  // With nobody asking there is nothing to become true.
  if (requestAgeMs === null || requestAgeMs >= outcomeAgeMs) return undefined
  return {
    code: 'outcomes',
    severity: 'critical',
    message: `no outcome has come for ${hours(outcomeAgeMs)}, though predictions go on: its quality is not known`,
    values: { forMs: outcomeAgeMs, limitMs: limits.outcomesMs },
  }
}

function nobodyServes({ replicas }: ServiceFacts): ServiceFinding | undefined {
  if (replicas > 0) return undefined
  return {
    code: 'replicas',
    severity: 'critical',
    message: 'no replica has renewed its lease: either nobody serves, or nobody reaches Postgres',
    values: { replicas },
  }
}

const figure = (value: number): string => String(Number(value.toPrecision(4)))
const percent = (share: number): string => `${figure(100 * share)} %`
const hours = (ms: number): string =>
  ms >= 3_600_000 ? `${figure(ms / 3_600_000)} h` : `${figure(ms / 1_000)} s`
