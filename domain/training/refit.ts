/**
 * Judges refitted weights: the recipe that the gate has judged, trained again on all matured rows. They have seen the test rows, so their
 * answers prove nothing there; but answers far from those of the judged weights show that the refit went wrong.
 */
import { surprise } from '../evaluation/scored-rows.ts'
import { counted, numberText } from '../figures.ts'
import { answeredRows, answerReader, answerWidth, type ModelAnswers } from '../metrics/answers.ts'
import type { Output } from '../tasks/output.ts'
import { taskOf, truthWidth } from '../tasks/tasks.ts'

export interface RefitPolicy {
  /**
   * The maximum mean change of the answers to the test rows. Of shares: in Gini mean differences of the judged answers, so that 1 is as far
   * as the answers to two random test rows, however rare positives are. Of numbers: in standard deviations of the labels.
   */
  distance: number
}

export interface RefitCheck {
  /** The test rows that both have answered. */
  rows: number
  /** The mean change of the answers to them, in the unit of the limit. */
  change: number
  limit: number
  /** For each number of an answer: the mean of its labels, and the mean of what both have answered. */
  means: { labels: number; judged: number; refitted: number }[]
  /** Why the weights may not become a version; absent when they may. */
  issue?: string
}

/** Standard errors of the mean label by which the mean answer may be further from it than that of the judged weights. */
const maxErrors = 4
/** The mean change of shares above which the refitted weights must not predict the test rows worse, because they have learnt from them. */
const maxChangeIfWorse = 0.2

/** Whether the answers are probabilities. */
const hasShares = (output: Output): boolean => taskOf(output).gate.classes(2) > 0

/** The limit of a model file that sets none. Few positives give shares that change much with the rows, so only unrelated ones exceed it. */
export const defaultRefitDistance = (output: Output): number => (hasShares(output) ? 1 : 0.2)

/** `y`: the labels as the gate counts them, row by row. */
export function checkRefit(
  { judged, refitted, y }: { judged: ModelAnswers; refitted: ModelAnswers; y: readonly number[] },
  output: Output,
  { distance: limit }: RefitPolicy,
): RefitCheck {
  const rows = answeredRows(judged)
  const width = answerWidth(judged)
  const isOfShares = hasShares(output)
  const labelOf =
    isOfShares && width > 1
      ? (row: number, k: number) => (y[row] === k ? 1 : 0)
      : (row: number, k: number) => y[truthWidth(output) === width ? row * width + k : row]!
  const [before, after] = [answerReader(judged), answerReader(refitted)]
  const sums = Array.from({ length: width }, () => ({
    label: 0,
    square: 0,
    judged: 0,
    refitted: 0,
    change: 0,
    answers: new Float64Array(isOfShares ? rows : 0),
  }))
  const losses = { judged: 0, refitted: 0 }
  for (let row = 0; row < rows; row++) {
    // A reader may give the same list for each row.
    const [one, other] = [[...before(row)], after(row)]
    sums.forEach((sum, k) => {
      const label = labelOf(row, k)
      sum.label += label
      sum.square += label * label
      sum.judged += one[k]!
      sum.refitted += other[k]!
      sum.change += Math.abs(one[k]! - other[k]!)
      if (isOfShares) sum.answers[row] = one[k]!
    })
    if (isOfShares) {
      losses.judged += logLoss(one, y[row]!)
      losses.refitted += logLoss(other, y[row]!)
    }
  }
  const numbers = sums.map((sum) => {
    const mean = sum.label / rows
    const deviation = Math.sqrt(Math.max(0, sum.square / rows - mean * mean))
    // Laplace's rule of succession: a class without test rows still has a share above 0.
    const share = (sum.label + 1) / (rows + 2)
    const error = (isOfShares ? Math.sqrt(share * (1 - share)) : deviation) / Math.sqrt(rows)
    // Weights that answer all rows alike have no spread; chance moves the mean label by its standard error.
    const unit = isOfShares ? Math.max(meanDifference(sum.answers), deviation / Math.sqrt(rows)) : deviation
    return {
      means: { labels: mean, judged: sum.judged / rows, refitted: sum.refitted / rows },
      change: sum.change / rows,
      unit,
      error,
    }
  })
  const total = (of: (each: (typeof numbers)[number]) => number) =>
    numbers.reduce((sum, each) => sum + of(each), 0)
  // Shares of classes have one unit together: that of a class without test rows is near 0, and any change of it would be many times as much.
  const change = isOfShares
    ? total((each) => each.change) / (total(({ unit }) => unit) || 1)
    : total((each) => each.change / (each.unit || 1)) / width
  const means = numbers.map((each) => each.means)
  const biased = numbers.find(({ means: { labels, judged: was, refitted: is }, error }) =>
    isFurther(Math.abs(is - labels), Math.abs(was - labels) + maxErrors * error),
  )
  const found = { rows, change, limit, means }
  if (!(change <= limit))
    return {
      ...found,
      issue: `the refitted weights answer ${counted(rows, 'test row')} differently from the judged ones: by ${numberText(change)} ${unitOf(output)} on average, at most ${numberText(limit)} is allowed (release.refitDistance)`,
    }
  if (change > maxChangeIfWorse && losses.refitted > losses.judged)
    return {
      ...found,
      issue: `the refitted weights answer ${counted(rows, 'test row')} worse than the judged ones, although they have learnt from them: their log loss is ${numberText(losses.refitted / rows)}, that of the judged ones ${numberText(losses.judged / rows)}, and their answers differ by ${numberText(change)} ${unitOf(output)} on average`,
    }
  if (biased === undefined) return found
  const { labels, judged: was, refitted: is } = biased.means
  return {
    ...found,
    issue: `the refitted weights answer ${numberText(is)} on average, the judged ones ${numberText(was)}, and the labels of the ${counted(rows, 'test row')} are ${numberText(labels)}`,
  }
}

/** The log loss of the shares of a row, where one number is the share of class 1. */
function logLoss(shares: readonly number[], y: number): number {
  return surprise(shares.length > 1 ? shares[y]! : y === 1 ? shares[0]! : 1 - shares[0]!)
}

/** The unit of a change, after its number. */
const unitOf = (output: Output): string =>
  hasShares(output) ? 'times the difference of two rows' : 'standard deviations of the label'

/** Gini's mean difference: the mean absolute difference of two of the values; 0 for fewer than two. Sorts the values. */
function meanDifference(values: Float64Array): number {
  const count = values.length
  const sum = values.sort().reduce((total, value, place) => total + (2 * place + 1 - count) * value, 0)
  return count < 2 ? 0 : (2 * sum) / (count * (count - 1))
}

/** A mean that is not a number is further than any limit. */
const isFurther = (distance: number, limit: number): boolean => !(distance <= limit)

/** What a version says of its refit. */
export interface RefitLineage {
  trainingId: string
  /** The digest of the snapshot of all matured rows. */
  snapshot: string
  rows: number
  /** ISO 8601: when the newest of these rows happened. */
  newestEvent?: string
  /** The digest of the artifact that the gate has judged. */
  judged: string
  /** The mean change of the answers to the test rows, and its limit, in the unit of `refitDistance`. */
  change: number
  limit: number
}

/** What was judged and what is released, as a sentence without its period; undefined for weights that were not refitted. */
export const refitText = ({
  snapshot,
  refit,
}: {
  snapshot?: string | undefined
  refit?: RefitLineage | undefined
}): string | undefined =>
  refit === undefined || snapshot === undefined
    ? undefined
    : `recipe judged on the test rows of the snapshot ${snapshot.slice(0, 15)}, weights refitted on ${counted(refit.rows, 'row')}${refit.newestEvent === undefined ? '' : ` up to ${refit.newestEvent}`} (snapshot ${refit.snapshot.slice(0, 15)}); their answers to the test rows differ by ${numberText(refit.change)} on average, with the limit ${numberText(refit.limit)} of refitDistance`
