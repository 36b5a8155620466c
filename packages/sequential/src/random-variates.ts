/**
 * Draws normal numbers, and Poisson and binomial counts, from uniform numbers; counts by inversion for small means and by rejection for
 * large ones.
 */
import { logGamma } from './distributions.ts'

/** Uniform numbers in [0, 1). */
export type Uniform = () => number

const logFactorials = Float64Array.from({ length: 4_096 }, (_, n) => logGamma(n + 1))
const logFactorial = (n: number): number => logFactorials[n] ?? logGamma(n + 1)

/** A Poisson count of this mean: inversion below 10, PTRS above (Hörmann 1993, "The transformed rejection method"). */
export function poisson(uniform: Uniform, mean: number): number {
  if (!(mean > 0)) return 0
  if (mean < 10) {
    const limit = Math.exp(-mean)
    let count = 0
    let product = uniform()
    while (product > limit) {
      count++
      product *= uniform()
    }
    return count
  }
  const logMean = Math.log(mean)
  const b = 0.931 + 2.53 * Math.sqrt(mean)
  const a = -0.059 + 0.02483 * b
  const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4)
  const accept = 0.9277 - 3.6224 / (b - 2)
  for (;;) {
    const u = uniform() - 0.5
    const v = uniform()
    const us = 0.5 - Math.abs(u)
    const k = Math.floor(((2 * a) / us + b) * u + mean + 0.43)
    if (us >= 0.07 && v <= accept) return k
    if (k < 0 || (us < 0.013 && v > us)) continue
    const left = Math.log(v) + Math.log(inverseAlpha) - Math.log(a / (us * us) + b)
    if (left <= -mean + k * logMean - logFactorial(k)) return k
  }
}

/** A binomial count of `n` trials with probability `p`: geometric skips below a mean of 10, BTRS above (Hörmann 1993). */
export function binomial(uniform: Uniform, n: number, p: number): number {
  if (!(n > 0) || !(p > 0)) return 0
  if (p >= 1) return n
  if (p > 0.5) return n - binomial(uniform, n, 1 - p)
  if (n * p < 10) {
    const perSkip = 1 / Math.log1p(-p)
    let count = 0
    let place = Math.floor(Math.log(1 - uniform()) * perSkip)
    while (place < n) {
      count++
      place += 1 + Math.floor(Math.log(1 - uniform()) * perSkip)
    }
    return count
  }
  const spread = Math.sqrt(n * p * (1 - p))
  const b = 1.15 + 2.53 * spread
  const a = -0.0873 + 0.0248 * b + 0.01 * p
  const c = n * p + 0.5
  const accept = 0.92 - 4.2 / b
  const ratio = p / (1 - p)
  const alpha = (2.83 + 5.1 / b) * spread
  const mode = Math.floor((n + 1) * p)
  for (;;) {
    const u = uniform() - 0.5
    let v = uniform()
    const us = 0.5 - Math.abs(u)
    const k = Math.floor(((2 * a) / us + b) * u + c)
    if (us >= 0.07 && v <= accept) return k
    if (k < 0 || k > n) continue
    v = Math.log((v * alpha) / (a / (us * us) + b))
    const bound =
      logFactorial(mode) +
      logFactorial(n - mode) -
      logFactorial(k) -
      logFactorial(n - k) +
      (k - mode) * Math.log(ratio)
    if (v <= bound) return k
  }
}

/** The counts of `n` trials over shares that sum to 1: a binomial count of each share among the trials that are left. */
export function multinomial(uniform: Uniform, n: number, shares: readonly number[]): number[] {
  let [left, rest] = [n, 1]
  return shares.map((share, i) => {
    const isLast = i === shares.length - 1
    const count = isLast ? left : binomial(uniform, left, Math.min(1, Math.max(0, share / rest)))
    left -= count
    rest -= share
    return count
  })
}

/** A draw of the standard normal distribution (Box and Muller 1958), from two of `uniform`. */
export const standardNormal = (uniform: Uniform): number =>
  Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
