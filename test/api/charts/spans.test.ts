/** Tests the axis of the durations of drills. */
import { expect, it } from 'vitest'
import { spansSvg, spanTicks } from '../../../api/charts/spans.ts'

it.each([
  [12_500, 2, [0, 5_000, 10_000]],
  [21_600, 5, [0, 5_000, 10_000, 15_000, 20_000]],
  [606_000, 2, [0, 300_000, 600_000]],
  [606_000, 5, [0, 120_000, 240_000, 360_000, 480_000, 600_000]],
  [0, 2, [0]],
])('the ticks of %s ms, at most %s, are whole in their unit', (longestMs, most, ticks) =>
  expect(spanTicks(longestMs, most)).toEqual(ticks),
)

it('a phone has the kind of a drill alone, and room for a long duration', async () => {
  const bar = { label: 'dead-worker, 11-27 01:09 UTC', short: 'dead-worker', failed: false }
  const bars = [{ ...bar, detectionMs: 605_000, recoveryMs: 606_000 }]
  const narrow = await spansSvg(bars, { id: 'drills', title: 'Drills', width: 340 })
  expect(narrow).toMatch(/>dead-worker<\/text>/)
  const text = /<text[^>]*transform="translate\(([\d.]+),[^>]*>10 min 5 s<\/text>/.exec(narrow)
  // Six pixels from the bar, and up to 6.4 for each of its ten letters.
  expect(Number(text?.[1]) + 6 + 64).toBeLessThan(340)
})
