/**
 * Detects leakage: rows, entities or features through which a model may have seen the label. A leak looks excellent offline and fails in
 * production, so each sign blocks the challenger whatever its metrics.
 */
import { auc, midranks, sumOf } from '@tenure/sequential'
import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

/** The findings on the data, before any prediction. */
export interface LeakageFacts {
  /** The share of test rows that are also training rows. */
  rowOverlap?: number
  /** How many test rows equal a training row in their values; absent without any. */
  equalRows?: EqualRows
  /** The share of test entities that are also training entities, when the split is by entity. */
  entityOverlap?: number
  /** How many different rows the test rows of a split by hash without a key are; absent when at least half of them differ. */
  differentRows?: number
  /** The class whose share of the rows changes most, when a split by time gives it another one in the test rows. */
  classShift?: ClassShift
  /** Rows whose label was known no later than their features. */
  labelNotAfterFeature?: number
  /**
   * The AUC of each feature alone; for classes, the lowest over all pairs of classes. Null when undefined. `ofMissing`: of whether the
   * value is missing.
   */
  featureAuc?: { feature: string; auc: number | null; ofMissing?: true }[]
  /** The rank correlation of each feature alone with a numeric label; null when undefined. */
  featureCorrelation?: { feature: string; correlation: number | null }[]
}

/** Test rows that equal a training row, whatever their keys are. */
export interface EqualRows {
  /** The share of test rows whose features a training row has, too, and of those with the label as well. */
  features: number
  withLabel: number
  /** Whether numbers were compared by their first digits alone, which finds more. */
  isRounded?: true
  /** Whether the split is by time, where rows repeat as those of production do. */
  isByTime?: true
  /** Whether rows repeat in another way than by chance, as after an import that ran twice. */
  isCopied: boolean
}

/** Fewer groups of equal rows prove nothing. */
const minGroups = 20
const copyErrors = 4

/**
 * Tells copied rows from rows that are equal by chance, by how many groups of each size equal rows form. Rows drawn one by one, from
 * whatever mixture of values, form sizes with f(k−1)·f(k+1) ≥ k/(k+1)·f(k)² in expectation (mixed Poisson counts, by Cauchy and Schwarz).
 * Copies break this: an import that ran twice has many pairs and no groups of three.
 *
 * @param groups the number of groups by their size
 */
export function areCopied(groups: ReadonlyMap<number, number>): boolean {
  const of = (size: number) => groups.get(size) ?? 0
  return [...groups].some(([size, count]) => {
    if (size < 2 || count < minGroups) return false
    const [low, fewer] = [count - copyErrors * Math.sqrt(count), of(size - 1)]
    const expected =
      ((size / (size + 1)) * Math.max(0, low) ** 2) / (fewer + copyErrors * Math.sqrt(fewer) + 1)
    return of(size + 1) + copyErrors * Math.sqrt(expected) < expected
  })
}

/** The share of a class in the training and in the test rows. */
export interface ClassShift {
  label: number | string
  train: number
  test: number
}

/** A share that changes by less is that of another season. */
const shiftFactor = 2
/** The standard errors of a difference that is not chance. */
const shiftErrors = 5

/**
 * Compares the shares of each class in training and test rows. Returns the class with the largest factor, if it is at least two and the
 * shares differ by at least five standard errors (pooled two-sample test of proportions).
 */
export function findClassShift(
  labels: readonly (number | string)[],
  { train, test }: ClassCounts,
): ClassShift | undefined {
  const [trainRows, testRows] = [sumOf(train), sumOf(test)]
  const shifts = labels.flatMap((label, at) => {
    const shift = { label, train: train[at]! / trainRows, test: test[at]! / testRows }
    const pooled = (train[at]! + test[at]!) / (trainRows + testRows)
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / trainRows + 1 / testRows))
    const factor = Math.max(shift.train, shift.test) / Math.min(shift.train, shift.test)
    const isClear = factor >= shiftFactor && Math.abs(shift.train - shift.test) >= shiftErrors * error
    return isClear ? [{ shift, factor }] : []
  })
  return shifts.toSorted((a, b) => b.factor - a.factor)[0]?.shift
}

/** Classes with fewer rows are not compared: a few rows separate by chance. */
const minClassRows = 20
/** Below this AUC the exact value does not matter, so the remaining pairs are not computed. */
const clearlyMixed = 0.9

/**
 * How well a number alone separates every class from every other: the lowest AUC over all pairs of classes, each in its better direction.
 * A number that separates only one class, as petals do in irises, is no leak. Null with fewer than two classes of at least 20 rows.
 */
export function separationOfClasses(y: ArrayLike<unknown>, scores: ArrayLike<number>): number | null {
  const byClass = new Map<unknown, number[]>()
  for (let row = 0; row < y.length; row++) {
    const known = byClass.get(y[row])
    if (known === undefined) byClass.set(y[row], [scores[row]!])
    else known.push(scores[row]!)
  }
  const groups = [...byClass.values()].filter(({ length }) => length >= minClassRows)
  let lowest: number | null = null
  for (const [at, one] of groups.entries())
    for (const other of groups.slice(at + 1)) {
      const labels = [...one.map(() => 1), ...other.map(() => 0)]
      const area = auc(labels, [...one, ...other]) ?? 0.5
      lowest = Math.min(lowest ?? 1, Math.max(area, 1 - area))
      if (lowest < clearlyMixed) return lowest
    }
  return lowest
}

/** For one value of a feature, the number of training and of test rows of each class. */
export interface ClassCounts {
  train: readonly number[]
  test: readonly number[]
}

/**
 * How well the values of a category separate every class from every other: the lowest AUC over all pairs of classes. The training rows rank
 * the values, by their share of the first class of the pair, and the test rows are counted, so that a category of many values does not
 * separate by chance. Null with fewer than two classes of at least 20 test rows.
 */
export function separationByValues(values: readonly ClassCounts[]): number | null {
  const classes = values[0]?.test.length ?? 0
  const sumOf = (part: keyof ClassCounts, at: number) =>
    values.reduce((sum, counts) => sum + counts[part][at]!, 0)
  let lowest: number | null = null
  for (let one = 0; one < classes; one++)
    for (let other = one + 1; other < classes; other++) {
      const [ones, others] = [sumOf('test', one), sumOf('test', other)]
      if (Math.min(ones, others) < minClassRows) continue
      const trained = sumOf('train', one)
      const meanShare = trained / (trained + sumOf('train', other))
      // Test rows of each class by their score; a value without a training row of the pair gets the mean share.
      const byScore = new Map<number, [ones: number, others: number]>()
      for (const { train, test } of values) {
        const rows = train[one]! + train[other]!
        const score = rows === 0 ? meanShare : train[one]! / rows
        const known = byScore.get(score) ?? [0, 0]
        byScore.set(score, [known[0] + test[one]!, known[1] + test[other]!])
      }
      let [pairs, below] = [0, 0]
      for (const [, [first, second]] of [...byScore].toSorted(([a], [b]) => a - b)) {
        pairs += first * (below + second / 2)
        below += second
      }
      lowest = Math.min(lowest ?? 1, pairs / ones / others)
      if (lowest < clearlyMixed) return lowest
    }
  return lowest
}

/** The absolute rank correlation (Spearman, midranks) of two columns; null for a constant column and for fewer than 20 rows. */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  const [x, y] = [midranks(a), midranks(b)]
  const mean = (x.length + 1) / 2
  let [xy, xx, yy] = [0, 0, 0]
  for (let row = 0; row < x.length; row++) {
    xy += (x[row]! - mean) * (y[row]! - mean)
    xx += (x[row]! - mean) ** 2
    yy += (y[row]! - mean) ** 2
  }
  return x.length < minClassRows || xx === 0 || yy === 0 ? null : Math.abs(xy) / Math.sqrt(xx * yy)
}

export function leakageReasons(facts: LeakageFacts, policy: Pick<GatePolicy, 'leakage'>): Reason[] {
  const { overlap, featureAuc, featureCorrelation } = policy.leakage
  const reasons: Reason[] = []
  const add = (code: string, message: string, values: Reason['values']) =>
    reasons.push({ code, message, values })
  const addOverlap = (code: string, what: string, share: number | undefined) => {
    if (share === undefined || share <= overlap) return
    const trained = `${(100 * share).toPrecision(3)} % of the ${what} were also trained on`
    add(code, `${trained}, limit ${100 * overlap} %`, { share, limit: overlap })
  }
  addOverlap('leak_rows', 'test rows', facts.rowOverlap)
  const { equalRows } = facts
  if (equalRows?.isCopied === true && equalRows.isByTime !== true && equalRows.withLabel > overlap)
    add('leak_rows', `${equalRowsText(equalRows)}, limit ${100 * overlap} %`, {
      share: equalRows.withLabel,
      limit: overlap,
    })
  addOverlap('leak_entities', 'test entities', facts.entityOverlap)
  const early = facts.labelNotAfterFeature ?? 0
  if (early > 0)
    add('leak_time', `${early} rows have a label that was known before their features`, { rows: early })
  for (const { feature, auc, ofMissing } of facts.featureAuc ?? []) {
    if (auc === null) continue
    const separation = Math.max(auc, 1 - auc) // an inverted ranking separates as well
    if (separation <= featureAuc) continue
    const what = ofMissing ? `whether "${feature}" is missing` : `"${feature}" alone`
    const message = `${what} has AUC ${separation.toFixed(4)}, limit ${featureAuc}: it may contain the label`
    add('leak_feature', message, { feature, auc: separation, limit: featureAuc })
  }
  for (const { feature, correlation } of facts.featureCorrelation ?? []) {
    // A model file that was registered before this limit existed lacks it.
    if (correlation === null || !(correlation > featureCorrelation)) continue
    const message = `"${feature}" alone has the rank correlation ${correlation.toFixed(4)} with the label, limit ${featureCorrelation}: it may contain the label`
    add('leak_feature', message, { feature, correlation, limit: featureCorrelation })
  }
  return reasons
}

const shareText = (share: number): string => `${(100 * share).toPrecision(3)} %`

const equalRowsText = ({ features, withLabel, isRounded, isCopied }: EqualRows): string =>
  `${shareText(features)} of the test rows equal a training row in every feature${isRounded === true ? ' (numbers by their first five digits)' : ''}, ${shareText(withLabel)} in the label too${isCopied ? ', more than chance explains' : ''}: an import may have run twice, or rows of one entity may be on both sides. Drop copies in the SQL of the source, or split by the entity`

/** From here on, a feature that predicts the label alone is told to the approver. */
const toldSeparation = 0.9

/** Fewer equal rows change no metric, and more are those of a model of few values. */
const toldEqual = { from: 0.01, to: 0.5 }

/** What is no certain leak, and what an approver should know. */
export function suspectedLeakReasons(facts: LeakageFacts, policy: Pick<GatePolicy, 'leakage'>): Reason[] {
  const { overlap, featureAuc, featureCorrelation } = policy.leakage
  const reasons: Reason[] = []
  const { equalRows } = facts
  // Few equal rows that may be so by chance, copies with other labels, and rows of a split by time, which may repeat as those of production do.
  const isStopped = equalRows !== undefined && equalRows.isByTime !== true && equalRows.withLabel > overlap
  const isTold =
    equalRows?.isCopied === true
      ? equalRows.features > overlap && !isStopped
      : equalRows !== undefined && equalRows.features >= toldEqual.from && equalRows.features <= toldEqual.to
  if (equalRows !== undefined && isTold)
    reasons.push({
      code: 'equal_rows',
      message: equalRowsText(equalRows),
      values: { share: equalRows.features, limit: overlap },
    })
  const tell = (what: string, measure: string, value: number) =>
    reasons.push({
      code: 'feature_alone',
      message: `${what} has ${measure} ${value.toFixed(4)} with the label: check that it is known before the label is`,
      values: { value },
    })
  for (const { feature, auc, ofMissing } of facts.featureAuc ?? []) {
    const separation = auc === null ? 0 : Math.max(auc, 1 - auc)
    if (separation < toldSeparation || separation > featureAuc) continue
    tell(ofMissing ? `whether "${feature}" is missing` : `"${feature}" alone`, 'AUC', separation)
  }
  for (const { feature, correlation } of facts.featureCorrelation ?? [])
    if (correlation !== null && correlation >= toldSeparation && !(correlation > featureCorrelation))
      tell(`"${feature}" alone`, 'the rank correlation', correlation)
  return reasons
}
