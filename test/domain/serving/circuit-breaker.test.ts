import { describe, expect, it } from 'vitest'
import { breakerAlpha, defaultAlpha, guardAlpha } from '../../../domain/canary/alpha-split.ts'
import { breaker } from '../../../domain/serving/circuit-breaker.ts'

const until = (each: (b: ReturnType<typeof breaker>) => void, b = breaker(0.02, 0.001)) => {
  let calls = 0
  while (!b.isOpen() && calls < 10_000) {
    each(b)
    calls++
  }
  return calls
}

describe('the breaker', () => {
  it('spends the α of the guard together with the judge, when half of the replicas are enough', () => {
    const evidenceOfHalf = 1 / breakerAlpha(defaultAlpha) / 2
    expect(1 / evidenceOfHalf + guardAlpha(defaultAlpha)).toBeCloseTo(defaultAlpha.guard, 12)
  })

  it('opens within ten responses when every one is invalid', () => {
    expect(until((b) => b.bad())).toBeLessThanOrEqual(4)
  })

  it('opens as fast on a fault that begins after a good day of ticks', () => {
    const b = breaker(0.02, 0.001)
    for (let tick = 0; tick < 8_640; tick++) {
      b.good(50)
      b.restart()
    }
    expect(until((each) => each.bad(), b)).toBeLessThanOrEqual(12)
  })

  it('stays closed at a rate below its limit', () => {
    const b = breaker(0.02, 0.001)
    for (let i = 0; i < 1_000; i++) {
      b.good(99)
      b.bad()
    }
    expect(b.isOpen()).toBe(false)
  })

  it('stays open once open', () => {
    const b = breaker(0.02, 0.001)
    until((each) => each.bad(), b)
    b.good(1_000_000)
    expect(b.bad()).toBe(true)
  })
})
