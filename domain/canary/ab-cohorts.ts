/**
 * Counts the cohorts of an A/B test from predictions and their late outcomes. A period counts only when most of its outcomes are
 * due, and then for both arms alike: earlier, only the fast outcomes are known, which favours an arm that guesses them.
 */
import type { Output, OutcomeValue } from '../tasks/output.ts'
import { defaultLabelPolicy } from '../monitoring/label-maturity.ts'
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

/** The first prediction of a user to an arm, of an age at which most outcomes are known. */
export interface AbPrediction {
  arm: 'canary' | 'control'
  atMs: number
  outputs: readonly number[]
  /** The newest outcome; null while none is known. */
  value: OutcomeValue | null
}

export interface CohortQuestion {
  metric: 'accuracy' | 'conversions'
  /** What the version of each arm answers. */
  outputs: Readonly<Record<AbPrediction['arm'], Output>>
  /** The length of a cohort in milliseconds. */
  spanMs: number
}

export interface CohortCounter {
  add(prediction: AbPrediction): void
  /** The cohorts that ended by `maturedMs`, oldest first, without those of which too few outcomes arrived. */
  cohorts(maturedMs: number): AbCohort[]
}

/** Counts predictions one by one, in memory that grows with periods and not with users. */
export function cohortCounter({ metric, outputs: outputOf, spanMs }: CohortQuestion): CohortCounter {
  const spans = new Map<number, { predictions: number; known: number; cohort: AbCohort }>()
  return {
    add({ arm, atMs, outputs, value }) {
      const from = Math.floor(atMs / spanMs) * spanMs
      let span = spans.get(from)
      if (span === undefined) {
        const none = () => ({ total: 0, events: 0 })
        span = { predictions: 0, known: 0, cohort: { atMs: from, canary: none(), control: none() } }
        spans.set(from, span)
      }
      span.predictions++
      const event = value === null ? null : eventOf(metric, outputOf[arm], outputs, value)
      if (event === null) return
      span.known++
      span.cohort[arm].total++
      if (event) span.cohort[arm].events++
    },
    cohorts: (maturedMs) =>
      [...spans.values()]
        .filter(({ cohort }) => cohort.atMs + spanMs <= maturedMs)
        .filter(({ predictions, known }) => known >= defaultLabelPolicy.minCoverage * predictions)
        .map(({ cohort }) => cohort)
        .sort((a, b) => a.atMs - b.atMs),
  }
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
