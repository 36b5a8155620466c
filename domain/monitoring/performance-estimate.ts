/**
 * Estimates quality before outcomes arrive, from the confidence of the predictions (CBPE). It detects harder inputs but not concept
 * drift, so it only warns and never promotes or rolls back.
 */
import {
  auc,
  aucError,
  expectedMetrics,
  type ExpectedMetrics,
  fitRecalibration,
  recalibrated,
  type Recalibration,
} from '@tenure/sequential'
import type { GatePolicy } from '../evaluation/policy.ts'
import { marginOf } from '../evaluation/metric-table.ts'
import { fourDigits, groupedDigits, metricName } from '../figures.ts'
import type { Reason } from '../verdict.ts'

const estimateJudge = 'estimate@1'

export interface EstimatePolicy {
  /** A drop is significant at this number of standard errors beyond the margin. */
  deviations: number
}

export const defaultEstimatePolicy: EstimatePolicy = { deviations: 2 }

export interface EstimateEvidence {
  /** Matured predictions with their outcomes. */
  matured: readonly { y: number; p: number }[]
  /** Predictions without an outcome. */
  recent: readonly number[]
  threshold: number
  /** The values of the metrics in the evaluation of the version, for display. */
  evaluated: { accuracy: number | null; auc: number | null }
}

export interface EstimatedMetric {
  metric: 'accuracy' | 'auc'
  /** On the matured rows. */
  measured: number | null
  /** The expected value from the recalibrated probabilities, of the matured and of the recent predictions. */
  promisedThen: number | null
  promisedNow: number | null
  /** `measured` plus the change of the expected value. */
  estimate: number | null
  evaluated: number | null
  /** The gate's margin. */
  margin: number | null
  /** The drop that warns: the margin plus the standard errors of both windows. */
  limit: number | null
}

/**
 * - `held`: no metric is expected to be worse by more than its margin.
 * - `doubtful`: one is, perhaps by chance.
 * - `lower`: one is expected to be worse by more than its limit.
 * - `insufficient`: too few rows on one side, or probabilities that cannot be recalibrated.
 */
export interface EstimateReport {
  verdict: 'held' | 'doubtful' | 'lower' | 'insufficient'
  metrics: EstimatedMetric[]
  recalibration: Recalibration | null
  rows: { matured: number; recent: number }
  reasons: Reason[]
  judge: string
}

export function judgeEstimate(
  { threshold, evaluated, ...given }: EstimateEvidence,
  gate: Pick<GatePolicy, 'evidence' | 'margins'>,
  policy: EstimatePolicy = defaultEstimatePolicy,
): EstimateReport {
  const matured = given.matured.filter(({ p }) => isProbability(p))
  const recent = given.recent.filter(isProbability)
  const y = matured.map((row) => row.y)
  const p = matured.map((row) => row.p)
  const rows = { matured: p.length, recent: recent.length }
  const positives = y.filter((value) => value === 1).length
  const { evidence } = gate
  const enough =
    Math.min(rows.matured, rows.recent) >= evidence.rows &&
    positives >= evidence.positives &&
    y.length - positives >= evidence.negatives
  const recalibration = enough ? fitRecalibration(y, p) : null
  const report = { recalibration, rows, metrics: [], reasons: [], judge: estimateJudge }
  if (recalibration === null) {
    const message = enough
      ? `the probabilities of ${rows.matured} matured predictions cannot be recalibrated`
      : `too few rows for an estimate: ${rows.recent} recent and ${rows.matured} matured predictions, ${positives} of them positive`
    const reason = { code: enough ? 'uncalibrated' : 'too_few', message, values: { ...rows, positives } }
    return { ...report, verdict: 'insufficient', reasons: [reason] }
  }
  const promise = (answers: readonly number[]) =>
    expectedMetrics(
      answers.map((answer) => recalibrated(recalibration, answer)),
      answers.map((answer) => Number(answer >= threshold)),
    )
  const [then, now] = [promise(p), promise(recent)]
  const right = matured.filter((row) => Number(row.p >= threshold) === row.y).length
  const measured = { accuracy: right / rows.matured, auc: auc(y, p) }
  const metrics = (['accuracy', 'auc'] as const).map((metric): EstimatedMetric => {
    const [was, is, base] = [then[metric], now[metric], measured[metric]]
    const known = was !== null && is !== null && base !== null
    const errors = Math.hypot(errorOf(metric, then), errorOf(metric, now))
    const margin = known ? marginOf(metric, base, gate) : null
    return {
      metric,
      measured: base,
      promisedThen: was,
      promisedNow: is,
      estimate: known ? Math.min(1, Math.max(0, base + is - was)) : null,
      evaluated: evaluated[metric],
      margin,
      limit: margin === null ? null : margin + policy.deviations * errors,
    }
  })
  const reasons = metrics.flatMap((each) => reasonOf(each, rows))
  if (metrics.some(({ limit }) => limit === null)) return { ...report, verdict: 'insufficient', metrics }
  const isHeld = metrics.every((each) => dropOf(each) <= each.margin!)
  return { ...report, verdict: reasons.length > 0 ? 'lower' : isHeld ? 'held' : 'doubtful', metrics, reasons }
}

const dropOf = ({ promisedThen, promisedNow }: EstimatedMetric): number => promisedThen! - promisedNow!

const isProbability = (p: number): boolean => p >= 0 && p <= 1

/** The standard error of the metric if every row had a label. */
function errorOf(metric: 'accuracy' | 'auc', { tp, fp, fn, tn, ...values }: ExpectedMetrics): number {
  const value = values[metric]
  if (value === null || tp === null || fp === null || fn === null || tn === null) return Infinity
  const [positives, negatives] = [tp + fn, fp + tn]
  if (metric === 'accuracy') return Math.sqrt((value * (1 - value)) / (positives + negatives))
  return aucError(value, positives, negatives)
}

function reasonOf(each: EstimatedMetric, rows: EstimateReport['rows']): Reason[] {
  const { metric, measured, promisedThen, promisedNow, estimate, limit } = each
  if (promisedThen === null || promisedNow === null || limit === null) return []
  if (!(dropOf(each) > limit)) return []
  const message =
    `estimated ${metricName(metric)} ${fourDigits(estimate)} on ${groupedDigits(rows.recent)} predictions without outcomes, measured ${fourDigits(measured)} on ` +
    `${groupedDigits(rows.matured)} matured ones: expected ${fourDigits(promisedNow)} after ${fourDigits(promisedThen)}, drop > ${fourDigits(limit)}`
  return [{ code: 'estimated_quality', message, values: { ...each } }]
}
