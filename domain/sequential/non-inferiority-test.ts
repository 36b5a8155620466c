/**
 * K3, non-inferiority by betting: evidence that the challenger is worse than the champion by less than a margin.
 * D = correct(challenger) − correct(champion) ∈ {−1, 0, 1}; H0: E[D] ≤ −margin; each bet multiplies its capital
 * by 1 + λ(D + margin). Without it, "no difference seen" would pass for "no difference".
 */

import { geometric } from './e-process.ts'
import { logMeanExp } from '../statistics/distributions.ts'

const bets = geometric(0.02, 0.95, 12)

export interface PairedCounts {
  /** Requests only the champion answered rightly. */
  lost: number
  /** Requests both answered rightly, or both wrongly. */
  same: number
  /** Requests only the challenger answered rightly. */
  won: number
}

/** The log of the evidence; it is enough at ln 20. Null for counts or a margin (−1 < m < 1) that make no sense. */
export function nonInferiorityEvidence(counts: PairedCounts, margin: number): number | null {
  const { lost, same, won } = counts
  const readable = [lost, same, won].every((n) => Number.isFinite(n) && n >= 0) && margin > -1 && margin < 1
  if (!readable) return null
  return logMeanExp(
    bets.map((bet) => {
      const lambda = (bet * 0.999) / (1 - margin)
      return (
        lost * Math.log1p(lambda * (margin - 1)) +
        same * Math.log1p(lambda * margin) +
        won * Math.log1p(lambda * (margin + 1))
      )
    }),
  )
}
