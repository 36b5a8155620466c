/** Computes the population stability index of two rows of counts. Half a count is added to each bin, so that empty bins stay finite. */
import { areCounts } from './chi-square.ts'
import { sumOf } from './distributions.ts'

export interface Psi {
  status: 'ok' | 'no_data' | 'invalid'
  psi: number | null
  /** The expected index without a change: (K − 1)(1/N + 1/M). */
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
