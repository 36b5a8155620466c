/** Tests the confidence sequence for a bounded mean, at every look. */
import { describe, expect, it } from 'vitest'
import {
  countDifferences,
  drawsOf,
  meanAbove,
  meanAboveEvidence,
  meanAboveZero,
  meanBelow,
  meanInterval,
  meanOf,
} from '../src/bounded-mean.ts'
import { seededRandom } from '../src/random.ts'

describe('the evidence that a mean is above a limit', () => {
  it('is the mixture of bets, equal to a computation draw by draw', () => {
    // Two draws of 1 and three of 0 against m = 0.2: each bet multiplies (1 + 0.8λ)²(1 − 0.2λ)³ with λ = 0.999·bet/0.2.
    const bets = Array.from({ length: 12 }, (_, k) => 0.02 * (0.95 / 0.02) ** (k / 11))
    const capital = bets.map((bet) => (1 + 0.8 * ((0.999 * bet) / 0.2)) ** 2 * (1 - 0.999 * bet) ** 3)
    const expected = Math.log(capital.reduce((sum, each) => sum + each, 0) / 12)
    expect(meanAboveEvidence([3, 2], 0.2)).toBeCloseTo(expected, 10)
  })

  it('is null for unreadable counts and limits, and 0 without draws', () => {
    expect(meanAboveEvidence([1, -1], 0.2)).toBeNull()
    expect(meanAboveEvidence([1], 0.2)).toBeNull()
    expect(meanAboveEvidence([1, 1], 0)).toBeNull()
    expect(meanAboveEvidence([0, 0], 0.2)).toBeCloseTo(0)
  })
})

describe('the evidence of values that are added one by one', () => {
  const of = (test: ReturnType<typeof meanAbove>, values: readonly number[]) => {
    values.forEach(test.add)
    return test
  }

  it('equals that of their counts, in both directions', () => {
    const values = [1, 0, 0.5, 0, 0, 1]
    const counts = [3, 1, 2]
    expect(of(meanAbove(0.2), values).logE()).toBeCloseTo(meanAboveEvidence(counts, 0.2)!, 10)
    // "At least 0.7" of D is "at most 0.3" of 1 − D.
    const below = meanAboveEvidence(counts.toReversed(), 0.3)!
    expect(of(meanBelow(0.7), values).logE()).toBeCloseTo(below, 10)
  })

  it('grows faster for values that are known to be small', () => {
    const values = Array.from({ length: 100 }, () => 0.001)
    const wide = of(meanBelow(0.01), values).logE()
    // The values and the limit in units of the largest value.
    const scaled = of(
      meanBelow(0.5),
      values.map((value) => value / 0.02),
    )
    expect(of(meanBelow(0.01, 0.02), values).logE()).toBeCloseTo(scaled.logE(), 10)
    expect(scaled.logE()).toBeGreaterThan(20 * Math.max(1, wide))
  })

  it('is what the same values would give, each so many times', () => {
    const values = [0, 0.1, 0, 0.02]
    expect(of(meanBelow(0.2), values).logE(3)).toBeCloseTo(
      of(meanBelow(0.2), [...values, ...values, ...values]).logE(),
      10,
    )
    expect(meanBelow(0.2).logE()).toBe(0)
  })
})

describe('differences between two steps', () => {
  // Nine in ten are 0.002 less and one is 0.018 more: the mean is 0. Rounded to 1/200, it is 0.002.
  const equal = Array.from({ length: 100_000 }, (_, i) => (i % 10 === 0 ? 0.018 : -0.002))

  it('keep their mean, so that small ones of equal versions are no evidence', () => {
    const counts = countDifferences(equal)
    expect(drawsOf(counts)).toBeCloseTo(equal.length, 4)
    expect(meanOf(counts)).toBeCloseTo(0.5, 10)
    expect(meanAboveEvidence(counts, 0.5)).toBeLessThan(0)
  })

  it('win no more than the differences themselves', () => {
    const worse = equal.map((difference) => difference + 0.003)
    const exact = meanAboveZero()
    for (const difference of worse) exact.add(difference)
    const counted = meanAboveEvidence(countDifferences(worse), 0.5)!
    expect(counted).toBeGreaterThan(0)
    expect(counted).toBeLessThan(exact.logE())
  })
})

describe('the interval of a mean', () => {
  it('covers the whole range without draws, and narrows around the mean with draws', () => {
    expect(meanInterval([0, 0], 0.05)).toEqual({ low: 0, high: 1 })
    expect(meanOf([0, 0])).toBeNull()
    const [few, many] = [meanInterval([80, 20], 0.05), meanInterval([8_000, 2_000], 0.05)]
    expect(few.low).toBeLessThan(many.low)
    expect(many.low).toBeGreaterThan(0.18)
    expect(many.high).toBeLessThan(0.22)
    expect(few.high).toBeGreaterThan(many.high)
  })

  it('weighs the values between 0 and 1', () => {
    const counts = [0, 10, 0, 0, 10]
    expect([drawsOf(counts), meanOf(counts)]).toEqual([20, 0.625])
    const { low, high } = meanInterval(counts, 0.05)
    expect(low).toBeLessThan(0.625)
    expect(high).toBeGreaterThan(0.625)
  })

  it('misses the mean at any of 40 looks in at most 5 % of 300 runs', () => {
    const uniform = seededRandom(7)
    let missed = 0
    for (let run = 0; run < 300; run++) {
      const counts = [0, 0]
      let miss = false
      for (let look = 0; look < 40 && !miss; look++) {
        for (let i = 0; i < 25; i++) counts[uniform() < 0.3 ? 1 : 0]!++
        const { low, high } = meanInterval(counts, 0.05)
        miss = low > 0.3 || high < 0.3
      }
      if (miss) missed++
    }
    expect(missed).toBeLessThanOrEqual(15)
  })
})
