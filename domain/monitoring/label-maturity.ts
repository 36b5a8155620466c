/**
 * Labels that come late. Quality measured on the labels that happen to be there is wrong in one direction: defaults,
 * complaints and delays become known before their absence does. So a window is measured when its labels have had time
 * to come, and not at all when too few of them have.
 */

import { quantiles } from '../statistics/quantiles.ts'

export interface LabelPolicy {
  /** The share of labels that must have had time to come. */
  quantile: number
  /** Fewer observed delays than this say nothing about the rest. */
  minDelays: number
  /** A window with a smaller share of labelled predictions is not measured. */
  minCoverage: number
}

export const defaultLabelPolicy: LabelPolicy = { quantile: 0.95, minDelays: 100, minCoverage: 0.8 }

/** Predictions of one span of time and how late the labels that have come were. */
export interface LabelCohort {
  endMs: number
  /** From prediction to the arrival of its first label. */
  delaysMs: readonly number[]
}

export interface Maturity {
  status: 'ok' | 'insufficient'
  /** The age from which a prediction's label is to be expected; null while it is not known. */
  horizonMs: number | null
  delays: number
}

/**
 * H: the quantile of arrival delays over fully observed cohorts, those at least `observedMs` old. A young cohort only
 * shows its fast labels, and would make labels look faster than they are.
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

/** The span of predictions a window of `windowMs` may be measured on now: aged between H and H + W. */
export function maturedSpan(
  nowMs: number,
  horizonMs: number,
  windowMs: number,
): { fromMs: number; toMs: number } {
  return { fromMs: nowMs - horizonMs - windowMs, toMs: nowMs - horizonMs }
}

/** One row of the append-only label log. A correction is a new row with a higher revision. */
export interface Label {
  predictionId: string
  value: number | string
  /** When it became true in the world. */
  observedMs: number
  /** When it reached us. */
  arrivedMs: number
  revision: number
}

export interface MaturedCohort {
  /** `insufficient` below the coverage asked for, and without a prediction. */
  status: 'ok' | 'insufficient'
  predictions: number
  /** The label of each prediction that has one, as known at `nowMs`. */
  labelled: { predictionId: string; value: number | string }[]
  coverage: number | null
  /** Labels of predictions we do not know: kept, counted, never measured. */
  unknown: number
  /** Labels that say they were observed after they arrived. */
  fromFuture: number
  /** Labels that another revision of the same prediction stands beside. */
  revised: number
  /** Labels sent again with the revision they had; the one that arrived last counts. */
  doubled: number
}

/** Joins the matured predictions with the latest revision of their label that had arrived by `nowMs`. */
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

function isLater(a: Label, b: Label): boolean {
  return a.revision > b.revision || (a.revision === b.revision && a.arrivedMs >= b.arrivedMs)
}
