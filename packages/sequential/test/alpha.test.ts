import { expect, it } from 'vitest'
import { splitAlpha, thresholdFor } from '../src/alpha.ts'

it('the threshold is the inverse of the error, in nats', () => {
  expect(thresholdFor(0.05)).toBeCloseTo(Math.log(20), 12)
})

it('a split shares α by weight and sums to it', () => {
  const split = splitAlpha(0.05, { errors: 2, latency: 1, conversion: 1 })
  expect(split).toEqual({ errors: 0.025, latency: 0.0125, conversion: 0.0125 })
})

it.each([0, 1, 5, -0.1, NaN])('an α of %d is refused with what to give', (alpha) => {
  expect(() => thresholdFor(alpha)).toThrow(new RegExp(`alpha is ${alpha}: give a probability`))
  expect(() => splitAlpha(alpha, { errors: 1 })).toThrow(RangeError)
})

it('a split without tests, or with a weight that is not above 0, is refused', () => {
  expect(() => splitAlpha(0.05, {})).toThrow('name at least one')
  expect(() => splitAlpha(0.05, { errors: 1, latency: 0 })).toThrow('the weight of latency is 0')
})
