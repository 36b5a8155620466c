/**
 * Detects inverted labels. A challenger that learnt inverted labels looks far better than the champion on test labels that are inverted
 * too; the champion then ranks worse than chance.
 */
import { aucInterval } from '../metrics/auc-interval.ts'
import { auc } from '../metrics/auc.ts'
import { pickInto } from '../statistics/pick-into.ts'
import { answeredRows, answerReader } from '../metrics/answers.ts'
import { countLabel, type GateInput } from './input.ts'
import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

const confidence = 0.999

/** Checks all test rows, then each slice: labels come from regions or providers, and one of them may invert its labels. */
export function reversedReasons(
  { y, champion, slices = [] }: Pick<GateInput, 'y' | 'champion' | 'slices'>,
  { task }: Pick<GatePolicy, 'task'>,
): Reason[] {
  if (task !== 'binary' || champion === null) return []
  const rowAt = answerReader(champion)
  const scores = new Float64Array(answeredRows(champion))
  for (let row = 0; row < scores.length; row++) scores[row] = rowAt(row).at(-1) ?? NaN
  const whole = reversedIn('', { y, scores }, confidence)
  if (whole !== undefined) return [whole]
  return slices.flatMap(({ name, rows }) => {
    const of = (cells: ArrayLike<number>) => pickInto(new Float64Array(rows.length), cells, rows)
    const each = 1 - (1 - confidence) / slices.length
    return reversedIn(` of the slice "${name}"`, { y: of(y), scores: of(scores) }, each) ?? []
  })
}

function reversedIn(
  where: string,
  { y, scores }: { y: ArrayLike<number>; scores: ArrayLike<number> },
  level: number,
): Reason | undefined {
  const value = auc(y, scores)
  const positives = countLabel(y, 1)
  const interval =
    value === null ? null : aucInterval(value, { positives, negatives: y.length - positives }, level)
  if (value === null || interval === null || interval[1] >= 0.5) return undefined
  const message = `the labels${where} may be inverted: AUC of the champion ${value.toFixed(4)}, at most ${interval[1].toFixed(4)} < 0.5`
  return { code: 'labels_reversed', message, values: { auc: value, atMost: interval[1] } }
}
