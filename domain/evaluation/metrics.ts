/**
 * Scores predictions on the test rows: each metric as sums over rows or as a function of row weights, so that its value and its
 * bootstrap share one definition.
 */
import { ratioOf } from '../figures.ts'
import { orderOf } from '../metrics/auc.ts'
import type { Statistic } from '../statistics/bootstrap.ts'
import { answeredRows, answerReader, answerWidth, type ModelAnswers } from '../metrics/answers.ts'
import { middlePlace, pinballLoss } from '../model/quantile-levels.ts'
import type { GateMetric, GatePolicy, Task } from './policy.ts'
import { surprise } from '../metrics/metrics.ts'

export interface ScoredRows {
  task: Task
  y: Float64Array
  /** Binary: the probability of class 1. Regression: the predicted value. Quantiles: the middle one. Multiclass: the probability of the truth. */
  score: Float64Array
  /** The predicted class; empty without classes. */
  predicted: Int32Array
  /** Multiclass and binary: the probability of the predicted class. Quantiles: 1 where the truth is between the outermost. */
  confidence: Float64Array
  classes: number
  /** Multiclass: Σ (p_k − 1[y = k])² of each row. Quantiles: the pinball loss of each row. */
  squares: Float64Array
  /** Quantiles: the share of rows that should be between the outermost. */
  coverage?: number
}

/** The scores of the given row indices. */
export function pick(scored: ScoredRows, rows: ArrayLike<number>): ScoredRows {
  const of = (values: Float64Array) => Float64Array.from(rows, (row) => values[row]!)
  return {
    ...scored,
    y: of(scored.y),
    score: of(scored.score),
    confidence: of(scored.confidence),
    squares: of(scored.squares),
    predicted:
      scored.classes === 0 ? scored.predicted : Int32Array.from(rows, (row) => scored.predicted[row]!),
  }
}

/** The rows of each score list, highest first; sorted once. */
const orders = new WeakMap<Float64Array, Uint32Array>()

function highestFirst(score: Float64Array): Uint32Array {
  const known = orders.get(score)
  if (known !== undefined) return known
  const order = orderOf(score).reverse()
  orders.set(score, order)
  return order
}

const lowerIsBetter: ReadonlySet<GateMetric> = new Set([
  'brier',
  'logLoss',
  'rmse',
  'mae',
  'pinball',
  'coverageError',
])

export const higherIsBetter = (metric: GateMetric): boolean => !lowerIsBetter.has(metric)

const metricsOf: Record<Task, readonly GateMetric[]> = {
  binary: ['auc', 'accuracy', 'brier', 'logLoss', 'f1', 'precision', 'recall', 'averagePrecision'],
  multiclass: ['accuracy', 'logLoss', 'brier', 'macroF1'],
  regression: ['rmse', 'mae', 'r2'],
  quantiles: ['pinball', 'coverageError', 'mae'],
}

export const metricsFor = (task: Task): readonly GateMetric[] => metricsOf[task]

/** Why predictions cannot be scored, or null. */
export function unreadableAnswers(task: Task, answers: ModelAnswers, rows: number): string | null {
  if (answeredRows(answers) !== rows) return `${answeredRows(answers)} answers for ${rows} rows`
  const width = answerWidth(answers)
  const rowAt = answerReader(answers)
  for (let i = 0; i < rows; i++) {
    const row = rowAt(i)
    if (row.length !== width || width === 0)
      return `row ${i} has ${row.length} outputs, the first has ${width}`
    if (!row.every(Number.isFinite)) return `row ${i} is not finite`
    if (task === 'regression' || task === 'quantiles') continue
    if (!row.every((p) => p >= 0 && p <= 1)) return `row ${i} has a probability outside 0 to 1`
    const sum = row.reduce((total, p) => total + p, 0)
    if (width > 1 && Math.abs(sum - 1) > 1e-3) return `the probabilities of row ${i} sum to ${sum}`
  }
  if (task === 'regression' && width !== 1) return `${width} outputs a row, a regression has one`
  if (task === 'binary' && width > 2) return `${width} outputs a row, a binary task has one or two`
  if (task === 'multiclass' && width < 2) return `${width} output a row, one is needed for each class`
  return null
}

export function score(
  task: Task,
  y: readonly number[],
  answers: ModelAnswers,
  { threshold, levels = [] }: Pick<GatePolicy, 'threshold' | 'levels'>,
): ScoredRows {
  const rows = y.length
  const classes =
    task === 'regression' || task === 'quantiles' ? 0 : task === 'binary' ? 2 : answerWidth(answers)
  const scored: ScoredRows = {
    task,
    y: Float64Array.from(y),
    score: new Float64Array(rows),
    predicted: new Int32Array(classes === 0 ? 0 : rows),
    confidence: new Float64Array(rows),
    classes,
    squares: new Float64Array(rows),
    coverage: task === 'quantiles' ? levels.at(-1)! - levels[0]! : undefined,
  }
  const middle = middlePlace(levels)
  const rowAt = answerReader(answers)
  for (let i = 0; i < rows; i++) {
    const row = rowAt(i)
    if (task === 'regression') {
      scored.score[i] = row[0]!
    } else if (task === 'quantiles') {
      scored.score[i] = row[middle]!
      scored.confidence[i] = y[i]! >= row[0]! && y[i]! <= row.at(-1)! ? 1 : 0
      scored.squares[i] = pinballLoss(y[i]!, row, levels)
    } else if (task === 'binary') {
      const p = row.length === 1 ? row[0]! : row[1]!
      scored.score[i] = p
      scored.predicted[i] = p >= threshold ? 1 : 0
      scored.confidence[i] = scored.predicted[i] === 1 ? p : 1 - p
      scored.squares[i] = (p - y[i]!) ** 2
    } else {
      let best = 0
      let squares = 0
      row.forEach((p, k) => {
        if (p > row[best]!) best = k
        squares += (p - (y[i] === k ? 1 : 0)) ** 2
      })
      scored.score[i] = row[y[i]!] ?? 0
      scored.predicted[i] = best
      scored.confidence[i] = row[best]!
      scored.squares[i] = squares
    }
  }
  return scored
}

/** Whether the metric is a mean over rows, so that a difference of two is the mean of the row differences. */
export function isMean(metric: GateMetric): boolean {
  return (
    metric === 'accuracy' ||
    metric === 'brier' ||
    metric === 'logLoss' ||
    metric === 'mae' ||
    metric === 'pinball'
  )
}

/** Whether the metric depends on counts alone. */
export function isCounted(metric: GateMetric): boolean {
  return ['accuracy', 'f1', 'precision', 'recall', 'macroF1'].includes(metric)
}

/** 1 where the predicted class is the true one. */
export function correctness({ y, predicted }: ScoredRows): Float64Array {
  return Float64Array.from(predicted, (label, i) => (label === y[i] ? 1 : 0))
}

/** Each row's share of a metric that is a mean over rows, or the root of one; null for metrics that are not. */
export function rowLosses(metric: GateMetric, scored: ScoredRows): Float64Array | null {
  const { task, y, score } = scored
  switch (metric) {
    case 'accuracy':
      return correctness(scored)
    case 'brier':
    case 'pinball':
      return scored.squares
    case 'logLoss':
      return score.map((p, i) => surprise(task === 'binary' && y[i] === 0 ? 1 - p : p))
    case 'rmse':
      return score.map((value, i) => (value - y[i]!) ** 2)
    case 'mae':
      return score.map((value, i) => Math.abs(value - y[i]!))
    default:
      return null
  }
}

export function statisticOf(metric: GateMetric, scored: ScoredRows): Statistic {
  const losses = rowLosses(metric, scored)
  if (losses !== null) {
    const root = metric === 'rmse'
    return {
      kind: 'sums',
      columns: [losses],
      value: (sums, weight) => {
        const mean = ratioOf(sums[0]!, weight)
        return mean === null || !root ? mean : Math.sqrt(mean)
      },
    }
  }
  switch (metric) {
    case 'f1':
      return f1(scored, [1])
    case 'macroF1':
      return f1(
        scored,
        Array.from({ length: scored.classes }, (_, k) => k),
      )
    case 'precision':
      return shareOfHits(scored, ({ predicted }, row) => predicted[row] === 1)
    case 'recall':
      return shareOfHits(scored, ({ y }, row) => y[row] === 1)
    case 'r2':
      return explained(scored)
    case 'coverageError':
      return coverageError(scored)
    case 'averagePrecision':
      return ranked(scored, 'precision')
    default:
      return ranked(scored, 'area')
  }
}

/** The mean F1 over the classes that occur or are predicted; null when none does. */
function f1({ y, predicted }: ScoredRows, classes: number[]): Statistic {
  const indicator = (holds: (i: number) => boolean) => Float64Array.from(y, (_, i) => (holds(i) ? 1 : 0))
  return {
    kind: 'sums',
    columns: classes.flatMap((k) => [
      indicator((i) => predicted[i] === k && y[i] === k),
      indicator((i) => predicted[i] === k),
      indicator((i) => y[i] === k),
    ]),
    value: (sums) => {
      let total = 0
      let present = 0
      for (let at = 0; at < sums.length; at += 3) {
        const whole = sums[at + 1]! + sums[at + 2]!
        if (whole === 0) continue
        total += (2 * sums[at]!) / whole
        present++
      }
      return ratioOf(total, present)
    },
  }
}

/** The true positives among the rows of a kind: predicted positives for precision, positives for recall. Null without such rows. */
function shareOfHits(scored: ScoredRows, isOf: (scored: ScoredRows, row: number) => boolean): Statistic {
  const { y, predicted } = scored
  const whole = Float64Array.from(y, (_, row) => (isOf(scored, row) ? 1 : 0))
  const hits = Float64Array.from(y, (label, row) => (label === 1 && predicted[row] === 1 ? 1 : 0))
  return { kind: 'sums', columns: [hits, whole], value: (sums) => ratioOf(sums[0]!, sums[1]!) }
}

/** How far the share of truths between the outermost quantiles is from the share that their levels promise. */
function coverageError({ confidence, coverage = 0 }: ScoredRows): Statistic {
  return {
    kind: 'sums',
    columns: [confidence],
    value: (sums, weight) => {
      const share = ratioOf(sums[0]!, weight)
      return share === null ? null : Math.abs(share - coverage)
    },
  }
}

function explained({ y, score }: ScoredRows): Statistic {
  const mean = y.reduce((sum, value) => sum + value, 0) / y.length
  const centred = y.map((value) => value - mean) // so that Σy² − (Σy)²/n does not lose all its digits
  return {
    kind: 'sums',
    columns: [score.map((value, i) => (value - y[i]!) ** 2), centred, centred.map((value) => value ** 2)],
    value: (sums, weight) => {
      const spread = sums[2]! - sums[1]! ** 2 / weight
      return spread > 1e-12 * sums[2]! ? 1 - sums[0]! / spread : null
    },
  }
}

/** AUC or average precision from row weights: one pass over the rows, highest score first, ties together. */
function ranked({ y, score }: ScoredRows, of: 'area' | 'precision'): Statistic {
  const order = highestFirst(score)
  const positive = Float64Array.from(order, (row) => (y[row] === 1 ? 1 : 0))
  const ends: number[] = []
  for (let i = 0; i < order.length; i++) {
    if (score[order[i]!] !== score[order[i + 1] ?? -1]) ends.push(i + 1)
  }
  const tieEnds = Uint32Array.from(ends)
  return {
    kind: 'weights',
    value: (weights) => {
      let positives = 0
      let all = 0
      let area = 0
      let precision = 0
      for (let group = 0, i = 0; group < tieEnds.length; group++) {
        let tied = 0
        let tiedPositives = 0
        for (const end = tieEnds[group]!; i < end; i++) {
          const weight = weights[order[i]!]!
          tied += weight
          tiedPositives += weight * positive[i]!
        }
        area += (tied - tiedPositives) * (positives + tiedPositives / 2)
        positives += tiedPositives
        all += tied
        // A row that was not drawn adds nothing; the 1 avoids 0/0.
        precision += (tiedPositives * positives) / (all > 0 ? all : 1)
      }
      return of === 'area' ? ratioOf(area, positives * (all - positives)) : ratioOf(precision, positives)
    },
  }
}
