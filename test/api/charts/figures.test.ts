/** Tests the formats of numbers, durations and names, with NaN and infinite values. */
import { expect, it } from 'vitest'
import { apart, timeDomain, timeFormat } from '../../../api/charts/axis.ts'
import {
  bytesText,
  countText,
  spanText,
  figureText,
  utcMinute,
  percentOf,
  psiText,
  truncated,
  signedText,
} from '../../../api/charts/figures.ts'
import { barText, sparkline } from '../../../api/charts/sparkline.ts'
import { thin } from '../../../api/charts/thin.ts'

it.each([
  [figureText(0.69314718), '0.6931'],
  [figureText(-0.5), '−0.5'],
  [figureText(1e-9), '1.00e−9'],
  [figureText(NaN), '–'],
  [psiText(0.2309), '0.23'],
  [psiText(1e-5), '< 0.001'],
  [psiText(NaN), '–'],
  [signedText(0.02334), '+0.0233'],
  [signedText(-0.02334), '−0.0233'],
  [signedText(0), '0'],
  [signedText(0.00001), '+1.0e−5'],
  [signedText(null), '–'],
  [countText(1234567), '1,234,567'],
  [countText(Infinity), '–'],
  [percentOf(0.0525), '5.25 %'],
  [percentOf(null), '–'],
  [spanText(350), '350 ms'],
  [spanText(5_300), '5.3 s'],
  [spanText(125_000), '2 min 5 s'],
  [spanText(7_500_000), '2 h 5 min'],
  [spanText(86_400_000), '1 d'],
  [spanText(undefined), '–'],
  [bytesText(0), '0 B'],
  [bytesText(13_400_000), '13.4 MB'],
  [bytesText(-1), '–'],
  [utcMinute(Date.UTC(2026, 2, 1, 12)), '2026-03-01 12:00 UTC'],
  [utcMinute(1e18), '–'],
  [truncated('a\u0007 \n b\u202ec', 10), 'a b c'],
  [truncated('🛫🛬🛫🛬', 3), '🛫🛬…'],
  [sparkline([1, 2, NaN, 3]), '▁▅·█'],
  [sparkline([2, 2]), '▅▅'],
  [sparkline([]), ''],
  [barText(0.5, 4), '██  '],
  [barText(1.5, 2), '██'],
  [barText(NaN, 2), '  '],
])('%s', (said, expected) => expect(said).toBe(expected))

it('thinning 10,000 points keeps their peak', () => {
  const points = Array.from({ length: 10_000 }, (_, i) =>
    i === 7_777 ? 99 : i === 3_333 ? NaN : Math.sin(i),
  )
  const kept = thin(points, (value) => value, 400)
  expect(kept).toContain(99)
  expect(kept.length).toBeLessThanOrEqual(400)
  expect([kept[0], kept.at(-1)]).toEqual([points[0], points.at(-1)])
})

it('labels are moved apart within their range', () => {
  const moved = apart([50, 50, 51, 99], { gap: 10, low: 0, high: 100 })
  const sorted = [...moved].sort((one, other) => one - other)
  for (const [i, place] of sorted.entries())
    if (i > 0) expect(place - sorted[i - 1]!).toBeGreaterThanOrEqual(10)
  expect(sorted.at(-1)).toBeLessThanOrEqual(100)
})

it('the time axis of one point or of none has a width', () => {
  const [from, to] = timeDomain([1e12, NaN])
  expect(to.getTime()).toBeGreaterThan(from.getTime())
  expect(timeDomain([])[1].getTime()).toBe(1)
  expect(timeFormat(3_600_000)(Date.UTC(2026, 0, 1, 13, 5))).toBe('13:05')
  expect(timeFormat(30 * 86_400_000)(Date.UTC(2026, 0, 31))).toBe('Jan 31')
})
