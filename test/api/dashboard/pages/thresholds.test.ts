import { expect, it } from 'vitest'
import { ThresholdSection } from '../../../../api/dashboard/pages/model/model.tsx'

const sectionOf = (predicted: number[], threshold: number) =>
  String(
    ThresholdSection({
      scored: { observed: predicted.map((_, i) => Number(i % 7 === 0)), predicted },
      threshold,
    }),
  )
const cellsOf = (html: string): string[][] =>
  [...html.matchAll(/<tr>(.*?)<\/tr>/gs)]
    .slice(1)
    .map(([, row]) =>
      [...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/gs)].map(([, cell]) =>
        cell!.replaceAll(/<[^>]*>/g, '').trim(),
      ),
    )

it('shares of all thresholds have one decimal', () => {
  const shares = sectionOf(
    Array.from({ length: 1_000 }, (_, i) => i / 1_000),
    0.25,
  ).match(/[\d.]+ %/g)!
  expect(shares).toHaveLength(9 * 4)
  expect(shares.filter((share) => !/^\d+\.\d %$/.test(share))).toEqual([])
})

it('thresholds are those of alert budgets, however low the probabilities are', () => {
  const rows = cellsOf(
    sectionOf(
      Array.from({ length: 2_000 }, (_, i) => (i + 1) / 100_000),
      0.5,
    ),
  )
  expect(rows.map(([, raised]) => raised)).toEqual([
    '50.0 %',
    '20.0 %',
    '10.0 %',
    '5.0 %',
    '2.0 %',
    '1.0 %',
    '0.5 %',
    '0.1 %',
    '0.0 %',
  ])
  expect(rows.at(-1)?.[0]).toMatch(/^0\.5 *now$/)
})
