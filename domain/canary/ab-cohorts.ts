/**
 * From answers and their late outcomes to the cohorts of an A/B test. A span of predictions is counted when it is as old as most
 * outcomes are late, and then once for both arms: of young predictions only those are known whose outcome travels fast, and an
 * arm that guesses so would look right.
 */
import type { AbCohort, AbMetric } from './ab-test.ts'
import type { Output } from '../model/features.ts'
import { defaultLabelPolicy, maturity } from '../monitoring/label-maturity.ts'
import { truthOf } from '../monitoring/quality.ts'

export interface AbPrediction {
  arm: 'canary' | 'control'
  atMs: number
  outputs: readonly number[]
  value: number | string | boolean | null
  arrivedMs: number | null
}

export interface CohortQuestion {
  metric: AbMetric
  output: Output
  nowMs: number
  /** The length of a cohort. */
  spanMs: number
}

/** Fewer delays than this say nothing about how late the rest will be. */
const minDelays = 20

/** The matured cohorts, oldest first; none while it is not known how late outcomes are, or too few of them come. */
export function cohortsOf(answered: readonly AbPrediction[], question: CohortQuestion): AbCohort[] {
  const { metric, output, nowMs, spanMs } = question
  const horizonMs = horizonOf(answered, nowMs)
  if (horizonMs === null) return []
  const spans = new Map<number, { predictions: number; known: number; cohort: AbCohort }>()
  for (const { arm, atMs, outputs, value } of answered) {
    const from = Math.floor(atMs / spanMs) * spanMs
    if (from + spanMs > nowMs - horizonMs) continue
    let span = spans.get(from)
    if (span === undefined) {
      const none = () => ({ total: 0, events: 0 })
      span = { predictions: 0, known: 0, cohort: { atMs: from, canary: none(), control: none() } }
      spans.set(from, span)
    }
    span.predictions++
    const event = value === null ? null : eventOf(metric, { output, outputs, value })
    if (event === null) continue
    span.known++
    span.cohort[arm].total++
    if (event) span.cohort[arm].events++
  }
  return [...spans.values()]
    .filter(({ predictions, known }) => known >= defaultLabelPolicy.minCoverage * predictions)
    .map(({ cohort }) => cohort)
    .sort((a, b) => a.atMs - b.atMs)
}

/** How late most outcomes are, told by the older half of the predictions. */
function horizonOf(answered: readonly AbPrediction[], nowMs: number): number | null {
  const firstMs = answered.reduce((first, { atMs }) => Math.min(first, atMs), nowMs)
  const endMs = firstMs + (nowMs - firstMs) / 2
  const delaysMs = answered
    .filter(({ atMs }) => atMs < endMs)
    .flatMap(({ atMs, arrivedMs }) => (arrivedMs === null ? [] : [Math.max(0, arrivedMs - atMs)]))
  return maturity([{ endMs, delaysMs }], nowMs, 0, { ...defaultLabelPolicy, minDelays }).horizonMs
}

/** Whether the event of the metric happened; null where the outcome does not say. */
function eventOf(
  metric: AbMetric,
  {
    output,
    outputs,
    value,
  }: { output: Output; outputs: readonly number[]; value: number | string | boolean },
): boolean | null {
  const truth = truthOf(typeof value === 'boolean' ? Number(value) : value, output)
  if (truth === null) return null
  if (metric === 'conversions') return output.kind === 'classes' ? null : truth !== 0
  switch (output.kind) {
    case 'probability':
      return Number((outputs[0] ?? NaN) >= output.threshold) !== truth
    case 'classes':
      return outputs.indexOf(Math.max(...outputs)) !== truth
    case 'number':
      return null
    default:
      return output satisfies never
  }
}
