/** Parses the queries for versions and trainings: statuses, conditions on metrics, order, digests and times. Invalid queries are refused. */
import { quotedName } from '../errors.ts'
import { higherIsBetter } from '../evaluation/metrics.ts'
import type { GateMetric } from '../evaluation/gate-metrics.ts'
import { tasks } from '../tasks/tasks.ts'

/** The statuses of a version; the first that applies counts. */
export const versionStatuses = {
  /** Made for a drill; never promoted. */
  drill: 'made for a drill',
  champion: 'serves by default now',
  rolled_back: 'never serves again',
  releasing: 'a release of it is open',
  known_good: 'its release ended as promoted; a rollback may return to it',
  registered: 'is registered, and has passed no release',
} as const
export type VersionStatus = keyof typeof versionStatuses

export const trainingStatuses = ['running', 'done', 'failed'] as const

export const metricNames: readonly GateMetric[] = [
  ...new Set(Object.values(tasks).flatMap(({ gate }) => gate.metrics)),
]

export const comparisons = ['>', '>=', '<', '<=', '='] as const

export interface MetricCondition {
  metric: GateMetric
  is: (typeof comparisons)[number]
  value: number
}

/**
 * `version`: by model, the highest number first. A metric: the best value first, with `-` in front the worst first; only versions with
 * that metric.
 */
export type VersionOrder =
  | 'version'
  | 'newest'
  | 'oldest'
  | { metric: GateMetric; direction: 'ascending' | 'descending' }

export type Parsed<T> = { value: T } | { issue: string }

export const maxConditions = 5

/** Parses `auc>0.8,brier<=0.2`; all conditions must hold. */
export function parseConditions(text: string): Parsed<MetricCondition[]> {
  const parts = text.split(',')
  if (parts.length > maxConditions) return { issue: `has more than ${maxConditions} conditions` }
  const conditions: MetricCondition[] = []
  for (const part of parts) {
    const parsed = parseCondition(part.trim())
    if ('issue' in parsed) return parsed
    conditions.push(parsed.value)
  }
  return { value: conditions }
}

function parseCondition(text: string): Parsed<MetricCondition> {
  const [, name = '', is = '', number = ''] =
    /^(\w+)\s*(>=|<=|>|<|=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)$/i.exec(text) ?? []
  const value = Number(number)
  if (is === '' || !Number.isFinite(value))
    return { issue: `${quotedName(text)} is not a condition such as auc>0.8 (with >, >=, <, <= or =)` }
  const metric = metricNames.find((each) => each.toLowerCase() === name.toLowerCase())
  if (metric === undefined) return { issue: unknownMetric(name) }
  return { value: { metric, is: is as MetricCondition['is'], value } }
}

export function parseOrder(text: string): Parsed<VersionOrder> {
  if (text === 'version' || text === 'newest' || text === 'oldest') return { value: text }
  const worstFirst = text.startsWith('-')
  const name = worstFirst ? text.slice(1) : text
  const metric = metricNames.find((each) => each.toLowerCase() === name.toLowerCase())
  if (metric === undefined)
    return { issue: `${quotedName(text)} is not one of version, newest, oldest; ${unknownMetric(name)}` }
  const direction = higherIsBetter(metric) === worstFirst ? 'ascending' : 'descending'
  return { value: { metric, direction } }
}

const unknownMetric = (name: string): string =>
  `there is no metric ${quotedName(name)}; there are ${metricNames.join(', ')}`

/** Parses the first digits of a digest. */
export function parseDigest(text: string): Parsed<string> {
  const hex = /^(?:sha256:)?([0-9a-f]{6,64})$/i.exec(text)?.[1]
  if (hex === undefined)
    return {
      issue: `${quotedName(text)} is not a digest: "sha256:" may stand before its first 6 to 64 digits`,
    }
  return { value: `sha256:${hex.toLowerCase()}` }
}

/** Parses a time with its zone, or a day, which begins at midnight UTC. An unescaped plus of a zone arrives as a space. */
export function parseMoment(sent: string): Parsed<string> {
  const text = sent.replace(/ (?=\d{2}:\d{2}$)/, '+')
  const day = /^\d{4}-\d{2}-\d{2}/.exec(text)?.[0] ?? ''
  const isFull = /^.{10}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/i.test(text)
  const ms = isFull ? Date.parse(text) : text === day ? Date.parse(`${day}T00:00:00Z`) : NaN
  // JavaScript parses 31 February as a day of March. Postgres has no year 0, and a zone may move a time into it or into the year 10000.
  const isThere =
    Number.isFinite(ms) &&
    /^(?!0000)\d{4}-/.test(new Date(ms).toISOString()) &&
    new Date(Date.parse(day)).toISOString().startsWith(day)
  if (!isThere) return { issue: `Invalid time ${quotedName(sent)}; use 2026-03-01 or 2026-03-01T12:00:00Z` }
  return { value: new Date(ms).toISOString() }
}
