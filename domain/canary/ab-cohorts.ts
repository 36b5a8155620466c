/**
 * Builds the cohorts of an A/B test from predictions and their late outcomes. A period counts only when most of its outcomes are
 * due, and then for both arms alike: earlier, only the fast outcomes are known, which favours an arm that guesses them.
 */
import type { Output, OutcomeValue } from '../tasks/output.ts'
import { defaultLabelPolicy, maturity } from '../monitoring/label-maturity.ts'
import { truthOf } from '../model/outcome.ts'
import { decisionOf, taskOf } from '../tasks/tasks.ts'

/** The number of matured predictions, and how many of them had the event. */
type AbArm = { total: number; events: number }

/** The matured predictions of one period. */
export interface AbCohort {
  atMs: number
  canary: AbArm
  control: AbArm
}

export interface AbPrediction {
  arm: 'canary' | 'control'
  atMs: number
  outputs: readonly number[]
  value: OutcomeValue | null
  arrivedMs: number | null
}

export interface CohortQuestion {
  metric: 'accuracy' | 'conversions'
  /** What the version of each arm answers. */
  outputs: Readonly<Record<AbPrediction['arm'], Output>>
  nowMs: number
  /** The length of a cohort in milliseconds. */
  spanMs: number
}

/** The fewest delays from which the delay of most outcomes is estimated. */
const minDelays = 20

/** The matured cohorts, oldest first; none while the delay of outcomes is unknown or too few outcomes arrive. */
export function cohortsOf(answered: readonly AbPrediction[], question: CohortQuestion): AbCohort[] {
  const { metric, outputs: outputOf, nowMs, spanMs } = question
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
    const event = value === null ? null : eventOf(metric, outputOf[arm], outputs, value)
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

/** The delay of most outcomes, estimated from the older half of the predictions; null when unknown. */
export function horizonOf(answered: readonly AbPrediction[], nowMs: number): number | null {
  const firstMs = answered.reduce((first, { atMs }) => Math.min(first, atMs), nowMs)
  const endMs = firstMs + (nowMs - firstMs) / 2
  const delaysMs = answered
    .filter(({ atMs }) => atMs < endMs)
    .flatMap(({ atMs, arrivedMs }) => (arrivedMs === null ? [] : [Math.max(0, arrivedMs - atMs)]))
  return maturity([{ endMs, delaysMs }], nowMs, 0, { ...defaultLabelPolicy, minDelays }).horizonMs
}

/** Whether the event of the metric happened; null where the outcome does not show it. */
function eventOf(
  metric: CohortQuestion['metric'],
  output: Output,
  outputs: readonly number[],
  value: OutcomeValue,
): boolean | null {
  const truth = truthOf(value, output)?.[0]
  if (truth === undefined) return null
  if (metric === 'conversions') return taskOf(output).gate.hasPositives ? truth === 1 : null
  const decision = decisionOf(output, outputs)
  return decision === undefined ? null : decision !== truth
}
