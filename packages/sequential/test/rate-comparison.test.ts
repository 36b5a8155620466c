import { expect, it } from 'vitest'
import { binomialInterval } from '../src/binomial-interval.ts'
import { differenceOfRates, rateInterval, ratioOfRates, type RateInterval } from '../src/rate-comparison.ts'

const wilson = (k: number, n: number): RateInterval => {
  const [low, high] = binomialInterval(k, n).wilson!
  return { value: k / n, low, high }
}

it.each([
  // Newcombe 1998, table II, method 10.
  [56, 70, 48, 80, 0.2, 0.0524, 0.3339],
  [9, 10, 3, 10, 0.6, 0.1705, 0.809],
  [10, 10, 0, 10, 1, 0.6075, 1],
])('the difference of %i of %i and %i of %i has the published interval', (a, m, b, n, value, low, high) => {
  const found = differenceOfRates(wilson(a, m), wilson(b, n))
  expect(found.value).toBeCloseTo(value, 10)
  expect(found.low).toBeCloseTo(low, 4)
  expect(found.high).toBeCloseTo(high, 4)
})

it.each([
  [30, 300, 60, 300],
  [0, 40, 12, 50],
  [2, 10, 10, 10],
  [1, 100, 1, 100],
])('the ratio of %i of %i and %i of %i has the bounds at which the difference may be 0', (a, m, b, n) => {
  const [one, other] = [rateInterval(a, m, 0.99)!, rateInterval(b, n, 0.99)!]
  const { value, low, high } = ratioOfRates(one, other)!
  expect(value).toBeCloseTo(a / m / (b / n), 10)
  const times = (ratio: number) => ({
    value: other.value * ratio,
    low: other.low * ratio,
    high: other.high * ratio,
  })
  expect(differenceOfRates(one, times(high)).high).toBeCloseTo(0, 10)
  expect(differenceOfRates(one, times(low)).low).toBeCloseTo(0, 10)
})

it('the ratio to a rate of 0, and a rate of no rows, have no interval', () => {
  expect(ratioOfRates(rateInterval(3, 10, 0.95)!, rateInterval(0, 10, 0.95)!)).toBeNull()
  expect(rateInterval(0, 0, 0.95)).toBeNull()
})
