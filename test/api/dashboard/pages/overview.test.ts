import { expect, it } from 'vitest'
import { ChampionCell, QualityCell } from '../../../../api/dashboard/pages/overview/cells.tsx'
import {
  changeCount,
  RecentChanges,
  OverviewSummary,
  drawModelLanes,
} from '../../../../api/dashboard/pages/overview/overview.tsx'
import type { RecentChange } from '../../../../store/dashboard/model-history.ts'
import type { OverviewRow } from '../../../../store/dashboard/overview.ts'

const row: OverviewRow = { model: 'iris', isBrought: false, serve: 'normal' }

it('the row of a model without a champion names the first training only while no release is open', () => {
  const told = (hasRelease: boolean) => String(ChampionCell({ row, hasRelease, nowMs: 0 }))
  expect(told(false)).toContain('None yet. Train the first: <code>tenure retrain iris</code>')
  expect(told(true)).toContain('None yet')
  expect(told(true)).not.toContain('Train the first')
})

it.each([true, false])(
  'the row of a model whose first version is being trained links to the retraining',
  (isBrought) => {
    const running = { ...row, isBrought, running: 'retrain/iris/1' }
    const html = String(ChampionCell({ row: running, hasRelease: false, nowMs: 0 }))
    expect(html).toContain('<a href="/retrainings/retrain%2Firis%2F1">A version is being trained</a>')
    expect(html).not.toContain('the first')
  },
)

it('the count of decisions links to the list of releases while none is open', () => {
  const seen = { models: [], open: [], alerts: [], changes: [], nowMs: 0 }
  const decisions = (waiting: object[]) =>
    /<a[^>]*href="([^"]*)"[^>]*>\s*<span[^>]*>Needs a decision/.exec(
      String(OverviewSummary({ ...seen, waiting: waiting as never })),
    )?.[1]
  expect(decisions([])).toBe('/releases')
  expect(decisions([{ version: 'iris_v1.0.0' }])).toBe('#attention')
})

it('both ends of an interval have as many decimals', () => {
  const evaluated = { metric: 'auc', value: 0.6985, rows: 25_000 }
  expect(String(QualityCell({ ...row, evaluated, positives: 0.19 }))).toMatch(/95 % CI 0\.690–0\.707/)
})

it('the axis of a young installation starts at its first event, and not a day before it at the start of a window', async () => {
  const hourMs = 3_600_000
  const nowMs = 500 * 24 * hourMs
  const lanes = await drawModelLanes({
    nowMs,
    fromMs: nowMs - 7 * 24 * hourMs,
    spans: [
      { model: 'iris', kind: 'drift', fromMs: nowMs - 24 * hourMs, toMs: nowMs, level: 'warn', name: 'v1' },
      { model: 'iris', kind: 'release', fromMs: nowMs - 120_000, level: 'canary', name: 'v1' },
    ],
  })
  const hours = [...lanes.wide.matchAll(/>(\d\d:\d\d(?: UTC)?)</g)].map(([, at]) => at)
  expect(hours.length).toBeGreaterThan(2)
  expect(hours.every((at) => at! >= '23:50' || at === '00:00')).toBe(true)
})

it('a narrow column may break a line before the interval of a metric, which would cut the table off', () => {
  const evaluated = { metric: 'accuracy', value: 0.9556, rows: 45 }
  const quality = {
    ...evaluated,
    metric: 'accuracy' as const,
    level: 'held' as const,
    baseline: null,
    margin: 0.1,
    toAt: '',
  }
  for (const cell of [{ evaluated }, { quality }])
    expect(String(QualityCell({ ...row, ...cell }))).not.toMatch(
      /nowrap">[^<]*Accuracy[^<]*(<[^/][^>]*>)?[^<]*CI/,
    )
})

const change: RecentChange = {
  at: '2026-11-26T05:06:00.000Z',
  model: 'iris',
  kind: 'retraining',
  what: 'unchanged',
  reason: 'nothing new: iris_v1.1.0 again, which was rolled back at 2026-11-26T05:06:35.594Z',
  retrainingId: 'retrain/iris/1',
}

it('all changes of a day are counted, though the newest twelve are listed', () => {
  const list = (count: number) =>
    String(RecentChanges({ changes: Array.from({ length: count }, () => change), nowMs: Date.now() }))
  expect([12, 100, 101].map((length) => changeCount(Array.from({ length }, () => change)))).toEqual([
    '12',
    '100',
    'more than 100',
  ])
  expect(list(12)).not.toContain('The newest')
  expect(list(15)).toContain('The newest 12 of 15.')
  expect(list(15).match(/<li>/g)).toHaveLength(12)
})

it('times in the reason of a change are written to the minute', () => {
  expect(String(RecentChanges({ changes: [change], nowMs: Date.now() }))).toContain(
    'rolled back at 2026-11-26 05:06 UTC',
  )
})

it('a promotion names its approvers once, and the user of another change', () => {
  const textOf = (actor: string, reason: string) =>
    String(RecentChanges({ changes: [{ ...change, kind: 'champion', actor, reason }], nowMs: Date.now() }))
      .replaceAll(/<[^>]+>/g, '')
      .replace(/^.*\(promoted\)/s, '')
  expect(textOf('bob', 'release rel_1a, approved by anna and bob')).toBe(' · approved by anna and bob')
  expect(textOf('ops', 'release rel_1a, approved by its policy')).toBe(' · ops · approved by its policy')
  expect(textOf('bob', 'break-glass: fix')).toBe(' · bob · break-glass: fix')
})

it('the bar of an open alert ends now, and the axis of the timeline up to five minutes later', async () => {
  const nowMs = Date.parse('2026-11-26T12:41:00Z')
  const alert = { model: 'iris', kind: 'incident', level: 'critical', name: 'quality' } as const
  const spans = [{ ...alert, fromMs: nowMs - 60_000 }]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs })
  const [, width, x] = /<rect [^>]*width="([\d.]+)" x="([\d.]+)"/.exec(wide)!.map(Number)
  const at = (time: string) =>
    Number(new RegExp(`translate\\(([\\d.]+),24\\)" y="0.71em">${time}<`).exec(wide)?.[1])
  expect(x! + width!).toBeCloseTo(at('12:41'))
  expect(at('12:45')).toBeGreaterThan(at('12:41'))
})

it('the timeline of a young installation begins at its first event', async () => {
  const nowMs = Date.parse('2026-11-26T12:40:00Z')
  const span = { model: 'iris', kind: 'release', level: 'canary', name: 'iris_v1.0.0' } as const
  const spans = [{ ...span, fromMs: nowMs - 18 * 60_000 }]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs })
  const times = [...wide.matchAll(/>(\d\d:\d\d(?: UTC)?)</g)].map(([, time]) => time)
  expect(times[0]).toBe('12:20 UTC')
  expect(times.at(-1)).toBe('12:40')
})

it('a window of drift is drawn from the first event of an installation, not from before it', async () => {
  const nowMs = Date.parse('2026-11-26T12:40:00Z')
  const release = { model: 'iris', kind: 'release', level: 'canary', name: 'iris_v1.0.0' } as const
  const drift = { model: 'iris', kind: 'drift', level: 'stable', name: 'iris_v1.0.0' } as const
  const spans = [
    { ...drift, fromMs: nowMs - 60 * 60_000, toMs: nowMs - 3 * 60_000 },
    { ...release, fromMs: nowMs - 5 * 60_000 },
  ]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs })
  expect(wide).toContain('drift of iris_v1.0.0: stable, 2026-11-26 12:35 UTC to 2026-11-26 12:37 UTC')
})

it('a retraining says who requested it and that its release has started', () => {
  const textOf = (of: RecentChange) =>
    String(RecentChanges({ changes: [of], nowMs: Date.now() })).replaceAll(/<[^>]+>/g, '')
  const retraining = {
    ...change,
    kind: 'retraining',
    what: 'released',
    actor: 'cron',
    retrainingId: 'r',
  } as const
  expect(textOf(retraining)).toContain('retraining: release started · requested by cron')
})
