/** Computes the interval of an AUC from its value and the numbers of positives and negatives (Hanley and McNeil, 1982). */
import { normalQuantile } from './distributions.ts'

/**
 * auc ± z·SE, cut at 0 and 1. With the scores at hand, `delong` is narrower.
 * @returns null unless 0 ≤ auc ≤ 1, both classes have a row and 0 < confidence < 1
 */
export function aucInterval(
  auc: number,
  { positives, negatives }: { positives: number; negatives: number },
  confidence = 0.95,
): [number, number] | null {
  const z = normalQuantile(1 - (1 - confidence) / 2)
  if (!(auc >= 0 && auc <= 1) || !(positives >= 1) || !(negatives >= 1) || z === null) return null
  const reach = z * aucError(auc, positives, negatives)
  return [Math.max(0, auc - reach), Math.min(1, auc + reach)]
}

/** The standard error of an AUC. Assumes exponential scores: conservative for most models. */
export function aucError(auc: number, positives: number, negatives: number): number {
  const one = auc / (2 - auc)
  const other = (2 * auc ** 2) / (1 + auc)
  const spread = auc * (1 - auc) + (positives - 1) * (one - auc ** 2) + (negatives - 1) * (other - auc ** 2)
  return Math.sqrt(Math.max(0, spread) / (positives * negatives))
}
