/**
 * The distribution functions every judge leans on, and the only importer of jstat. They answer null instead
 * of NaN, so that an undefined statistic can never slip through a comparison (every comparison with NaN is
 * false, which reads as "no alarm").
 */

import jstat from 'jstat'

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
const probability = (value: number): number | null =>
  Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : null

export function logAddExp(a: number, b: number): number {
  const high = Math.max(a, b)
  if (high === -Infinity || high === Infinity) return high
  return high + Math.log1p(Math.exp(Math.min(a, b) - high))
}

/** The log of the mean of exp(values), without overflow. Of nothing it is 0: no bet, no evidence. */
export function logMeanExp(values: ArrayLike<number>): number {
  const n = values.length
  if (n === 0) return 0
  let high = -Infinity
  for (let i = 0; i < n; i++) if (values[i]! > high) high = values[i]!
  if (!Number.isFinite(high)) return high
  let sum = 0
  for (let i = 0; i < n; i++) sum += Math.exp(values[i]! - high)
  return high + Math.log(sum / n)
}

export function normalCdf(z: number): number | null {
  return probability(jstat.normal.cdf(z, 0, 1))
}

export function normalQuantile(p: number): number | null {
  return p > 0 && p < 1 ? finite(jstat.normal.inv(p, 0, 1)) : null
}

/** P(X > x) for a chi-square variable. */
export function chiSquareUpperTail(x: number, dof: number): number | null {
  if (!(x >= 0 && dof > 0)) return null
  return probability(1 - jstat.chisquare.cdf(x, dof))
}

export function logGamma(x: number): number {
  return jstat.gammaln(x)
}

export function betaQuantile(p: number, a: number, b: number): number | null {
  if (!(p >= 0 && p <= 1 && a > 0 && b > 0)) return null
  return probability(jstat.beta.inv(p, a, b))
}
