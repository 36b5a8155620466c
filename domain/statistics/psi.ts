/**
 * The population stability index: how far a distribution over bins has moved. Half a count is added to each bin,
 * so that a bin that is empty on one side gives a large number and not an infinite one.
 */

import { areCounts } from './chi-square.ts'
import { sumOf } from './distributions.ts'

export interface Psi {
  status: 'ok' | 'no_data' | 'invalid'
  psi: number | null
  /** What the index is on average when nothing has changed: (K − 1)(1/N + 1/M). */
  nullMean: number | null
}

/** Σ (q − p)·ln(q/p) with p, q = (n + ½)/(N + ½K). */
export function populationStability(reference: readonly number[], current: readonly number[]): Psi {
  if (!areCounts(reference, current)) return { status: 'invalid', psi: null, nullMean: null }
  const bins = reference.length
  const [n, m] = [sumOf(reference), sumOf(current)]
  if (n === 0 || m === 0) return { status: 'no_data', psi: null, nullMean: null }
  const psi = sumOf(
    reference.map((count, k) => {
      const p = (count + 0.5) / (n + 0.5 * bins)
      const q = (current[k]! + 0.5) / (m + 0.5 * bins)
      return (q - p) * Math.log(q / p)
    }),
  )
  return { status: 'ok', psi, nullMean: (bins - 1) * (1 / n + 1 / m) }
}
