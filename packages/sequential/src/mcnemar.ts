/**
 * Computes McNemar's test (Psychometrika, 1947) for two classifiers on the same rows. It uses only the rows on which they disagree; a
 * comparison of two accuracies as of two samples would need several times the rows.
 */

import { binomialCdf, binomialPmf, chiSquareUpperTail } from './distributions.ts'

/** The p-values of the test; null for invalid counts. */
export interface McNemar {
  status: 'ok' | 'no_disagreement' | 'invalid'
  /** Two-sided, exact. */
  pExact: number | null
  /** Two-sided, the middle of the point's own probability. */
  pMid: number | null
  /** With the continuity correction of Edwards; null without a disagreement. */
  chi2: number | null
  pChi2: number | null
}

/** @param b rows only the first got right; @param c rows only the second got right */
export function mcnemar(b: number, c: number): McNemar {
  const readable = Number.isInteger(b) && Number.isInteger(c) && b >= 0 && c >= 0
  if (!readable) return { status: 'invalid', pExact: null, pMid: null, chi2: null, pChi2: null }
  const n = b + c
  if (n === 0) return { status: 'no_disagreement', pExact: 1, pMid: 1, chi2: null, pChi2: null }
  const fewer = Math.min(b, c)
  const below = binomialCdf(fewer, n, 0.5) ?? 1
  const at = binomialPmf(fewer, n, 0.5) ?? 0
  const chi2 = (Math.abs(b - c) - 1) ** 2 / n
  return {
    status: 'ok',
    pExact: Math.min(1, 2 * below),
    pMid: Math.min(1, 2 * below - at),
    chi2,
    pChi2: chiSquareUpperTail(chi2, 1),
  }
}

/** The p-value to decide by: exact below 25 disagreements, where the chi-square approximation is poor. */
export function mcnemarP(b: number, c: number): number | null {
  const { status, pExact, pChi2 } = mcnemar(b, c)
  if (status !== 'ok') return pExact
  return b + c < 25 ? pExact : pChi2
}
