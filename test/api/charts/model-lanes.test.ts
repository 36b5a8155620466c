import { expect, it } from 'vitest'
import { modelLanesSvg, type LaneSpan } from '../../../api/charts/history/model-lanes.ts'

const hourMs = 3_600_000
const window = (hour: number, level: string): LaneSpan => ({
  model: 'm',
  kind: 'drift',
  fromMs: hour * hourMs,
  toMs: (hour + 1) * hourMs,
  level,
  name: 'm_v1.0.0',
})
const draw = (spans: LaneSpan[]) =>
  modelLanesSvg({ spans, fromMs: 0, nowMs: 100 * hourMs }, { id: 'lanes', title: 'Lanes' })
const titles = (svg: string) => [...svg.matchAll(/<title>([^<]+)<\/title>/g)].map(([, words]) => words)

it('draws windows of one level that follow each other as one bar, and a release that is open until now', async () => {
  const svg = await draw([
    ...[0, 1, 2, 50].map((hour) => window(hour, 'stable')),
    window(3, 'alarm'),
    { model: 'm', kind: 'release', fromMs: 90 * hourMs, level: 'canary', name: 'm_v1.1.0' },
  ])
  expect(titles(svg).toSorted((one, other) => one!.localeCompare(other!))).toEqual([
    'drift of m_v1.0.0: alarm, 1970-01-01 03:00 UTC to 1970-01-01 04:00 UTC',
    'drift of m_v1.0.0: stable, 1970-01-01 00:00 UTC to 1970-01-01 03:00 UTC',
    'drift of m_v1.0.0: stable, 1970-01-03 02:00 UTC to 1970-01-03 03:00 UTC',
    'release of m_v1.1.0: canary, 1970-01-04 18:00 UTC until now',
  ])
  expect(svg).toContain('m: 1 releases, 5 drift (1 alarm)')
})

it('leaves out what has not happened yet', async () => {
  expect(await draw([window(101, 'alarm')])).toContain('Nothing has happened yet')
})
