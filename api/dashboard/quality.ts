/** The interval of a quality that is a share of rows; of others nothing is known here but the value. */
import { binomialInterval } from '../../domain/binomial-interval.ts'

/** At 95 %, after Wilson. */
export function qualityInterval({
  metric,
  value,
  rows,
}: {
  metric: string
  value: number | null
  rows: number
}): [number, number] | undefined {
  if (metric !== 'accuracy' || value === null || rows <= 0) return undefined
  return binomialInterval(Math.round(value * rows), rows).wilson ?? undefined
}
