/**
 * K2, paired quality: both models answered the same request and the label came. Only the disagreements speak:
 * under "the challenger is no worse", a disagreement is as likely to be won as lost. Needs 8 to 32 times fewer
 * labels than comparing two arms.
 */

import { ratioGrid } from './e-process.ts'
import { logMeanExp } from '../statistics/distributions.ts'

/**
 * @param lost champion right and challenger wrong
 * @param won champion wrong and challenger right
 * @returns the log of the evidence that the challenger loses more often; null for counts that make no sense
 */
export function pairedEvidence(lost: number, won: number): number | null {
  if (!(Number.isFinite(lost) && Number.isFinite(won) && lost >= 0 && won >= 0)) return null
  return logMeanExp(ratioGrid.map((r) => lost * Math.log((2 * r) / (1 + r)) + won * Math.log(2 / (1 + r))))
}
