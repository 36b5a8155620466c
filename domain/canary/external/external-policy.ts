/** Defines the external metrics of a policy: the query for each source, the bounds of the values, and what a loss or an outage does. */
import { policyIssues } from '../../policy-issues.ts'

export interface ExternalMetric {
  /** The kind of the source. */
  kind: ExternalKind
  /** The name of the source in the file of metric sources. */
  source: string
  /** The query, with placeholders for `$version`, `$arm`, `$model` and the window. */
  query: string
  /** The highest allowed value (the lowest when higher is better). Absent: the candidate is compared with the control. */
  limit?: number
  /** How much worse than the control still counts as no worse, as a share of the control's value. Ignored with a limit. */
  tolerance: number
  /** A lower value counts as this one. */
  min: number
  /** A higher value counts as this one, so that one extreme window cannot decide. */
  max: number
  /** Whether lower values are better, such as complaints. */
  lowerIsBetter: boolean
  /** The length of a window. Each window is read once. */
  everyMs: number
  /** How long after its end a window is complete at the source. */
  delayMs: number
  /** A window with fewer requests of an arm is not read. */
  minRequests: number
  /** A proven loss rolls the release back, or holds it until an approver decides. */
  action: 'rollback' | 'ask'
  /** What a source without values does: hold the release and ask an approver, only hold it, or neither. */
  onError: 'ask' | 'hold' | 'ignore'
}

export type ExternalKind = 'promql' | 'sql' | 'webhook'

const kinds: readonly ExternalKind[] = ['promql', 'sql', 'webhook']
const maxMetrics = 5
const maxQuery = 4_000

/** The name of a source: `prometheus`, `shop-replica`. */
export const sourceNamePattern = /^[a-z][a-z0-9_-]{0,39}$/
const metricName = /^[a-z][A-Za-z0-9_]{0,39}$/

/** The issues of the metrics of a policy, each with its field. */
export function issuesOfExternal(metrics: Readonly<Record<string, ExternalMetric>>): string[] {
  const { issues, need, integer, oneOf } = policyIssues()
  const names = Object.keys(metrics)
  need(names.length > 0 && names.length <= maxMetrics, `has 1 to ${maxMetrics} metrics, not ${names.length}`)
  for (const [name, metric] of Object.entries(metrics)) {
    const { kind, source, query, limit, tolerance, min, max, lowerIsBetter } = metric
    need(
      metricName.test(name),
      `${name} is not a name of a metric: a lower-case letter, then at most 39 letters, digits and _`,
    )
    oneOf(`${name}.kind`, kind, kinds)
    need(
      typeof source === 'string' && sourceNamePattern.test(source),
      `${name}.source is a lower-case letter, then at most 39 lower-case letters, digits, _ and -, not ${JSON.stringify(source)}`,
    )
    need(
      typeof query === 'string' && query.trim() !== '' && query.length <= maxQuery,
      `${name}.query is a text of 1 to ${maxQuery} characters`,
    )
    need(
      kind === 'webhook' || limit !== undefined || /\$(?:version|arm)\b/.test(String(query)),
      `${name}.query names neither $version nor $arm, so that both arms would get the same value`,
    )
    need(min >= 0 && Number.isFinite(min), `${name}.min is 0 or more, not ${min}`)
    need(max > min && Number.isFinite(max), `${name}.max is above min, not ${max}`)
    if (limit !== undefined)
      need(limit > min && limit < max, `${name}.limit lies between min and max, not ${limit}`)
    need(tolerance >= 0 && tolerance < 1, `${name}.tolerance lies between 0 and 1, not ${tolerance}`)
    need(typeof lowerIsBetter === 'boolean', `${name}.lowerIsBetter is true or false, not ${lowerIsBetter}`)
    integer(`${name}.everyMs`, metric.everyMs, 1)
    integer(`${name}.delayMs`, metric.delayMs, 0)
    integer(`${name}.minRequests`, metric.minRequests, 1)
    oneOf(`${name}.action`, metric.action, ['rollback', 'ask'])
    oneOf(`${name}.onError`, metric.onError, ['ask', 'hold', 'ignore'])
  }
  return issues
}

/** The parts of a policy that decide whether a window can ever be read. */
interface ReleaseTimes {
  stages: readonly { deadlineMs: number }[]
  probation?: { deadlineMs: number }
  watch: { tickMs: number }
}

/** Both versions must serve for at least one window, and a window must hold whole ticks. */
export function issuesOfExternalTimes(
  metrics: Readonly<Record<string, ExternalMetric>>,
  { stages, probation, watch }: ReleaseTimes,
): string[] {
  const observedMs = [...stages, ...(probation ? [probation] : [])].reduce(
    (sum, { deadlineMs }) => sum + deadlineMs,
    0,
  )
  return Object.entries(metrics).flatMap(([name, { everyMs, delayMs }]) => {
    const place = `limits.external.${name}`
    if (everyMs < watch.tickMs)
      return [`${place}.everyMs is ${everyMs}, it must be at least watch.tickMs (${watch.tickMs})`]
    if (2 * everyMs + delayMs < observedMs) return []
    return [
      `${place}: two windows and delayMs last ${2 * everyMs + delayMs}, and the stages and the probation end within ${observedMs}: no window would ever count`,
    ]
  })
}
