/**
 * Selects the predictions whose labels are due. Early labels are biased, because a default, a complaint or a delay becomes known before
 * its absence does. A window is measured only when most of its labels have had time to arrive.
 */
import type { OutcomeValue } from '../tasks/output.ts'
import { fourDigits } from '../figures.ts'
import { quantiles } from '@tenure/sequential'

export interface LabelPolicy {
  /** The share of labels that must be due, 0..1. */
  quantile: number
  /** The minimum number of observed delays for an estimate. */
  minDelays: number
  /** The minimum share of labelled predictions of a window, 0..1. */
  minCoverage: number
}

export const defaultLabelPolicy: LabelPolicy = { quantile: 0.95, minDelays: 100, minCoverage: 0.8 }

/** The label delays of the predictions of one period. */
export interface LabelCohort {
  endMs: number
  /** The time from each prediction to its first label. */
  delaysMs: readonly number[]
}

export interface Maturity {
  status: 'ok' | 'insufficient'
  /** The age at which the label of a prediction is due; null while unknown. */
  horizonMs: number | null
  delays: number
}

/**
 * H: the quantile of the delays over fully observed cohorts, which are at least `observedMs` old. A younger cohort has only its fast
 * labels and would underestimate the delays.
 */
export function maturity(
  cohorts: readonly LabelCohort[],
  nowMs: number,
  observedMs: number,
  policy: LabelPolicy = defaultLabelPolicy,
): Maturity {
  const delays = cohorts
    .filter(({ endMs }) => nowMs - endMs >= observedMs)
    .flatMap(({ delaysMs }) => delaysMs.filter((delay) => Number.isFinite(delay) && delay >= 0))
  const [horizonMs = null] = delays.length >= policy.minDelays ? quantiles(delays, [policy.quantile]) : [null]
  return { status: horizonMs === null ? 'insufficient' : 'ok', horizonMs, delays: delays.length }
}

/** The predictions of a matured window of `windowMs`: aged between H and H + W. */
export function maturedSpan(nowMs: number, horizonMs: number, windowMs: number) {
  return { fromMs: nowMs - horizonMs - windowMs, toMs: nowMs - horizonMs }
}

/** One row of the append-only label log. A correction is a new row with a higher revision; the newest observation counts. */
export interface Label {
  predictionId: string
  value: OutcomeValue
  /** The time of the observed event. */
  observedMs: number
  /** The time of arrival. */
  arrivedMs: number
  revision: number
}

export interface MaturedCohort {
  /** `insufficient`: below the required coverage, or without predictions. */
  status: 'ok' | 'insufficient'
  predictions: number
  /** The labels of the predictions, as known at `nowMs`. */
  labelled: { predictionId: string; value: OutcomeValue }[]
  coverage: number | null
  /** Labels of unknown predictions: stored and counted, never measured. */
  unknown: number
  /** Labels with an observation time after their arrival. */
  fromFuture: number
  /** Labels with another revision for the same prediction. */
  revised: number
  /** Labels sent again with the same revision; the last arrival counts. */
  doubled: number
}

/** Joins the matured predictions with the newest of their labels that arrived by `nowMs`. */
export function maturedCohort(
  predictions: readonly { id: string; atMs: number }[],
  labels: readonly Label[],
  span: { fromMs: number; toMs: number; nowMs: number },
  policy: LabelPolicy = defaultLabelPolicy,
): MaturedCohort {
  const known = new Set(predictions.map(({ id }) => id))
  const latest = new Map<string, Label>()
  let [unknown, fromFuture, revised, doubled] = [0, 0, 0, 0]
  for (const label of labels) {
    if (label.arrivedMs > span.nowMs) continue
    if (label.observedMs > label.arrivedMs) {
      fromFuture++
      continue
    }
    if (!known.has(label.predictionId)) {
      unknown++
      continue
    }
    const before = latest.get(label.predictionId)
    if (before !== undefined && before.revision === label.revision) doubled++
    else if (before !== undefined) revised++
    if (before === undefined || isLater(label, before)) latest.set(label.predictionId, label)
  }
  const matured = predictions.filter(({ atMs }) => atMs >= span.fromMs && atMs < span.toMs)
  const labelled = matured.flatMap(({ id }) => {
    const label = latest.get(id)
    return label === undefined ? [] : [{ predictionId: id, value: label.value }]
  })
  const coverage = matured.length === 0 ? null : labelled.length / matured.length
  const status = coverage !== null && coverage >= policy.minCoverage ? 'ok' : 'insufficient'
  return { status, predictions: matured.length, labelled, coverage, unknown, fromFuture, revised, doubled }
}

/** Why a window is not measured: too few of its predictions have an outcome. */
export const lowCoverageText = (
  { coverage, predictions }: { coverage: number | null; predictions: number },
  { minCoverage }: LabelPolicy = defaultLabelPolicy,
): string =>
  `${fourDigits(100 * (coverage ?? 0))} % of ${predictions} predictions have an outcome, ${100 * minCoverage} % are required`

function isLater(a: Label, b: Label): boolean {
  return (a.observedMs - b.observedMs || a.revision - b.revision || a.arrivedMs - b.arrivedMs) >= 0
}
