/** Holds the scores of a model's answers to the test rows, from which each metric is computed. */
import { flags } from '../statistics/flags.ts'
import type { TaskName } from '../tasks/output.ts'

export interface ScoredRows {
  task: TaskName
  y: Float64Array
  /** Binary: the probability of class 1. Regression: the predicted value. Quantiles: the middle one. Multiclass: the probability of the truth. */
  score: Float64Array
  /** The predicted class index; empty without classes. */
  predicted: Uint16Array
  /** Multiclass: the probability of the predicted class. Empty for others. */
  confidence: Float64Array
  classes: number
  /** Multiclass: Σ (p_k − 1[y = k])² per row. Quantiles: the pinball loss per row. Empty for others. */
  squares: Float64Array
  /** Several numbers per row: the scores of each. `y` and `score` are those of the first number. Empty for others. */
  parts: readonly ScoredNumber[]
  /** Quantiles: bits that say whether the truth is below, or at or below, the first quantile, then the last one. Empty for others. */
  sides: Uint8Array
  /** Quantiles: the first and the last level. */
  outermost?: readonly [number, number]
  /** Binary: the share of the rows that can be looked at. */
  top?: number
  /** The weight of each row, with a mean of 1; absent where each counts as one. */
  weights?: Float64Array
}

/** The scores of one number, of several per row. */
export interface ScoredNumber {
  name: string
  y: Float64Array
  score: Float64Array
}

/** Scores of 0 for each row, without the lists that only some tasks need: of ten million rows each list takes 80 MB. */
export function emptyScores(task: TaskName, y: Float64Array): ScoredRows {
  const none = new Float64Array(0)
  return {
    task,
    y,
    score: new Float64Array(y.length),
    predicted: new Uint16Array(0),
    confidence: none,
    classes: 0,
    squares: none,
    sides: new Uint8Array(0),
    parts: [],
  }
}

/** 1 when the predicted class is the true class. */
export function correctness({ y, predicted }: ScoredRows): Uint8Array {
  return flags(predicted.length, (row) => predicted[row] === y[row])
}

/** The machine epsilon that keeps the log loss of a certain, wrong row finite. */
const epsilon = 2 ** -52

/** A log loss in [0, 1]: in units of ln 1,000, so that all probabilities of the outcome below 0.001 count as 1. */
export const scaledSurprise = (probability: number): number =>
  Number.isNaN(probability) ? NaN : Math.min(1, surprise(probability) / Math.log(1_000))

/** The log loss of a row: −ln of the probability of the outcome, clipped at machine precision. */
export const surprise = (probability: number): number =>
  -Math.log(Math.min(1 - epsilon, Math.max(epsilon, probability)))
