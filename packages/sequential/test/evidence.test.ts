import { describe, expect, it } from 'vitest'
import { oneArmRateTest } from '../src/one-arm-rate-test.ts'
import { nonInferiorityEvidence } from '../src/non-inferiority-test.ts'
import { pairedEvidence } from '../src/paired-test.ts'
import { logAddExp } from '../src/distributions.ts'
import { eProcess, inverseGrid, ratioGrid } from '../src/e-process.ts'
import { twoArmRateTest, type RateTick } from '../src/two-arm-rate-test.ts'
import { seededRandom } from '../src/random.ts'
import { binomial } from '../src/random-variates.ts'

const tick = (
  treatmentTotal: number,
  controlTotal: number,
  treatmentEvents: number,
  controlEvents: number,
): RateTick => ({
  treatmentTotal,
  controlTotal,
  treatmentEvents,
  controlEvents,
})

/** Generates traffic of two arms with a share that varies between 1 and 50 %. */
function traffic(
  uniform: () => number,
  ticks: number,
  treatmentRate: number,
  controlRate: number,
): RateTick[] {
  return Array.from({ length: ticks }, () => {
    const share = 0.01 + 0.49 * uniform()
    const treatment = binomial(uniform, 200, share)
    return tick(
      treatment,
      200 - treatment,
      binomial(uniform, treatment, treatmentRate),
      binomial(uniform, 200 - treatment, controlRate),
    )
  })
}

/**
 * The evidence with restarts by its definition: Σ_j w_j·E^(j) of tests that are begun one by one at the ticks `starts`, with the rest of
 * the mass, 1/(J + 1), at 1.
 */
function delayedStartEvidence(ticks: readonly RateTick[], starts: readonly number[]): number {
  return starts.reduce(
    (evidence, start, index) => {
      const test = twoArmRateTest()
      for (const each of ticks.slice(start)) test.add(each)
      return logAddExp(evidence, test.plainLogE() - Math.log((index + 1) * (index + 2)))
    },
    Math.log(1 / (starts.length + 1)),
  )
}

describe('the grid', () => {
  it('runs from 1.25 to 40 in 16 equal steps, and back', () => {
    expect(ratioGrid).toHaveLength(16)
    expect(ratioGrid[0]).toBe(1.25)
    expect(ratioGrid[15]).toBeCloseTo(40, 12)
    expect(inverseGrid[15]).toBeCloseTo(1 / 40, 12)
  })
})

describe('evidence evaluated after every tick', () => {
  it.each([
    ['against a treatment that is as good, with restarts', 1, 0.01, 0.01],
    ['against a treatment exactly at the tolerated ratio', 1.5, 0.015, 0.01],
    ['against a treatment with a common event', 1, 0.2, 0.2],
  ])('rises above ln 20 in at most one run of twenty: %s', (_, ratio, treatmentRate, controlRate) => {
    const uniform = seededRandom(7)
    const runs = 250
    let alarms = 0
    for (let run = 0; run < runs; run++) {
      const test = twoArmRateTest({ ratio })
      const crossed = traffic(uniform, 120, treatmentRate, controlRate).some((each, i) => {
        if (i > 0 && i % 30 === 0) test.restart()
        test.add(each)
        return test.logE() >= Math.log(20)
      })
      if (crossed) alarms++
    }
    expect(alarms / runs).toBeLessThanOrEqual(0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs))
  })

  it('of the inverse grid does not prove a doubled rate to be less than doubled', () => {
    const uniform = seededRandom(8)
    let proofs = 0
    for (let run = 0; run < 250; run++) {
      const test = twoArmRateTest({ ratio: 2, grid: inverseGrid })
      const proven = traffic(uniform, 120, 0.02, 0.01).some((each) => {
        test.add(each)
        return test.plainLogE() >= Math.log(20)
      })
      if (proven) proofs++
    }
    expect(proofs / 250).toBeLessThanOrEqual(0.05 + 3 * Math.sqrt((0.05 * 0.95) / 250))
  })

  it('rises above ln 20 in nearly every run when the treatment is three times as bad', () => {
    const uniform = seededRandom(9)
    const found = Array.from({ length: 50 }, () => {
      const test = twoArmRateTest()
      for (const each of traffic(uniform, 120, 0.03, 0.01)) test.add(each)
      return test.logE() >= Math.log(20)
    })
    expect(found.filter(Boolean).length).toBeGreaterThanOrEqual(49)
  })
})

describe('restarts', () => {
  it('folded into one number equal the tests begun one by one', () => {
    const ticks = traffic(seededRandom(3), 40, 0.02, 0.01)
    const starts = [0, 7, 19, 31]
    const test = twoArmRateTest()
    ticks.forEach((each, i) => {
      if (i > 0 && starts.includes(i)) test.restart()
      test.add(each)
    })
    expect(test.logE()).toBeCloseTo(delayedStartEvidence(ticks, starts), 9)
  })

  it('stay exact when the first start has no evidence left', () => {
    const process = eProcess(2)
    process.add([-5_000, -4_000])
    process.restart()
    process.add([3, -1])
    // ½·0 + ⅙·(e³ + e⁻¹)/2 + ⅓·1
    expect(process.logE()).toBeCloseTo(Math.log((Math.E ** 3 + Math.E ** -1) / 12 + 1 / 3), 12)
  })

  it('begin without evidence', () => {
    const process = eProcess(3)
    expect(process.logE()).toBeCloseTo(0, 12)
    for (let i = 0; i < 10; i++) process.restart()
    expect(process.logE()).toBeCloseTo(0, 12)
  })
})

describe('the test of one arm', () => {
  it.each([
    [1, 3],
    [0.1, 87],
  ])('at a failure rate of %d needs about %d requests', (rate, requests) => {
    const needed = Array.from({ length: 3_000 }, (_, i) => i + 1).find((n) => {
      const test = oneArmRateTest(0.02)
      test.add(n, Math.round(n * rate))
      return test.plainLogE() >= Math.log(1_000)
    })
    expect(Math.abs(needed! - requests)).toBeLessThanOrEqual(0.15 * requests)
  })

  it('fires at p0 itself in fewer than one run of a thousand, evaluated after each request', () => {
    const uniform = seededRandom(4)
    let alarms = 0
    for (let run = 0; run < 500; run++) {
      const test = oneArmRateTest(0.02)
      for (let i = 0; i < 200; i++) {
        test.add(1, uniform() < 0.02 ? 1 : 0)
        if (test.logE() >= Math.log(1_000)) {
          alarms++
          break
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(2)
  })
})

describe('pairs', () => {
  it('are no evidence without a disagreement, and for neither side when even', () => {
    expect(pairedEvidence(0, 0)).toBe(0)
    expect(pairedEvidence(50, 50)).toBeLessThan(0)
    expect(pairedEvidence(50, 10)).toBeGreaterThan(Math.log(100))
    expect(pairedEvidence(NaN, 1)).toBeNull()
    expect(pairedEvidence(1, -1)).toBeNull()
  })

  it('prove non-inferiority only with enough of them', () => {
    expect(nonInferiorityEvidence({ lost: 0, same: 10, won: 0 }, 0.02)).toBeLessThan(Math.log(20))
    expect(nonInferiorityEvidence({ lost: 40, same: 900, won: 60 }, 0.02)).toBeGreaterThan(Math.log(20))
    expect(nonInferiorityEvidence({ lost: 100, same: 900, won: 0 }, 0.02)).toBeLessThan(0)
    expect(nonInferiorityEvidence({ lost: 0, same: NaN, won: 0 }, 0.02)).toBeNull()
  })
})
