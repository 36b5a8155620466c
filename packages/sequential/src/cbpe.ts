/**
 * Estimates metrics from calibrated probabilities (CBPE). It needs no labels, so it can alert early; it does not see a changed concept,
 * so it never promotes.
 */
import { orderOf } from './auc.ts'
import { nullsOf } from './nulls.ts'
import { ratioOf } from './ratio.ts'

const names = ['tp', 'fp', 'fn', 'tn', 'accuracy', 'precision', 'recall', 'f1', 'auc'] as const

/** Null where undefined. */
export type ExpectedMetrics = { status: 'ok' | 'no_data' | 'invalid' } & Record<
  (typeof names)[number],
  number | null
>

const nothing = nullsOf(names)

/** @param p calibrated probabilities; @param predicted 0 or 1. Rows where either is missing are left out. */
export function expectedMetrics(
  p: readonly (number | null)[],
  predicted: readonly (number | null)[],
): ExpectedMetrics {
  const rows: { p: number; positive: boolean }[] = []
  for (let i = 0; i < Math.min(p.length, predicted.length); i++) {
    const [probability, answer] = [p[i], predicted[i]]
    if (typeof probability !== 'number' || typeof answer !== 'number') continue
    if (!(probability >= 0 && probability <= 1) || (answer !== 0 && answer !== 1)) {
      return { ...nothing, status: 'invalid' }
    }
    rows.push({ p: probability, positive: answer === 1 })
  }
  if (rows.length === 0) return { ...nothing, status: 'no_data' }
  let [tp, fp, fn, tn] = [0, 0, 0, 0]
  for (const row of rows) {
    if (row.positive) {
      tp += row.p
      fp += 1 - row.p
    } else {
      fn += row.p
      tn += 1 - row.p
    }
  }
  return {
    status: 'ok',
    tp,
    fp,
    fn,
    tn,
    accuracy: ratioOf(tp + tn, rows.length),
    precision: ratioOf(tp, tp + fp),
    recall: ratioOf(tp, tp + fn),
    f1: ratioOf(2 * tp, 2 * tp + fp + fn),
    auc: expectedAuc(rows.map((row) => row.p)),
  }
}

/**
 * The area under the expected ROC curve: each distinct score adds its expected positives and negatives. Null when no positive, or no
 * negative, is expected.
 */
function expectedAuc(p: number[]): number | null {
  const order = orderOf(p).reverse()
  let [up, right, area] = [0, 0, 0]
  for (let i = 0; i < order.length;) {
    let [positives, negatives] = [0, 0]
    const score = p[order[i]!]!
    for (; i < order.length && p[order[i]!] === score; i++) {
      positives += score
      negatives += 1 - score
    }
    area += negatives * (up + positives / 2)
    up += positives
    right += negatives
  }
  return up > 0 && right > 0 ? area / (up * right) : null
}
