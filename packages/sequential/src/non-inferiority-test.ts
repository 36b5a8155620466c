/**
 * Tests non-inferiority by betting: evidence that the challenger is worse than the champion by less than a margin, because no
 * visible difference does not prove equality.
 * D = correct(challenger) − correct(champion) ∈ {−1, 0, 1}; H0: E[D] ≤ −margin; each bet multiplies its capital by 1 + λ(D + margin)
 * (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B, 2024).
 */
import { geometric } from './e-process.ts'
import { logMeanExp } from './distributions.ts'

const bets = geometric(0.02, 0.95, 12)

/** Whole or weighted counts of cases that both models answered; at least 0. */
export interface PairedCounts {
  /** Cases that only the champion predicted correctly. */
  lost: number
  /** Cases that both predicted correctly, or both wrongly. */
  same: number
  /** Cases that only the challenger predicted correctly. */
  won: number
}

/**
 * The log evidence, in nats, against H0 "the challenger is worse by at least the margin"; at ln 20 the error probability is 0.05.
 * @param counts the pairs so far
 * @param margin the tolerated loss of accuracy, such as 0.01
 * @returns null for negative or infinite counts, and unless −1 < margin < 1
 */
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
