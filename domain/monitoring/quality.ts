/**
 * Judges quality in production: the gate's primary metric, or what stands in for a custom one, on the outcomes of served predictions.
 * Measures only predictions whose outcomes are due, because early outcomes are biased.
 */
import { pointValue } from '@tenure/sequential'
import {
  certainExcess,
  compareFloors,
  errorAtLimit,
  errorOfChange,
  intervalOf,
  metricError,
  type FloorBreach,
} from '../statistics/certainty.ts'
import { truthOf } from '../model/outcome.ts'
import type { OutcomeValue, Output } from '../tasks/output.ts'
import { insufficientRows } from '../evaluation/input.ts'
import {
  higherIsBetter,
  isCounted,
  isShare,
  rowsOfTruths,
  score,
  shareRows,
  statisticOf,
} from '../evaluation/metrics.ts'
import { builtInPrimary, type GatePolicy } from '../evaluation/policy.ts'
import { marginOf } from '../evaluation/metric-table.ts'
import { fourDigits, groupedDigits, metricName } from '../figures.ts'
import {
  defaultLabelPolicy,
  lowCoverageText,
  maturedCohort,
  type Label,
  type LabelPolicy,
  type MaturedCohort,
  type Maturity,
} from './label-maturity.ts'
import type { QualityFloors, QualityPolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'
import type { GateMetric } from '../evaluation/gate-metrics.ts'
import type { ScoredRows } from '../evaluation/scored-rows.ts'
import { gateOf } from '../tasks/tasks.ts'

const qualityJudge = 'quality@2'

export interface QualityEvidence {
  /** `routingKey`: the rows of one key vary together and count as one draw. */
  predictions: readonly { id: string; atMs: number; outputs: readonly number[]; routingKey?: string }[]
  labels: readonly (Omit<Label, 'value'> & { value: OutcomeValue })[]
  maturity: Maturity
  /** The measured predictions: aged between H and H + W at `nowMs`. */
  span: { fromMs: number; toMs: number; nowMs: number }
  output: Output
  /** The value of the metric in the evaluation of the version; null when undefined. */
  baseline: number | null
  /** The test rows of that evaluation, which vary too; as if there were no end of them when absent. */
  baselineRows?: number
}

/** What people read of a level. A value past the limit may be chance; it is `held` too. */
export const qualityText = {
  held: 'no certain loss',
  lost: 'lost',
  insufficient: 'too few outcomes',
} as const satisfies Record<QualityReport['level'], string>

/**
 * - `held`: not certainly worse than the baseline by more than the margin.
 * - `lost`: certainly worse by more than the margin.
 * - `insufficient`: too few outcomes.
 */
export interface QualityReport {
  level: 'held' | 'lost' | 'insufficient'
  metric: GateMetric
  higherIsBetter: boolean
  value: number | null
  /** The standard error of the value; null when undefined. */
  standardError: number | null
  baseline: number | null
  margin: number
  rows: number
  /** Metrics beside the primary one: those of counts, such as precision and recall, and those with floors. */
  metrics: WindowMetric[]
  /** Outcomes that the model cannot predict, such as an unknown class. */
  unreadable: number
  cohort: Omit<MaturedCohort, 'labelled'>
  reasons: Reason[]
  judge: string
}

/** A metric of a window; nulls where it is undefined on these rows. */
export interface WindowMetric {
  metric: GateMetric
  value: number | null
  /** Also null where too few rows show it: the predicted positives of a precision, for example. */
  standardError: number | null
  /** The interval of 95 %. */
  low: number | null
  high: number | null
  /** The rows that it is a share of. */
  rows: number
}

/** `watched`: the metrics with floors. */
export function judgeQuality(
  evidence: QualityEvidence,
  policy: GatePolicy,
  {
    watched = [],
    labelPolicy = defaultLabelPolicy,
  }: { watched?: readonly GateMetric[]; labelPolicy?: LabelPolicy } = {},
): QualityReport {
  const { maturity, baseline, baselineRows = Infinity } = evidence
  const { rows, unreadable, cohort } = maturedTruths(evidence, labelPolicy)
  const metric = builtInPrimary(policy)
  const margin = marginOf(metric, baseline, policy)
  const report: QualityReport = {
    level: 'insufficient',
    metric,
    higherIsBetter: higherIsBetter(metric),
    value: null,
    standardError: null,
    baseline,
    margin,
    rows: rows.length,
    metrics: [],
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
  const few = insufficientRows(y, policy, 'with a matured outcome')
  if (few.length > 0) return { ...report, reasons: few }
  const scored = score(policy.task, y, answers, policy)
  const statistic = statisticOf(metric, scored)
  const routingKeys = rows.map(({ entity }) => entity)
  const counted = gateOf(policy.task).metrics.filter(isCounted)
  report.metrics = [...new Set([...counted, ...watched])]
    .filter((each) => each !== metric)
    .map((each) => windowMetric(each, scored, { routingKeys, seed: policy.seed }))
  const value = pointValue(statistic, rowsOfTruths(y, policy))
  if (value === null || baseline === null) {
    const message = `${metricName(metric)} is undefined on these rows`
    return { ...report, value, reasons: [{ code: 'undefined', message, values: {} }] }
  }
  const standardError = metricError(statistic, { routingKeys, seed: policy.seed })
  const measured = { ...report, value, standardError }
  const loss = report.higherIsBetter ? baseline - value : value - baseline
  if (loss <= margin) return { ...measured, level: 'held' }
  const limit = report.higherIsBetter ? baseline - margin : baseline + margin
  const compared = { isShare: isShare(metric), value, limit, rows: rows.length }
  const error = errorOfChange(errorAtLimit(standardError, compared), { rows: rows.length, baselineRows })
  const certain = certainExcess(loss - margin, error)
  const isLost = certain !== null && certain > 0
  const figures = `${metricName(metric)} ${fourDigits(value)} on ${groupedDigits(rows.length)} matured outcomes, ${fourDigits(baseline)} at evaluation`
  const message = `${figures}: worse by ${fourDigits(loss)}, ${isLost ? 'certainly' : 'not certainly'} by more than ${fourDigits(margin)}`
  const values = {
    metric,
    value,
    baseline,
    margin,
    loss,
    error,
    least: certain === null ? null : margin + certain,
  }
  const reason = { code: isLost ? 'quality_lost' : 'loss_uncertain', message, values }
  return { ...measured, level: isLost ? 'lost' : 'held', reasons: [reason] }
}

/** A share of fewer rows is doubtful whatever its value: the normal approximation of its error does not hold. */
const minShareRows = 30

function windowMetric(
  metric: GateMetric,
  scored: ScoredRows,
  draws: { routingKeys: readonly string[]; seed: number },
): WindowMetric {
  const statistic = statisticOf(metric, scored)
  const value = pointValue(statistic, scored.y.length)
  const rows = shareRows(metric, scored)
  if (value === null) return { metric, value, standardError: null, low: null, high: null, rows }
  const error = metricError(statistic, draws)
  const { low = null, high = null } = intervalOf({ value, error, rows, isShare: isShare(metric) }) ?? {}
  return { metric, value, standardError: rows < minShareRows ? null : error, low, high, rows }
}

/** Whether the loss is at most the margin. One beyond it that may be chance is held with a reason, and neither raises an alarm nor ends one. */
export const isWithinMargin = ({
  level,
  reasons,
}: {
  level: QualityReport['level']
  reasons: readonly unknown[]
}): boolean => level === 'held' && reasons.length === 0

/** The floors of metrics beside the primary one, by metric; undefined ones are not measured. */
export const judgeFloors = (
  { level, metrics }: Pick<QualityReport, 'level' | 'metrics'>,
  { metrics: floors = {} }: QualityPolicy,
): [WindowMetric, FloorReport][] =>
  metrics.flatMap((each) => {
    const declared = floors[each.metric]
    const found =
      declared && judgeFloor({ ...each, level, higherIsBetter: higherIsBetter(each.metric) }, declared)
    return found === undefined ? [] : [[each, found]]
  })

export interface FloorReport extends Omit<FloorBreach, 'text'> {
  /** Empty when it is held. */
  reasons: string[]
}

/**
 * Compares a measured quality with its floors, which do not depend on the evaluation. A model that is as good as a floor is below it in
 * every second window by chance, so only a value that is certainly beyond it counts. Undefined when the quality is not measured.
 */
export function judgeFloor(
  quality: Pick<QualityReport, 'level' | 'metric' | 'value' | 'standardError' | 'higherIsBetter' | 'rows'>,
  { warn, alarm }: QualityFloors,
): FloorReport | undefined {
  const { level, metric, value, standardError: error, higherIsBetter, rows } = quality
  if (value === null || level === 'insufficient') return undefined
  if (isShare(metric) && rows < minShareRows) {
    const message = `${metricName(metric)} ${fourDigits(value)} is of ${groupedDigits(rows)} rows, which show neither side of a floor`
    return { level: 'doubtful', alarm: 'doubtful', limit: alarm ?? warn ?? null, reasons: [message] }
  }
  const errorAt = (limit: number) => errorAtLimit(error, { isShare: isShare(metric), value, limit, rows })
  const { text, ...found } = compareFloors({ value, errorAt }, { warn, alarm, higherIsBetter })
  const message = `${metricName(metric)} ${fourDigits(value)} on ${groupedDigits(rows)} matured outcomes: ${text}`
  return { ...found, reasons: found.level === 'held' ? [] : [message] }
}

/** The matured predictions with their outcomes, as the gate counts them. */
export interface MaturedTruths {
  /** `y`: as `truthOf` returns it. `entity`: the routing key, or the prediction without one. */
  rows: { y: number[]; answer: number[]; entity: string }[]
  /** Outcomes that the model cannot predict, such as an unknown class. */
  unreadable: number
  cohort: Omit<MaturedCohort, 'labelled'>
}

export function maturedTruths(
  { predictions, labels, span, output }: Omit<QualityEvidence, 'maturity' | 'baseline' | 'baselineRows'>,
  policy: LabelPolicy = defaultLabelPolicy,
): MaturedTruths {
  const { labelled, ...cohort } = maturedCohort(predictions, labels, span, policy)
  const known = new Map(predictions.map((each) => [each.id, each]))
  const rows = labelled.flatMap(({ predictionId, value }) => {
    const y = truthOf(value, output)
    const { outputs, routingKey: entity = predictionId } = known.get(predictionId)!
    return y === null ? [] : [{ y, answer: [...outputs], entity }]
  })
  return { rows, unreadable: labelled.length - rows.length, cohort }
}
