/** Computes confidence intervals of a rate, because "0 errors in 50 requests" is compatible with an error rate of 7 %. */
import { betaQuantile, normalQuantile } from './distributions.ts'

/** Both intervals of a rate, [low, high]; null unless the status is `ok`. */
export interface BinomialInterval {
  status: 'ok' | 'no_data' | 'invalid'
  wilson: [number, number] | null
  clopperPearson: [number, number] | null
}

/**
 * The intervals of Wilson (JASA, 1927), which holds its level on average, and of Clopper and Pearson (Biometrika, 1934), which never falls
 * below it. For one look at the data: they are no confidence sequences.
 * @param k the events, 0 ≤ k ≤ n; @param n the trials
 * @returns status `invalid` for other counts and unless 0 < confidence < 1
 */
export function binomialInterval(k: number, n: number, confidence = 0.95): BinomialInterval {
  const readable = Number.isFinite(n) && n >= 0 && k >= 0 && k <= n && confidence > 0 && confidence < 1
  const unknown = { wilson: null, clopperPearson: null }
  if (!readable) return { status: 'invalid', ...unknown }
  if (n === 0) return { status: 'no_data', ...unknown }
  const tail = (1 - confidence) / 2
  const z = normalQuantile(1 - tail)
  const low = k === 0 ? 0 : betaQuantile(tail, k, n - k + 1)
  const high = k === n ? 1 : betaQuantile(1 - tail, k + 1, n - k)
  if (z === null || low === null || high === null) return { status: 'invalid', ...unknown }
  const p = k / n
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n)
  const reach = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))
  return {
    status: 'ok',
    wilson: [k === 0 ? 0 : Math.max(0, centre - reach), k === n ? 1 : Math.min(1, centre + reach)],
    clopperPearson: [low, high],
  }
}
