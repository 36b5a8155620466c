import { expect, it } from 'vitest'
import { ThresholdSection } from '../../../../api/dashboard/pages/model/model.tsx'

it('recall, precision and accuracy of all thresholds have one decimal', () => {
  const predicted = Array.from({ length: 1_000 }, (_, i) => i / 1_000)
  const observed = predicted.map((_, i) => Number(i % 7 === 0))
  const html = String(ThresholdSection({ scored: { observed, predicted } as never, threshold: 0.25 }))
  const shares = html.match(/[\d.]+ %/g)!
  expect(shares).toHaveLength(30)
  expect(shares.filter((share) => !/^\d+\.\d %$/.test(share))).toEqual([])
})
