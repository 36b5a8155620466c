/**
 * Judges quality in production: the gate's primary metric on the outcomes of served predictions, measured only on predictions whose
 * outcomes are due, because early outcomes are biased.
 */
import { pointValue } from '../statistics/bootstrap.ts'
import { truthOf, type OutcomeValue } from '../model/outcome.ts'
import type { Output } from '../model/features.ts'
import { insufficientRows } from '../evaluation/input.ts'
import { higherIsBetter, rowsOfTruths, score, statisticOf } from '../evaluation/metrics.ts'
import type { GateMetric, GatePolicy } from '../evaluation/policy.ts'
import { marginOf } from '../evaluation/metric-table.ts'
import { fourDigits } from '../figures.ts'
import {
  defaultLabelPolicy,
  lowCoverageText,
  maturedCohort,
  type Label,
  type LabelPolicy,
  type MaturedCohort,
  type Maturity,
} from './label-maturity.ts'
import type { Reason } from '../verdict.ts'

const qualityJudge = 'quality@1'

export interface QualityEvidence {
  predictions: readonly { id: string; atMs: number; outputs: readonly number[] }[]
  labels: readonly (Omit<Label, 'value'> & { value: OutcomeValue })[]
  maturity: Maturity
  /** The measured predictions: aged between H and H + W at `nowMs`. */
  span: { fromMs: number; toMs: number; nowMs: number }
  output: Output
  /** The value of the metric in the evaluation of the version; null when undefined. */
  baseline: number | null
}

/**
 * - `held`: not worse than the baseline by more than the margin.
 * - `lost`: worse by more than the margin.
 * - `insufficient`: too few outcomes.
 */
export interface QualityReport {
  level: 'held' | 'lost' | 'insufficient'
  metric: GateMetric
  higherIsBetter: boolean
  value: number | null
  baseline: number | null
  margin: number
  rows: number
  /** Outcomes that the model cannot predict, such as an unknown class. */
  unreadable: number
  cohort: Omit<MaturedCohort, 'labelled'>
  reasons: Reason[]
  judge: string
}

export function judgeQuality(
  evidence: QualityEvidence,
  policy: GatePolicy,
  labelPolicy: LabelPolicy = defaultLabelPolicy,
): QualityReport {
  const { maturity, baseline } = evidence
  const { rows, unreadable, cohort } = maturedTruths(evidence, labelPolicy)
  const { primary: metric } = policy
  const margin = marginOf(metric, baseline, policy)
  const report: QualityReport = {
    level: 'insufficient',
    metric,
    higherIsBetter: higherIsBetter(metric),
    value: null,
    baseline,
    margin,
    rows: rows.length,
    unreadable,
    cohort,
    reasons: [],
    judge: qualityJudge,
  }
  const unmeasured = (code: string, message: string): QualityReport => ({
    ...report,
    reasons: [{ code, message, values: { ...cohort } }],
  })
  if (maturity.horizonMs === null)
    return unmeasured('maturity_unknown', `too few outcome delays for an estimate: ${maturity.delays}`)
  if (cohort.status === 'insufficient')
    return unmeasured('low_coverage', lowCoverageText(cohort, labelPolicy))
  const y = rows.flatMap((row) => row.y)
  const answers = rows.map((row) => row.answer)
  const few = insufficientRows(y, policy)
  if (few.length > 0) return { ...report, reasons: few }
  const value = pointValue(
    statisticOf(metric, score(policy.task, y, answers, policy)),
    rowsOfTruths(y, policy),
  )
  if (value === null || baseline === null) {
    const message = `${metric} is undefined on these rows`
    return { ...report, value, reasons: [{ code: 'undefined', message, values: {} }] }
  }
  const loss = report.higherIsBetter ? baseline - value : value - baseline
  if (loss <= margin) return { ...report, level: 'held', value }
  const message =
    `${metric} ${fourDigits(value)} on ${rows.length} matured outcomes, ${fourDigits(baseline)} at evaluation: ` +
    `worse by more than ${fourDigits(margin)}`
  const reason = { code: 'quality_lost', message, values: { metric, value, baseline, margin } }
  return { ...report, level: 'lost', value, reasons: [reason] }
}

/** The matured predictions with their outcomes, as the gate counts them. */
export interface MaturedTruths {
  /** `y`: as `truthOf` returns it. */
  rows: { y: number[]; answer: number[] }[]
  /** Outcomes that the model cannot predict, such as an unknown class. */
  unreadable: number
  cohort: Omit<MaturedCohort, 'labelled'>
}

export function maturedTruths(
  { predictions, labels, span, output }: Omit<QualityEvidence, 'maturity' | 'baseline'>,
  policy: LabelPolicy = defaultLabelPolicy,
): MaturedTruths {
  const { labelled, ...cohort } = maturedCohort(predictions, labels, span, policy)
  const outputsOf = new Map(predictions.map(({ id, outputs }) => [id, outputs]))
  const rows = labelled.flatMap(({ predictionId, value }) => {
    const y = truthOf(value, output)
    return y === null ? [] : [{ y, answer: [...outputsOf.get(predictionId)!] }]
  })
  return { rows, unreadable: labelled.length - rows.length, cohort }
}
