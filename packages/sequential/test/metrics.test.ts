/** Metrics by their definition, on rows few enough to compute by hand. */
import { describe, expect, it } from 'vitest'
import {
  auc,
  calibration,
  crossFittedGaps,
  eBenjaminiHochberg,
  fitRecalibration,
  meanError,
  meanOfStatistics,
  pointValue,
  rankStatistic,
  topStatistic,
  recalibrated,
  seededRandom,
  type Statistic,
} from '../src/index.ts'

describe('calibration', () => {
  it('is the mean gap between probability and outcome over the bins', () => {
    // Bin 2: two rows at 0.2, one positive: gap 0.3. Bin 9: two rows at 0.9, both positive: gap 0.1.
    const { ece, mce } = calibration([1, 0, 1, 1], [0.2, 0.2, 0.9, 0.9])
    expect(ece).toBeCloseTo((2 * 0.3 + 2 * 0.1) / 4, 12)
    expect(mce).toBeCloseTo(0.3, 12)
  })

  it('is null without rows and for what is no probability', () => {
    expect(calibration([], []).ece).toBeNull()
    expect(calibration([1], [1.5]).ece).toBeNull()
  })

  it('without the part that is chance has a mean of 0 on calibrated rows, and the gap on others', () => {
    const random = seededRandom(2)
    const p = Array.from({ length: 20_000 }, random)
    const half = p.map(() => (random() < 0.5 ? 0 : 1))
    const mean = (shift: number) => {
      const y = p.map((each) => (random() < each - shift ? 1 : 0))
      return crossFittedGaps(y, p, half).reduce((sum, gap) => sum + gap, 0) / p.length
    }
    expect(Math.abs(mean(0))).toBeLessThan(0.01)
    expect(mean(0.1)).toBeGreaterThan(0.07)
  })

  it('is restored by a fitted curve: an overconfident model gets a slope below 1', () => {
    const random = seededRandom(3)
    const truth = Array.from({ length: 20_000 }, () => 4 * random() - 2)
    const y = truth.map((logOdds) => (random() < 1 / (1 + Math.exp(-logOdds)) ? 1 : 0))
    const claimed = truth.map((logOdds) => 1 / (1 + Math.exp(-2 * logOdds)))
    const curve = fitRecalibration(y, claimed)!
    expect(curve.slope).toBeCloseTo(0.5, 1)
    expect(curve.offset).toBeCloseTo(0, 1)
    // Maximum likelihood with an offset keeps the mean.
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(mean(claimed.map((p) => recalibrated(curve, p)))).toBeCloseTo(mean(y), 8)
    expect(fitRecalibration([1, 1], [0.2, 0.8])).toBeNull()
  })
})

describe('statistics of weighted rows', () => {
  const y = Float64Array.from([1, 0, 1, 0, 1])
  const score = Float64Array.from([0.9, 0.8, 0.8, 0.3, 0.2])

  it('are the AUC and the average precision when each row counts once', () => {
    expect(pointValue(rankStatistic({ y, score }, 'area'), 5)).toBeCloseTo(auc(y, score)!, 12)
    // Precision at the three thresholds with positives: 1, 2/3 and 3/5.
    const precision = (1 + 2 / 3 + 3 / 5) / 3
    expect(pointValue(rankStatistic({ y, score }, 'precision'), 5)).toBeCloseTo(precision, 12)
  })

  it('count a row as often as its weight says', () => {
    const { value } = rankStatistic({ y, score }, 'area') as Extract<Statistic, { kind: 'weights' }>
    expect(value([1, 2, 1, 0, 0])).toBeCloseTo(auc([1, 0, 0, 1], [0.9, 0.8, 0.8, 0.8])!, 12)
  })

  it('are recall and precision of the highest scores, of tied rows in proportion', () => {
    const at = (top: number, of: 'recall' | 'precision') =>
      pointValue(topStatistic({ y, score }, { top, of }), 5)
    // Of the two rows that tie in the second place, one is positive.
    expect([0.2, 0.4, 0.6, 1].map((top) => at(top, 'recall'))).toEqual([1 / 3, 1.5 / 3, 2 / 3, 1])
    expect([0.2, 0.4, 0.6, 1].map((top) => at(top, 'precision'))).toEqual([1, 0.75, 2 / 3, 3 / 5])
    // At least one row is looked at.
    expect(at(0.01, 'precision')).toBe(1)
    const { value } = topStatistic({ y, score }, { top: 0.5, of: 'recall' }) as Extract<
      Statistic,
      { kind: 'weights' }
    >
    expect(value([0, 1, 1, 0, 2])).toBeCloseTo(1 / 3, 12)
    expect(value([0, 1, 0, 1, 0])).toBeNull()
  })

  it('have a mean', () => {
    const column = (values: number[]): Statistic => ({
      kind: 'sums',
      columns: [Float64Array.from(values)],
      value: (sums, weight) => sums[0]! / weight,
    })
    expect(pointValue(meanOfStatistics([column([1, 2]), column([3, 6])]), 2)).toBe(3)
  })
})

describe('the standard error of a mean', () => {
  it('is s/√n of rows, and of entities when rows share them', () => {
    expect(meanError(Float64Array.from([1, 2, 3, 4]))).toBeCloseTo(Math.sqrt(5 / 3) / 2, 12)
    // Two entities with residual sums −2 and 2: √((4 + 4)·2/1)/4.
    expect(meanError(Float64Array.from([1, 2, 3, 4]), ['a', 'a', 'b', 'b'])).toBeCloseTo(1, 12)
    expect(meanError(Float64Array.from([1]))).toBeNull()
  })
})

describe('e-BH', () => {
  it('rejects the k largest e-values that reach n/(k·α)', () => {
    const logE = [100, 45, 30, 1].map(Math.log)
    // At α = 0.1, 40 is needed of one, 20 of each of two, 13.3 of each of three.
    expect(eBenjaminiHochberg(logE, 0.1)).toEqual([true, true, true, false])
    expect(eBenjaminiHochberg([39, 19, 13, 9].map(Math.log), 0.1)).toEqual([false, false, false, false])
  })
})
