import { describe, expect, it } from 'vitest'
import { kolmogorovTailOf } from '../src/kolmogorov-smirnov.ts'

describe('the Kolmogorov tail (SciPy 1.17.1)', () => {
  it.each([
    ['kolmogorovTailOf(22, 0.32)', kolmogorovTailOf(22, 0.32), 0.016707802528753146],
    ['kolmogorovTailOf(100, 0.05)', kolmogorovTailOf(100, 0.05), 0.9532159710635725],
    ['kolmogorovTailOf(250, 0.09)', kolmogorovTailOf(250, 0.09), 0.0326901325154183],
    ['kolmogorovTailOf(250, 0.02)', kolmogorovTailOf(250, 0.02), 0.9999303176086239],
    ['kolmogorovTailOf(5_000, 0.01)', kolmogorovTailOf(5_000, 0.01), 0.6954557253913853],
    ['kolmogorovTailOf(5_000, 0.03)', kolmogorovTailOf(5_000, 0.03), 0.00024159234422666817],
    ['kolmogorovTailOf(3, 0.7)', kolmogorovTailOf(3, 0.7), 0.05400000000000003],
  ])('%s', (_, got, wanted) => {
    expect(Math.abs(got! - wanted)).toBeLessThanOrEqual(1e-10 * Math.max(1, Math.abs(wanted)))
  })

  it.each([kolmogorovTailOf(0, 0.5), kolmogorovTailOf(2.5, 0.5), kolmogorovTailOf(5, NaN)])(
    'is null where it is not defined (%#)',
    (value) => expect(value).toBeNull(),
  )

  it('reaches its ends exactly', () => {
    expect([kolmogorovTailOf(5, 1), kolmogorovTailOf(5, 0.05), kolmogorovTailOf(1_000_000, 0.5)]).toEqual([
      0, 1, 0,
    ])
  })
})
