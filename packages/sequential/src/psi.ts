/** Computes the population stability index of two rows of counts. Half a count is added to each bin, so that empty bins stay finite. */
import { areCounts } from './chi-square.ts'
import { sumOf } from './distributions.ts'

/** The index with what it would be without a change. */
export interface Psi {
  status: 'ok' | 'no_data' | 'invalid'
  /** In nats; null unless the status is `ok`. */
  psi: number | null
  /** The expected index without a change: (K − 1)(1/N + 1/M). */
  nullMean: number | null
}

/**
 * Σ (q − p)·ln(q/p) with p, q = (n + ½)/(N + ½K) over K bins. By convention 0.1 is a moderate and 0.2 a large change; compare it with
 * `nullMean`, which is as large on few rows without any change (Yurdakul and Naranjo, Journal of Risk Model Validation, 2020).
 * @param reference counts a bin; @param current counts of the same bins
 * @returns status `invalid` for rows of different lengths and for negative or infinite counts
 */
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
