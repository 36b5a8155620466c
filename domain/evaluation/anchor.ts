/**
 * Chooses the anchor: the best recent release on the same rows as the challenger. Their original figures come from other rows and
 * cannot be compared.
 */
import { pointValue } from '@tenure/sequential'
import type { ModelAnswers } from '../metrics/answers.ts'
import { higherIsBetter, rowsOfTruths, score, statisticOf, unreadableAnswers } from './metrics.ts'
import { builtInPrimary, type GatePolicy } from './policy.ts'

export interface AnchorCandidate {
  version: string
  answers: ModelAnswers
  /** Its own, of a probability. Default: that of the policy. */
  threshold?: number
}

/** The candidate with the best primary metric; undefined when the metric is undefined for all. */
export function bestOf(
  asked: readonly AnchorCandidate[],
  y: readonly number[],
  policy: Pick<GatePolicy, 'task' | 'primary' | 'standIn' | 'threshold' | 'levels' | 'targets'>,
): (AnchorCandidate & { value: number }) | undefined {
  const { task } = policy
  const primary = builtInPrimary(policy)
  const sign = higherIsBetter(primary) ? 1 : -1
  const rows = rowsOfTruths(y, policy)
  let best: (AnchorCandidate & { value: number }) | undefined
  for (const each of asked) {
    if (unreadableAnswers(task, each.answers, rows) !== null) continue
    const scored = score(task, y, each.answers, { ...policy, threshold: each.threshold ?? policy.threshold })
    const value = pointValue(statisticOf(primary, scored), rows)
    if (value !== null && (best === undefined || sign * value > sign * best.value)) best = { ...each, value }
  }
  return best
}
