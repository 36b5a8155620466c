/**
 * Labels the wrong way round: a challenger that has learnt them is tested on labels that are wrong in the same way, and looks
 * far better than the champion. The champion gives them away, for what has earned its place does not rank worse than chance.
 */
import { aucInterval } from '../metrics/auc-interval.ts'
import { auc } from '../metrics/auc.ts'
import type { GateInput } from './input.ts'
import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

const confidence = 0.999

export function reversedReasons(
  { y, champion }: Pick<GateInput, 'y' | 'champion'>,
  { task }: Pick<GatePolicy, 'task'>,
): Reason[] {
  if (task !== 'binary' || champion === null) return []
  const value = auc(
    y,
    champion.map((row) => row.at(-1) ?? NaN),
  )
  const positives = y.filter((label) => label === 1).length
  const counts = { positives, negatives: y.length - positives }
  const interval = value === null ? null : aucInterval(value, counts, confidence)
  if (value === null || interval === null || interval[1] >= 0.5) return []
  return [
    {
      code: 'labels_reversed',
      message: `the champion ranks these rows the wrong way round: AUC ${value.toFixed(4)}, at most ${interval[1].toFixed(4)} and so below 0.5; the labels may be flipped`,
      values: { auc: value, atMost: interval[1] },
    },
  ]
}
