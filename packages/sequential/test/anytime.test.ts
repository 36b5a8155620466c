/** The tests without a file of their own: confidence sequence of a ratio, sample ratio mismatch, and the detector of a rate. */
import { describe, expect, it } from 'vitest'
import {
  addToDetector,
  binomial,
  detectorRates,
  detectorThreshold,
  geometric,
  ratioSequence,
  seededRandom,
  srmEvidence,
  thresholdFor,
  type RateTick,
} from '../src/index.ts'

function day(random: () => number, treatmentRate: number, controlRate: number): RateTick {
  const [treatmentTotal, controlTotal] = [1_000, 1_000]
  return {
    treatmentTotal,
    controlTotal,
    treatmentEvents: binomial(random, treatmentTotal, treatmentRate),
    controlEvents: binomial(random, controlTotal, controlRate),
  }
}

describe('the confidence sequence of a ratio', () => {
  const thresholds = { lowLogE: thresholdFor(0.025), highLogE: thresholdFor(0.025) }

  it('misses the true ratio at any of 30 looks in at most 5 % of 100 runs, give or take three standard errors', () => {
    const random = seededRandom(3)
    const missed = Array.from({ length: 100 }, () => {
      const days = Array.from({ length: 30 }, () => day(random, 0.03, 0.02))
      const { low, high } = ratioSequence(days, thresholds).at(-1)!
      return low > 1.5 || high < 1.5
    }).filter(Boolean).length
    expect(missed).toBeLessThanOrEqual(5 + 3 * Math.sqrt(5 * 0.95))
  })

  it('narrows with data, never widens, and with the grid of small effects narrows further', () => {
    const random = seededRandom(4)
    const days = Array.from({ length: 30 }, () => day(random, 0.055, 0.05))
    const bounds = ratioSequence(days, thresholds)
    bounds.slice(1).forEach((each, i) => {
      expect(each.low).toBeGreaterThanOrEqual(bounds[i]!.low)
      expect(each.high).toBeLessThanOrEqual(bounds[i]!.high)
    })
    const fine = ratioSequence(days, { ...thresholds, grid: geometric(1.02, 2, 16) }).at(-1)!
    expect(fine.high - fine.low).toBeLessThan(bounds.at(-1)!.high - bounds.at(-1)!.low)
  })
})

describe('the sample ratio', () => {
  it('equals the Beta-binomial likelihood ratio by its definition', () => {
    // Share ½ and counts (2, 0): B(52, 50)/B(50, 50) = (50·51)/(100·101); the null gives (½)².
    expect(srmEvidence(2, 0, 0.5)).toBeCloseTo(Math.log((50 * 51) / (100 * 101) / 0.25), 12)
  })

  it('is refused by a tenth too few, and not within the tolerance', () => {
    expect(srmEvidence(9_000, 11_000, 0.5)).toBeGreaterThan(thresholdFor(0.001))
    expect(srmEvidence(9_000, 11_000, 0.5, { tolerance: 0.2 })).toBeLessThan(0)
    expect(srmEvidence(9_000, 11_000, 0.5, { designEffect: 50 })).toBeLessThan(thresholdFor(0.001))
  })

  it('is null for counts and shares that mean nothing', () => {
    expect(srmEvidence(0, 0, 0.5)).toBe(0)
    for (const value of [srmEvidence(-1, 5, 0.5), srmEvidence(NaN, 5, 0.5), srmEvidence(5, 5, 1)])
      expect(value).toBeNull()
  })

  it('raises a false alarm at any of 100 looks in at most 5 % of 200 runs, give or take three standard errors', () => {
    const random = seededRandom(5)
    const alarms = Array.from({ length: 200 }, () => {
      let [treatment, total] = [0, 0]
      return Array.from({ length: 100 }, () => {
        treatment += binomial(random, 100, 0.2)
        total += 100
        return srmEvidence(treatment, total - treatment, 0.2)! >= thresholdFor(0.05)
      }).some(Boolean)
    }).filter(Boolean).length
    expect(alarms).toBeLessThanOrEqual(10 + 3 * Math.sqrt(10 * 0.95))
  })
})

describe('the detector of a rate above a limit', () => {
  it('is the recursion M ← (1 + M)·e for each rate', () => {
    const limit = 0.02
    let state: readonly number[] = []
    const plain = detectorRates(limit).map(() => 0)
    let logM = -Infinity
    for (const [total, events] of [
      [10, 0],
      [20, 3],
      [5, 1],
    ] as const) {
      ;({ state, logM } = addToDetector(state, { total, events }, limit))
      detectorRates(limit).forEach((rate, k) => {
        plain[k] = (1 + plain[k]!) * (rate / limit) ** events * ((1 - rate) / (1 - limit)) ** (total - events)
      })
    }
    expect(Math.exp(logM)).toBeCloseTo(plain.reduce((sum, each) => sum + each, 0) / plain.length, 9)
  })

  it('finds a failing half within 30 requests, with one false alarm in a hundred years of 10-second ticks', () => {
    const threshold = detectorThreshold({ looks: 3_155_760, falseAlarms: 0.01 })
    const random = seededRandom(6)
    let state: readonly number[] = []
    const needed = Array.from({ length: 200 }, (_, i) => i + 1).find(() => {
      const added = addToDetector(state, { total: 1, events: random() < 0.5 ? 1 : 0 }, 0.02)
      state = added.state
      return added.logM >= threshold
    })
    expect(needed).toBeLessThanOrEqual(30)
  })

  it('knows no alternative to a limit of 1', () => {
    expect(addToDetector([], { total: 5, events: 5 }, 1)).toEqual({ state: [], logM: -Infinity })
  })
})
