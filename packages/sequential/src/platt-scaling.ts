/**
 * Recalibrates probabilities by a logistic curve through matured outcomes. Without it, an estimate would take the 90 % of an
 * overconfident model, of which 70 % come true, at face value (Platt, Advances in Large Margin Classifiers, 1999).
 */

/** A fitted curve. */
export interface Recalibration {
  /** The odds of a predicted probability p are exp(slope · ln(p / (1 − p)) + offset). */
  slope: number
  offset: number
}

const max = 1e-6

/** Maximum likelihood by Newton's method. Null when only one outcome occurs, or when the probabilities separate the outcomes perfectly. */
export function fitRecalibration(y: readonly number[], p: readonly number[]): Recalibration | null {
  let [slope, offset] = [0, 0] // From a start further away, full steps may diverge.
  for (let step = 0; step < 50; step++) {
    let [gradient, gradientOffset, h00, h01, h11] = [0, 0, 0, 0, 0]
    for (let row = 0; row < y.length; row++) {
      const x = logOdds(p[row]!)
      const now = logistic(slope * x + offset)
      const weight = now * (1 - now)
      gradient += (y[row]! - now) * x
      gradientOffset += y[row]! - now
      h00 += weight * x * x
      h01 += weight * x
      h11 += weight
    }
    const determinant = h00 * h11 - h01 * h01
    const [bySlope, byOffset] = [
      (h11 * gradient - h01 * gradientOffset) / determinant,
      (h00 * gradientOffset - h01 * gradient) / determinant,
    ]
    slope += bySlope
    offset += byOffset
    if (!Number.isFinite(slope) || !Number.isFinite(offset) || Math.abs(slope) > 1e3) return null
    if (Math.abs(bySlope) + Math.abs(byOffset) < 1e-9) return { slope, offset }
  }
  return null
}

/** The recalibrated probability of p, from 0 to 1. */
export const recalibrated = ({ slope, offset }: Recalibration, p: number): number =>
  logistic(slope * logOdds(p) + offset)

function logOdds(p: number): number {
  const clamped = Math.min(1 - max, Math.max(max, p))
  return Math.log(clamped / (1 - clamped))
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x))
