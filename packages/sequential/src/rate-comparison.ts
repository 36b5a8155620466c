/**
 * Computes intervals for the ratio and the difference of two independent rates from the interval of each (MOVER, Donner and Zou 2012). They
 * hold with ten rows too, where resampling does not: ten of ten rows are the same ten in every resample.
 */
import { binomialInterval } from './binomial-interval.ts'
import { ratioOf } from './ratio.ts'

/** A rate, or the comparison of two, with its interval. */
export interface RateInterval {
  value: number
  low: number
  high: number
}

/** The rate of `k` in `n` rows, which need not be whole numbers, with the interval of Clopper and Pearson. */
export function rateInterval(k: number, n: number, confidence: number): RateInterval | null {
  const [low, high] = binomialInterval(k, n, confidence).clopperPearson ?? []
  return low === undefined || high === undefined ? null : { value: k / n, low, high }
}

/** `one − other`. */
export function differenceOfRates(one: RateInterval, other: RateInterval): RateInterval {
  const value = one.value - other.value
  return {
    value,
    low: value - Math.hypot(one.value - one.low, other.high - other.value),
    high: value + Math.hypot(one.high - one.value, other.value - other.low),
  }
}

/** `one / other`; null when the other is 0. */
export function ratioOfRates(one: RateInterval, other: RateInterval): RateInterval | null {
  const value = ratioOf(one.value, other.value)
  if (value === null) return null
  const middle = one.value * other.value
  // The ratios whose difference `one − ratio · other` has a bound of 0 are the roots of a r² − 2 · middle · r + c.
  const rootOf = (a: number, c: number) => Math.sqrt(Math.max(0, middle ** 2 - a * c))
  const upper = { a: other.low * (2 * other.value - other.low), c: one.high * (2 * one.value - one.high) }
  const lower = { a: other.high * (2 * other.value - other.high), c: one.low * (2 * one.value - one.low) }
  const high = (middle + rootOf(upper.a, upper.c)) / upper.a
  // This form of the smaller root also holds when `a` is 0 or less.
  return { value, low: ratioOf(lower.c, middle + rootOf(lower.a, lower.c)) ?? 0, high }
}
