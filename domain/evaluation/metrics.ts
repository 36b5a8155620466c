/**
 * Scores predictions on the test rows. Each metric is a sum over rows or a function of row weights, so its value and its bootstrap share
 * one definition.
 */
import { ratioOf } from '../figures.ts'
import {
  meanOfStatistics,
  rankStatistic,
  topStatistic,
  weightedStatistic,
  type Statistic,
} from '@tenure/sequential'
import { flags } from '../statistics/flags.ts'
import { pickInto } from '../statistics/pick-into.ts'
import { answeredRows, answerReader, answerWidth, type ModelAnswers } from '../metrics/answers.ts'
import { coveredShare } from '../metrics/level-shares.ts'
import type { GatePolicy } from './policy.ts'
import { defaultTop, metricScales, type GateMetric } from './gate-metrics.ts'
import type { TaskName } from '../tasks/output.ts'
import { gateOf } from '../tasks/tasks.ts'
import type { GateFacts } from '../tasks/task.ts'
import { correctness, type ScoredRows, type ScoredNumber } from './scored-rows.ts'

/** The scores of the given row indices. */
export function pick(scored: ScoredRows, rows: ArrayLike<number>): ScoredRows {
  const doubles = (values: Float64Array) =>
    values.length === 0 ? values : pickInto(new Float64Array(rows.length), values, rows)
  return {
    ...scored,
    y: doubles(scored.y),
    score: doubles(scored.score),
    confidence: doubles(scored.confidence),
    squares: doubles(scored.squares),
    sides: pickInto(new Uint8Array(scored.sides.length === 0 ? 0 : rows.length), scored.sides, rows),
    parts: scored.parts.map(({ name, y, score }) => ({ name, y: doubles(y), score: doubles(score) })),
    weights: scored.weights && doubles(scored.weights),
    predicted: pickInto(new Uint16Array(scored.classes === 0 ? 0 : rows.length), scored.predicted, rows),
  }
}

export const isShare = (metric: GateMetric): boolean => metricScales[metric].range === 'share'

export const higherIsBetter = (metric: GateMetric): boolean => metricScales[metric].better === 'higher'

/** Why predictions cannot be scored, or null. */
export function unreadableAnswers(task: TaskName, answers: ModelAnswers, rows: number): string | null {
  if (answeredRows(answers) !== rows) return `${answeredRows(answers)} answers for ${rows} rows`
  const width = answerWidth(answers)
  const classes = gateOf(task).classes(width)
  const rowAt = answerReader(answers)
  for (let i = 0; i < rows; i++) {
    const row = rowAt(i)
    if (row.length !== width || width === 0)
      return `row ${i} has ${row.length} outputs, the first has ${width}`
    if (!row.every(Number.isFinite)) return `row ${i} is not finite`
    if (classes === 0) continue
    if (!row.every((p) => p >= 0 && p <= 1)) return `row ${i} has a probability outside 0 to 1`
    const sum = row.reduce((total, p) => total + p, 0)
    if (width > 1 && Math.abs(sum - 1) > 1e-3) return `the probabilities of row ${i} sum to ${sum}`
  }
  return gateOf(task).widthIssue(width)
}

/** The number of rows of these truths: one truth per row, or one per target. */
export const rowsOfTruths = (y: ArrayLike<number>, { targets }: Pick<GatePolicy, 'targets'>): number =>
  y.length / (targets?.length ?? 1)

/** The truths of some targets, in their order. Default: of all targets. */
export function truthsOf(
  y: readonly number[],
  { targets = [] }: Pick<GatePolicy, 'targets'>,
  names = targets,
): readonly number[] {
  if (names.length === targets.length) return y
  const places = names.map((name) => targets.indexOf(name))
  return Array.from({ length: y.length / targets.length }, (_, row) =>
    places.map((place) => y[row * targets.length + place]!),
  ).flat()
}

/** `y`: row by row. Compared models share it. */
export const score = (
  task: TaskName,
  y: readonly number[] | Float64Array,
  answers: ModelAnswers,
  policy: GateFacts,
): ScoredRows => gateOf(task).score(y instanceof Float64Array ? y : Float64Array.from(y), answers, policy)

/** For several numbers per row, the scores of each number; otherwise the scores themselves. */
export const scoresOfNumbers = (scored: ScoredRows): ScoredRows[] =>
  scored.parts.length === 0 ? [scored] : scored.parts.map((part) => ({ ...scored, ...part, parts: [] }))

/** Leaves out the numbers that the other model does not answer. */
export function sharedScores(scored: ScoredRows, { parts: others }: ScoredRows): ScoredRows {
  const parts = scored.parts.filter(({ name }) => others.some((other) => other.name === name))
  if (parts.length === scored.parts.length) return scored
  const { y, score } = parts[0]!
  return { ...scored, y, score, parts }
}

/** Whether the metric is a mean over rows, so that a difference of two metrics is the mean of the row differences. */
export const isMean = (metric: GateMetric): boolean => isOfRows(metric) && metric !== 'rmse'

/** Whether the metric depends on counts only. */
export function isCounted(metric: GateMetric): boolean {
  return ['accuracy', 'f1', 'precision', 'recall', 'macroF1'].includes(metric)
}

/** The metrics that are a mean over rows, or the root of such a mean. */
type RowMetric = 'accuracy' | 'brier' | 'logLoss' | 'rmse' | 'mae' | 'pinball'

const lossesOf: Record<RowMetric, (scored: ScoredRows) => Float64Array> = {
  accuracy: (scored) => new Float64Array(correctness(scored)),
  brier: (scored) => gateOf(scored.task).losses.brier!(scored),
  logLoss: (scored) => gateOf(scored.task).losses.logLoss!(scored),
  rmse: ({ y, score }) => score.map((value, i) => (value - y[i]!) ** 2),
  mae: ({ y, score }) => score.map((value, i) => Math.abs(value - y[i]!)),
  pinball: ({ squares }) => squares,
}
const isOfRows = (metric: GateMetric): metric is RowMetric => Object.hasOwn(lossesOf, metric)

/** The loss of each row for a metric that is a mean over rows, or the root of one; null for other metrics. */
export function rowLosses(metric: GateMetric, scored: ScoredRows): Float64Array | null {
  // A mean of roots is not the root of a mean, so several numbers have row losses for MAE only.
  if (scored.parts.length > 0) return metric === 'mae' ? meanErrors(scored.parts) : null
  return isOfRows(metric) ? lossesOf[metric](scored) : null
}

/** The mean absolute error of each row over its numbers. */
function meanErrors(parts: readonly ScoredNumber[]): Float64Array {
  const losses = new Float64Array(parts[0]!.y.length)
  for (const { y, score } of parts)
    for (let row = 0; row < losses.length; row++)
      losses[row]! += Math.abs(score[row]! - y[row]!) / parts.length
  return losses
}

/** The metrics that are not a mean over rows. */
const statistics: Record<Exclude<GateMetric, RowMetric>, (scored: ScoredRows) => Statistic> = {
  auc: (scored) => rankStatistic(scored, 'area'),
  averagePrecision: (scored) => rankStatistic(scored, 'precision'),
  recallAtTop: ({ top = defaultTop, ...scored }) => topStatistic(scored, { top, of: 'recall' }),
  precisionAtTop: ({ top = defaultTop, ...scored }) => topStatistic(scored, { top, of: 'precision' }),
  f1: (scored) => f1(scored, [1]),
  macroF1: (scored) =>
    f1(
      scored,
      Array.from({ length: scored.classes }, (_, k) => k),
    ),
  precision: (scored) => shareOfHits(scored, ({ predicted }, row) => predicted[row] === 1),
  recall: (scored) => shareOfHits(scored, ({ y }, row) => y[row] === 1),
  r2: (scored) => explained(scored),
  coverageError: (scored) => coverageError(scored),
}

export function statisticOf(metric: GateMetric, scored: ScoredRows): Statistic {
  const { weights, ...rows } = scored
  if (weights !== undefined) return weightedStatistic(statisticOf(metric, rows), weights)
  // The uniform average, as in scikit-learn.
  if (scored.parts.length > 0 && metric !== 'mae')
    return meanOfStatistics(scoresOfNumbers(scored).map((part) => statisticOf(metric, part)))
  if (!isOfRows(metric)) return statistics[metric](scored)
  const root = metric === 'rmse'
  return {
    kind: 'sums',
    columns: [rowLosses(metric, scored)!],
    value: (sums, weight) => {
      const mean = ratioOf(sums[0]!, weight)
      return mean === null || !root ? mean : Math.sqrt(mean)
    },
  }
}

/** The mean F1 over the classes that occur or are predicted; null when none does. */
function f1({ y, predicted }: ScoredRows, classes: number[]): Statistic {
  return {
    kind: 'sums',
    columns: classes.flatMap((k) => [
      flags(y.length, (row) => predicted[row] === k && y[row] === k),
      flags(y.length, (row) => predicted[row] === k),
      flags(y.length, (row) => y[row] === k),
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

/**
 * The true positives as a share of the selected rows: predicted positives for precision, positives for recall. Null without such rows.
 */
function shareOfHits(scored: ScoredRows, isOf: (scored: ScoredRows, row: number) => boolean): Statistic {
  const { y, predicted } = scored
  const whole = flags(y.length, (row) => isOf(scored, row))
  const hits = flags(y.length, (row) => y[row] === 1 && predicted[row] === 1)
  return { kind: 'sums', columns: [hits, whole], value: (sums) => ratioOf(sums[0]!, sums[1]!) }
}

/** How many rows a metric is a share of: of all, or of those that its denominator counts. */
export function shareRows(metric: GateMetric, { y, predicted, top = defaultTop }: ScoredRows): number {
  const selected = () => predicted.reduce((sum, each) => sum + Number(each === 1), 0)
  const positive = () => y.reduce((sum, each) => sum + Number(each === 1), 0)
  if (metric === 'precision') return selected()
  if (metric === 'recall' || metric === 'recallAtTop') return positive()
  if (metric === 'precisionAtTop') return Math.ceil(top * y.length)
  // 2·hits / (selected + positives).
  return metric === 'f1' ? Math.round((selected() + positive()) / 2) : y.length
}

/** The difference between the share of truths that lie between the outermost quantiles and the share that their levels promise. */
function coverageError({ sides, outermost: [first, last] = [0, 1] }: ScoredRows): Statistic {
  return {
    kind: 'sums',
    columns: [1, 2, 4, 8].map((bit) => flags(sides.length, (row) => (sides[row]! & bit) > 0)),
    value: (sums, weight) => {
      if (weight === 0) return null
      const covered = (level: number, at: number) =>
        coveredShare({ level, below: sums[at]! / weight, atOrBelow: sums[at + 1]! / weight })
      return Math.abs(covered(last, 2) - covered(first, 0) - (last - first))
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
      if (!(spread > 1e-12 * sums[2]!)) return null
      const share = 1 - sums[0]! / spread
      // Of a model that answers the mean, only rounding is left.
      return Math.abs(share) < 1e-12 ? 0 : share
    },
  }
}
