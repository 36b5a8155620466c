/**
 * Computes the metrics of binary and regression models. An undefined metric (no positives, a constant target) is null, because 0 would
 * pass for a measured value.
 */
import { ratioOf } from '../figures.ts'
import { auc, orderOf } from './auc.ts'
import { calibration } from './calibration.ts'
import { sumOf } from '../statistics/distributions.ts'

export interface Confusion {
  tp: number
  fp: number
  fn: number
  tn: number
}

const ratios = ['accuracy', 'precision', 'recall', 'f1', 'mcc'] as const
const ofProbabilities = ['brier', 'logLoss', 'auc', 'averagePrecision', 'ece10', 'mce10'] as const
const names = [...ratios, ...ofProbabilities]

export interface BinaryMetrics extends Confusion, Record<(typeof names)[number], number | null> {
  /** `invalid`: a label that is neither 0 nor 1. */
  status: 'ok' | 'no_data' | 'one_class' | 'not_a_probability' | 'invalid'
  rows: number
}

/** Null for each name: metrics without rows. */
export const nullsOf = <Name extends string>(list: readonly Name[]): Record<Name, null> =>
  Object.fromEntries(list.map((name) => [name, null])) as Record<Name, null>

/** The machine epsilon that keeps the log loss of a certain, wrong row finite. */
const epsilon = 2 ** -52

/** Omits rows without label or probability. Predicts 1 from `threshold` on. */
export function binaryMetrics(
  labels: readonly (number | null)[],
  probabilities: readonly (number | null)[],
  threshold = 0.5,
): BinaryMetrics {
  const [y, p] = complete(labels, probabilities)
  const counts: Confusion = { tp: 0, fp: 0, fn: 0, tn: 0 }
  for (let i = 0; i < y.length; i++) {
    const predicted = p[i]! >= threshold
    if (y[i] === 1) counts[predicted ? 'tp' : 'fn']++
    else counts[predicted ? 'fp' : 'tn']++
  }
  const { tp, fp, fn, tn } = counts
  const rows = y.length
  const nothing = nullsOf(names)
  if (rows === 0) return { ...counts, ...nothing, status: 'no_data', rows }
  if (!y.every((label) => label === 0 || label === 1)) {
    return { tp: 0, fp: 0, fn: 0, tn: 0, ...nothing, status: 'invalid', rows }
  }
  const probable = p.every((value) => value >= 0 && value <= 1)
  const oneClass = tp + fn === 0 || fp + tn === 0
  const { ece, mce } = calibration(y, p)
  return {
    ...counts,
    status: !probable ? 'not_a_probability' : oneClass ? 'one_class' : 'ok',
    rows,
    accuracy: ratioOf(tp + tn, rows),
    precision: ratioOf(tp, tp + fp),
    recall: ratioOf(tp, tp + fn),
    f1: ratioOf(2 * tp, 2 * tp + fp + fn),
    mcc: matthews(counts),
    brier: probable ? brier(y, p) : null,
    logLoss: probable ? binaryLogLoss(y, p) : null,
    auc: auc(y, p),
    averagePrecision: averagePrecision(y, p),
    ece10: ece,
    mce10: mce,
  }
}

function matthews({ tp, fp, fn, tn }: Confusion): number | null {
  const product = Math.sqrt(tp + fp) * Math.sqrt(tp + fn) * Math.sqrt(tn + fp) * Math.sqrt(tn + fn)
  return product > 0 ? (tp * tn - fp * fn) / product : null
}

export function brier(y: ArrayLike<number>, p: ArrayLike<number>): number | null {
  return p.length === 0 ? null : sumOf(Array.from(p, (value, i) => (value - y[i]!) ** 2)) / p.length
}

/** −ln of the probability of the outcome, clipped at machine precision. */
export function surprise(probability: number): number {
  return -Math.log(Math.min(1 - epsilon, Math.max(epsilon, probability)))
}

export function binaryLogLoss(y: ArrayLike<number>, p: ArrayLike<number>): number | null {
  if (p.length === 0) return null
  // Each side separately, because 1 − (1 − p) loses a small p.
  return (
    sumOf(
      Array.from(p, (value, i) => {
        const kept = Math.min(1 - epsilon, Math.max(epsilon, value))
        return y[i] === 1 ? -Math.log(kept) : -Math.log1p(-kept)
      }),
    ) / p.length
  )
}

/** Σ (recall − recall before)·precision over the distinct scores, highest first. Null without a positive row. */
export function averagePrecision(y: ArrayLike<number>, scores: ArrayLike<number>): number | null {
  const order = orderOf(scores).reverse()
  let positives = 0
  for (let i = 0; i < y.length; i++) if (y[i] === 1) positives++
  if (positives === 0) return null
  let [hits, before, area] = [0, 0, 0]
  for (let i = 0; i < order.length; i++) {
    if (y[order[i]!] === 1) hits++
    if (i + 1 < order.length && scores[order[i + 1]!] === scores[order[i]!]) continue
    area += ((hits - before) / positives) * (hits / (i + 1))
    before = hits
  }
  return area
}

export interface RegressionMetrics {
  status: 'ok' | 'no_data' | 'constant_target'
  rows: number
  mae: number | null
  rmse: number | null
  /** Null for a constant target: there is no variance to explain. */
  r2: number | null
}

/** Omits rows without target or prediction. */
export function regressionMetrics(
  targets: readonly (number | null)[],
  predictions: readonly (number | null)[],
): RegressionMetrics {
  const [y, predicted] = complete(targets, predictions)
  const rows = y.length
  if (rows === 0) return { status: 'no_data', rows, mae: null, rmse: null, r2: null }
  const errors = y.map((value, i) => value - predicted[i]!)
  const squares = sumOf(errors.map((error) => error ** 2))
  const mean = sumOf(y) / rows
  const constant = y.every((value) => value === y[0])
  const spread = sumOf(y.map((value) => (value - mean) ** 2))
  return {
    status: constant ? 'constant_target' : 'ok',
    rows,
    mae: sumOf(errors.map(Math.abs)) / rows,
    rmse: Math.sqrt(squares / rows),
    r2: constant || spread === 0 ? null : 1 - squares / spread,
  }
}

/** The rows in which both values are finite. */
function complete(
  a: readonly (number | null | undefined)[],
  b: readonly (number | null | undefined)[],
): [number[], number[]] {
  const kept: [number[], number[]] = [[], []]
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x, z] = [a[i], b[i]]
    if (typeof x !== 'number' || typeof z !== 'number' || !Number.isFinite(x) || !Number.isFinite(z)) continue
    kept[0].push(x)
    kept[1].push(z)
  }
  return kept
}
