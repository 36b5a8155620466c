/**
 * Detects inverted labels: a challenger that learnt them looks far better than the champion on test labels that are inverted too. A
 * champion that ranks worse than chance gives them away.
 */
import { aucInterval } from '../metrics/auc-interval.ts'
import { auc } from '../metrics/auc.ts'
import { answeredRows, answerReader } from '../metrics/answers.ts'
import type { GateInput } from './input.ts'
import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

const confidence = 0.999

export function reversedReasons(
  { y, champion }: Pick<GateInput, 'y' | 'champion'>,
  { task }: Pick<GatePolicy, 'task'>,
): Reason[] {
  if (task !== 'binary' || champion === null) return []
  const rowAt = answerReader(champion)
  const value = auc(
    y,
    Float64Array.from({ length: answeredRows(champion) }, (_, row) => rowAt(row).at(-1) ?? NaN),
  )
  const positives = y.filter((label) => label === 1).length
  const counts = { positives, negatives: y.length - positives }
  const interval = value === null ? null : aucInterval(value, counts, confidence)
  if (value === null || interval === null || interval[1] >= 0.5) return []
  const message = `the labels may be inverted: AUC of the champion ${value.toFixed(4)}, at most ${interval[1].toFixed(4)} < 0.5`
  return [{ code: 'labels_reversed', message, values: { auc: value, atMost: interval[1] } }]
}
