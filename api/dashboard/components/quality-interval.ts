/** Computes the 95 % interval of a quality metric from its value and its number of rows. */
import { aucInterval, binomialInterval } from '@tenure/sequential'

interface Quality {
  metric: string
  value: number | null
  rows: number
}

/**
 * Returns the interval: Wilson for accuracy, Hanley and McNeil for AUC, where `positives` is the share of positive rows. Undefined for
 * other metrics.
 */
export function qualityInterval(
  { metric, value, rows }: Quality,
  positives?: number,
): [number, number] | undefined {
  if (value === null || rows <= 0) return undefined
  if (metric === 'accuracy') return binomialInterval(Math.round(value * rows), rows).wilson ?? undefined
  if (metric !== 'auc' || positives === undefined) return undefined
  return aucInterval(value, { positives: rows * positives, negatives: rows * (1 - positives) }) ?? undefined
}
