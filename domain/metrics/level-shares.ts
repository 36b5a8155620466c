/**
 * Computes which share of the truths each quantile covers. Where truths are tied, such as many zeros, one number is the quantile of several
 * levels: 0 is the quantile at 0.1 of truths of which 39 % are 0, although none is below it. A quantile q is right at a level between the
 * share of truths below q and that at or below q.
 */
import { answerReader, type ModelAnswers } from './answers.ts'

/** The shares of truths below the quantile of a level, and at or below it. */
export interface LevelShares {
  level: number
  below: number
  atOrBelow: number
}

/** Of the shares between below and at or below, the one nearest to the level. */
export const coveredShare = ({ level, below, atOrBelow }: LevelShares): number =>
  Math.min(Math.max(level, below), atOrBelow)

/** The shares of each level; `answers` have one quantile for each of them. */
export function levelShares(
  y: ArrayLike<number>,
  answers: ModelAnswers,
  levels: readonly number[],
): LevelShares[] {
  const below = levels.map(() => 0)
  const atOrBelow = levels.map(() => 0)
  const rowAt = answerReader(answers)
  for (let i = 0; i < y.length; i++)
    rowAt(i).forEach((quantile, place) => {
      if (y[i]! < quantile) below[place]!++
      if (y[i]! <= quantile) atOrBelow[place]!++
    })
  return levels.map((level, place) => ({
    level,
    below: below[place]! / y.length,
    atOrBelow: atOrBelow[place]! / y.length,
  }))
}
