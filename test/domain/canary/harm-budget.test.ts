import { describe, expect, it } from 'vitest'
import { excessBad, nextShareBp, type RampInput } from '../../../domain/canary/harm-budget.ts'
import { binomial, seededRandom, srmEvidence } from '@tenure/sequential'

describe('the harm ledger', () => {
  it('counts invalid responses beyond the rate of the champion, stage by stage', () => {
    const first = { canaryRequests: 100, canaryBad: 7, controlRequests: 1_000, controlBad: 20 }
    const better = { canaryRequests: 500, canaryBad: 0, controlRequests: 1_000, controlBad: 20 }
    expect(excessBad([first])).toBeCloseTo(5, 12)
    expect(excessBad([first, better])).toBeCloseTo(5, 12)
    expect(excessBad([])).toBe(0)
  })

  it('counts every invalid response without a control', () => {
    expect(excessBad([{ canaryRequests: 10, canaryBad: 3, controlRequests: 0, controlBad: 0 }])).toBe(3)
  })
})

describe('the ramp', () => {
  const proven = { canaryRequests: 20_000, canaryBad: 100, controlRequests: 380_000, controlBad: 1_900 }
  const input: RampInput = {
    currentBp: 500,
    capBp: 5_000,
    budgetLeft: 50,
    requestsPerSecond: 100,
    reactionSeconds: 20,
    seen: proven,
  }

  it('goes up at most three times, in the steps of the policy', () => {
    expect(nextShareBp(input)).toBe(1_000)
    expect(nextShareBp({ ...input, currentBp: 1_000 })).toBe(2_500)
    expect(nextShareBp({ ...input, currentBp: 2_500 })).toBe(5_000)
    expect(nextShareBp({ ...input, currentBp: 2_500, capBp: 2_500 })).toBe(2_500)
    expect(nextShareBp({ ...input, currentBp: 0 })).toBe(100)
  })

  it('stays when the budget does not allow more', () => {
    expect(nextShareBp({ ...input, budgetLeft: 0 })).toBe(500)
    const unknown = { canaryRequests: 10, canaryBad: 0, controlRequests: 190, controlBad: 1 }
    expect(nextShareBp({ ...input, seen: unknown, budgetLeft: 20 })).toBe(500)
  })

  it('is null for invalid numbers', () => {
    expect(nextShareBp({ ...input, requestsPerSecond: NaN })).toBeNull()
    expect(nextShareBp({ ...input, budgetLeft: -1 })).toBeNull()
    expect(nextShareBp({ ...input, seen: { ...proven, canaryBad: 20_001 } })).toBeNull()
  })
})

describe('the sample ratio', () => {
  it('of a router that sends 8 % instead of 5 % is found within 4,000 requests', () => {
    const uniform = seededRandom(1)
    const found = Array.from({ length: 100 }, () => {
      const canary = binomial(uniform, 4_000, 0.08)
      return srmEvidence(canary, 4_000 - canary, 0.05)! >= Math.log(1_000)
    })
    expect(found.filter(Boolean).length).toBeGreaterThanOrEqual(99)
  })

  it('of a healthy router raises no alarm in a day of evaluations', () => {
    const uniform = seededRandom(2)
    let alarms = 0
    for (let day = 0; day < 100; day++) {
      let [canary, control] = [0, 0]
      for (let look = 0; look < 500; look++) {
        const sent = binomial(uniform, 100, 0.05)
        canary += sent
        control += 100 - sent
        if (srmEvidence(canary, control, 0.05)! >= Math.log(1_000)) {
          alarms++
          break
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(1)
  })

  it('may lie within the tolerance, and bursts count less', () => {
    expect(srmEvidence(800, 9_200, 0.05)).toBeGreaterThan(50)
    expect(srmEvidence(800, 9_200, 0.05, { tolerance: 0.7 })).toBeLessThan(0)
    expect(srmEvidence(800, 9_200, 0.05, { designEffect: 100 })).toBeLessThan(Math.log(1_000))
  })

  it('is undefined for invalid counts and shares', () => {
    expect(srmEvidence(0, 0, 0.05)).toBe(0)
    expect(srmEvidence(1, 1, 0)).toBeNull()
    expect(srmEvidence(NaN, 1, 0.5)).toBeNull()
    expect(srmEvidence(1, 1, 0.5, { designEffect: 0 })).toBeNull()
  })
})
