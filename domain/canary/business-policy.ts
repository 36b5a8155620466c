/** Defines the business metrics of a policy: which events of a user count, within which bounds, and what a loss does. */
import { abMetrics, isAbMetric } from './ab-test.ts'
import { policyIssues } from '../policy-issues.ts'

export interface BusinessMetric {
  /** The name of the events. */
  event: string
  /**
   * How the events of a user become a value: the `total` of their values, whether there is `any` event (1 or 0), or the `mean` of their
   * values (only for users with an event).
   */
  counts: 'total' | 'any' | 'mean'
  /** A lower value of a user counts as this one. */
  min: number
  /** A higher value of a user counts as this one, so that one large purchase cannot decide. */
  max: number
  /** Events count for this long after the user's first request. */
  withinMs: number
  /** How long an event may take to arrive. A user is counted after that time. */
  delayMs: number
  /** Whether lower values are better, such as refunds. */
  lowerIsBetter: boolean
  /** A proven loss rolls the release back, or holds it until an approver decides. */
  action: 'rollback' | 'ask'
  /** The last stage needs the proof that the mean is not worse by more than this share of the control's. Absent: no proof. */
  notWorse?: number
  /** Whether the last stage needs the proof that the mean is better than the control's. */
  better?: boolean
}

const maxMetrics = 5

/** The name of an event: `purchase`, `cart.removed`. */
export const eventNamePattern = '^[A-Za-z][A-Za-z0-9_.-]{0,63}$'
const eventName = new RegExp(eventNamePattern)
const metricName = /^[a-z][A-Za-z0-9_]{0,39}$/

/** The value of a user from its events: their number and the sum of their values. */
export function valueOfUser(
  { counts }: BusinessMetric,
  { events, sum }: { events: number; sum: number },
): number | null {
  switch (counts) {
    case 'total':
      return sum
    case 'any':
      return events > 0 ? 1 : 0
    case 'mean':
      return events > 0 ? sum / events : null
    default:
      return counts satisfies never
  }
}

/** The issues of the metrics of a policy, each with its field. */
export function issuesOfBusiness(metrics: Readonly<Record<string, BusinessMetric>>): string[] {
  const { issues, need, integer, oneOf } = policyIssues()
  const names = Object.keys(metrics)
  need(names.length > 0 && names.length <= maxMetrics, `has 1 to ${maxMetrics} metrics, not ${names.length}`)
  for (const [name, metric] of Object.entries(metrics)) {
    const { event, counts, min, max, withinMs, delayMs, lowerIsBetter, action, notWorse, better } = metric
    need(
      metricName.test(name) && !isAbMetric(name),
      `${name} is not a name of a metric: a letter, then at most 39 letters, digits and _; ${abMetrics.join(', ')} are taken`,
    )
    need(
      typeof event === 'string' && eventName.test(event),
      `${name}.event is a letter, then at most 63 letters, digits, dots, _ and -, not ${JSON.stringify(event)}`,
    )
    oneOf(`${name}.counts`, counts, ['total', 'any', 'mean'])
    need(min >= 0 && Number.isFinite(min), `${name}.min is 0 or more, not ${min}`)
    need(max > min && Number.isFinite(max), `${name}.max is above min, not ${max}`)
    need(
      counts !== 'any' || (min === 0 && max === 1),
      `${name}: any counts 0 or 1, so that min and max are 0 and 1`,
    )
    integer(`${name}.withinMs`, withinMs, 1)
    integer(`${name}.delayMs`, delayMs, 0)
    need(typeof lowerIsBetter === 'boolean', `${name}.lowerIsBetter is true or false, not ${lowerIsBetter}`)
    oneOf(`${name}.action`, action, ['rollback', 'ask'])
    if (notWorse !== undefined)
      need(notWorse > 0 && notWorse < 1, `${name}.notWorse lies between 0 and 1, not ${notWorse}`)
    if (better !== undefined)
      need(typeof better === 'boolean', `${name}.better is true or false, not ${better as unknown}`)
  }
  return issues
}

/** The parts of a policy that decide how long a release lasts. */
interface ReleaseTimes {
  strategy: string
  stages: readonly { deadlineMs: number }[]
  probation?: { deadlineMs: number }
}

/** Users must meet both versions, for long enough that their events can arrive. */
export function issuesOfBusinessTimes(
  metrics: Readonly<Record<string, BusinessMetric>>,
  { strategy, stages, probation }: ReleaseTimes,
): string[] {
  const { issues, need } = policyIssues()
  const isSplit = strategy === 'canary' || strategy === 'ab'
  const observed = [...(isSplit ? stages : []), ...(probation ? [probation] : [])]
  const observedMs = observed.reduce((sum, { deadlineMs }) => sum + deadlineMs, 0)
  if (observedMs <= 0)
    return [
      `limits.business needs stages or a probation in which users meet both versions; the strategy ${strategy} has none`,
    ]
  for (const [name, { withinMs, delayMs, notWorse, better }] of Object.entries(metrics)) {
    const place = `limits.business.${name}`
    need(
      isSplit || (notWorse === undefined && better !== true),
      `${place}: the proofs notWorse and better need users of both versions before the promotion, so the strategy canary or ab`,
    )
    need(
      withinMs + delayMs < observedMs,
      `${place}: withinMs and delayMs add up to ${withinMs + delayMs}, and the stages and the probation end within ${observedMs}: no user would ever count`,
    )
  }
  return issues
}
