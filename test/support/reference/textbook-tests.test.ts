import { describe, expect, it } from 'vitest'
import { srmChiSquare, studentCdf } from './textbook-tests.ts'

describe("Student's t distribution (SciPy 1.17.1)", () => {
  it.each([
    ['studentCdf(-2.1, 7)', studentCdf(-2.1, 7), 0.036935598106461326],
    ['studentCdf(1.5, 1000)', studentCdf(1.5, 1000), 0.9330349805889568],
  ])('%s', (_, got, wanted) => {
    expect(Math.abs(got! - wanted)).toBeLessThanOrEqual(1e-10 * Math.max(1, Math.abs(wanted)))
  })

  it.each([studentCdf(1, 0), studentCdf(NaN, 3)])('is null where it is not defined (%#)', (value) =>
    expect(value).toBeNull(),
  )
})

describe('the chi-square test of a sample ratio', () => {
  it('agrees with SciPy 1.17.1 chisquare([80, 920], [50, 950])', () => {
    const { stat, p } = srmChiSquare(80, 920, 0.05)
    expect(stat).toBeCloseTo(18.94736842105263, 10)
    expect(p).toBeCloseTo(1.3437449764163664e-5, 14)
    expect(srmChiSquare(0, 0, 0.05)).toEqual({ stat: null, p: null })
  })
})
