/** Computes textbook tests for one look at the data, which reports compare with the sequential tests. */
import { betaCdf, chiSquareUpperTail } from '@tenure/sequential'

/** P(T ≤ t) for Student's t; null unless 0 < dof < ∞. */
export function studentCdf(t: number, dof: number): number | null {
  if (!(dof > 0 && dof < Infinity) || Number.isNaN(t)) return null
  const tail = betaCdf(dof / (dof + t * t), dof / 2, 0.5)
  return tail === null ? null : t > 0 ? 1 - tail / 2 : tail / 2
}

interface SrmTest {
  stat: number | null
  p: number | null
}

/** Chi-square test of the requests per arm against the configured share (0 < share < 1). */
export function srmChiSquare(canary: number, control: number, share: number): SrmTest {
  const total = canary + control
  if (!(total > 0 && canary >= 0 && control >= 0 && share > 0 && share < 1)) return { stat: null, p: null }
  const stat = (canary - total * share) ** 2 / (total * share * (1 - share))
  return { stat, p: chiSquareUpperTail(stat, 1) }
}
