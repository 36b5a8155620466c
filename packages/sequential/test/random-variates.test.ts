import { describe, expect, it } from 'vitest'
import { binomial, poisson } from '../src/random-variates.ts'

// A fixed linear congruential stream (Numerical Recipes' constants) is random enough for moments.
const stream = (seed: number) => () => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
const moments = (draw: () => number, n = 40_000) => {
  let sum = 0
  let squares = 0
  for (let i = 0; i < n; i++) {
    const x = draw()
    sum += x
    squares += x * x
  }
  const mean = sum / n
  return { mean, variance: squares / n - mean * mean, error: Math.sqrt((squares / n - mean * mean) / n) }
}

describe('a Poisson count', () => {
  it.each([0.05, 2.5, 9.9, 10, 50, 1_000])('of mean %d has that mean and variance', (mean) => {
    const uniform = stream(7)
    const found = moments(() => poisson(uniform, mean))
    expect(Math.abs(found.mean - mean)).toBeLessThan(4.5 * found.error)
    expect(found.variance / mean).toBeCloseTo(1, 1)
  })
  it('of mean 0 or less is 0', () => {
    expect(poisson(stream(1), 0)).toBe(0)
    expect(poisson(stream(1), Number.NaN)).toBe(0)
  })
})

describe('a binomial count', () => {
  it.each([
    [50, 0.005],
    [950, 0.005],
    [950, 0.05],
    [1_000, 0.5],
    [1_000, 0.97],
    [20_000, 0.3],
  ])('of %d tries at %d has the mean and variance of its formula', (n, p) => {
    const uniform = stream(11)
    const found = moments(() => binomial(uniform, n, p))
    expect(Math.abs(found.mean - n * p)).toBeLessThan(4.5 * found.error)
    expect(found.variance / (n * p * (1 - p))).toBeCloseTo(1, 1)
  })
  it('is 0 of 0 trials, and all trials at probability 1', () => {
    expect(binomial(stream(1), 0, 0.5)).toBe(0)
    expect(binomial(stream(1), 10, 0)).toBe(0)
    expect(binomial(stream(1), 10, 1)).toBe(10)
  })
})
