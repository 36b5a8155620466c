/**
 * The offline gate: challenger and live champion on the same frozen rows. It answers with an interval, not with
 * two numbers side by side: a retrained model that merely drew a luckier test set must not replace a champion,
 * and a model that is worse where it matters must not hide behind a better average.
 */

import type { GateMetric, GatePolicy } from './gate-policy.ts'
import type { Reason } from './verdict.ts'

export interface GateInput {
  /** Class index (0 or 1 in a binary task), or the target of a regression. */
  y: number[]
  /** One row a prediction: class probabilities (one column suffices in a binary task), or the predicted value. */
  challenger: number[][]
  /** The live champion on the same rows; null for the first version of a model. */
  champion: number[][] | null
  /** The best release of the last 90 days, so that many small "not worse" cannot add up. */
  anchor?: number[][] | null
  /** What needs no model: the majority class, the last value. The mean or the majority of `y` when absent. */
  baseline?: number[][] | null
  /** Predeclared; `rows` are indices. A declared slice without rows fails. At most 50. */
  slices?: { name: string; rows: number[] }[]
  /** One value a row; null where unknown. */
  groups?: { attribute: string; values: (string | null)[] }[]
  /** Who or what a row belongs to, when one has several rows: they are drawn together. */
  entities?: (string | number)[]
  leakage?: LeakageFacts
  /** How many decisions this test set has served before this one. */
  testSetUses?: number
}

/** What was found about the data before the model was asked. */
export interface LeakageFacts {
  /** The share of test rows that were also trained on. */
  rowOverlap?: number
  /** The share of test entities that were also trained on, where the split is by entity. */
  entityOverlap?: number
  /** Rows whose label was known no later than their features. */
  labelNotAfterFeature?: number
  /** How well each feature alone separates the classes; null where undefined. */
  featureAuc?: { feature: string; auc: number | null }[]
}

/**
 * - `better`: the whole interval of the difference speaks for the challenger.
 * - `not_worse`: it is surely not worse than the champion by more than the margin.
 * - `not_better`: it is worse, may be worse, or is blocked; the data scientist is told.
 * - `insufficient`: too few rows to say anything.
 */
export type GateVerdict = 'better' | 'not_worse' | 'not_better' | 'insufficient'

export interface GateMetricRow {
  metric: GateMetric
  /** Whether more is better. */
  higherIsBetter: boolean
  champion: number | null
  challenger: number | null
  baseline: number | null
  /** The challenger's gain: positive is better, whatever the direction of the metric. */
  delta: number | null
  /** The two-sided interval of the gain. */
  low: number | null
  high: number | null
  /** The one-sided lower bound of the gain, compared with −margin. */
  oneSidedLow: number | null
  /** McNemar's or DeLong's p; null where the interval is the test. */
  p: number | null
  margin: number | null
  floor: number | null
  method: 'delong' | 'mcnemar' | 'bootstrap' | 'none'
  verdict: GateVerdict | 'floor_met' | 'floor_missed' | 'undefined'
}

export interface GateSliceRow {
  name: string
  rows: number
  positives: number | null
  champion: number | null
  challenger: number | null
  delta: number | null
  p: number | null
  adjustedP: number | null
  verdict: 'ok' | 'blocked' | 'insufficient' | 'missing'
}

export interface GateCalibration {
  champion: { brier: number | null; ece: number | null; mce: number | null } | null
  challenger: { brier: number | null; ece: number | null; mce: number | null }
  verdict: 'ok' | 'blocked' | 'undefined'
}

export interface GateFairnessRow {
  attribute: string
  groups: {
    group: string
    rows: number
    selectionRate: number | null
    tpr: number | null
    fpr: number | null
    judged: boolean
  }[]
  /** Each with its bootstrap interval; null where undefined, never 0. */
  selectionRatio: Estimate
  tprDifference: Estimate
  fprDifference: Estimate
  verdict: 'ok' | 'blocked' | 'undefined'
}

export interface Estimate {
  value: number | null
  low: number | null
  high: number | null
}

export interface GateReport {
  verdict: GateVerdict
  /** Too good to be true, or a test set used too often to trust: a person has to look, whatever the verdict. */
  needsPerson: boolean
  /** Every reason for the verdict, the blocking ones first. */
  reasons: Reason[]
  /** What a person should know although it did not decide. */
  warnings: Reason[]
  rows: number
  positives: number | null
  metrics: GateMetricRow[]
  slices: GateSliceRow[]
  calibration: GateCalibration | null
  fairness: GateFairnessRow[]
  policy: GatePolicy
  judge: string
}
