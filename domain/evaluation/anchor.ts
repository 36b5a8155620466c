/**
 * The anchor: the best of the recent releases, asked on the same rows as the challenger. What each of them scored in its
 * own day was measured on other rows; only here can they be told apart.
 */
import { pointValue } from '../statistics/bootstrap.ts'
import { higherIsBetter, score, statisticOf, unreadableAnswers } from './metrics.ts'
import type { GatePolicy } from './policy.ts'

export interface AnchorCandidate {
  version: string
  answers: number[][]
}

/** The one with the best primary metric; undefined when none has one. */
export function bestOf(
  asked: readonly AnchorCandidate[],
  y: readonly number[],
  policy: Pick<GatePolicy, 'task' | 'primary' | 'threshold'>,
): (AnchorCandidate & { value: number }) | undefined {
  const { task, primary, threshold } = policy
  const sign = higherIsBetter(primary) ? 1 : -1
  let best: (AnchorCandidate & { value: number }) | undefined
  for (const each of asked) {
    if (unreadableAnswers(task, each.answers, y.length) !== null) continue
    const value = pointValue(statisticOf(primary, score(task, y, each.answers, threshold)), y.length)
    if (value !== null && (best === undefined || sign * value > sign * best.value)) best = { ...each, value }
  }
  return best
}
