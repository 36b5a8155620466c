/** The interval of a quality, where it follows from its value and the rows it rests on. */
import { aucInterval } from '../../../domain/metrics/auc-interval.ts'
import { binomialInterval } from '../../../domain/statistics/binomial-interval.ts'

interface Quality {
  metric: string
  value: number | null
  rows: number
}

/** At 95 %: of an accuracy after Wilson, of an AUC after Hanley and McNeil, for which `positives` is their share of the rows. */
export function qualityInterval(
  { metric, value, rows }: Quality,
  positives?: number,
): [number, number] | undefined {
  if (value === null || rows <= 0) return undefined
  if (metric === 'accuracy') return binomialInterval(Math.round(value * rows), rows).wilson ?? undefined
  if (metric !== 'auc' || positives === undefined) return undefined
  return aucInterval(value, { positives: rows * positives, negatives: rows * (1 - positives) }) ?? undefined
}
