/** Tests every chart with unusual data: none, one point, NaN, 10,000 points, hostile names. */
import { describe, expect, it } from 'vitest'
import { standAlone } from '../../../api/charts/colours.ts'
import { driftSvg, type DriftBar } from '../../../api/charts/drift.ts'
import {
  evidencePoints,
  evidenceSvg,
  evidenceText,
  type EvidencePoint,
} from '../../../api/charts/evidence.ts'
import { importanceSvg } from '../../../api/charts/importance.ts'
import { intervalsSvg, intervalsText, type IntervalRow } from '../../../api/charts/intervals.ts'
import { lossSvg, lossText, type Epoch } from '../../../api/charts/loss.ts'
import { modelLanesSvg, type LaneSpan } from '../../../api/charts/history/model-lanes.ts'
import { runCurvesSvg } from '../../../api/charts/history/run-curves.ts'
import { profileBins, profileSvg } from '../../../api/charts/profile.ts'
import { qualitySvg, type QualityPoint } from '../../../api/charts/quality.ts'
import { reliabilitySvg } from '../../../api/charts/reliability.ts'
import { spansSvg, type SpanBar } from '../../../api/charts/spans.ts'
import { timelineSvg, timelineText, type TimelineStage } from '../../../api/charts/timeline.ts'

type Draw = (n: number, odd: { name: string; value: number }, width: number) => Promise<string>

const start = Date.UTC(2026, 2, 1)
const list = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i))
const frame = (width: number) => ({ id: 'chart', title: 'A chart', width })

const interval = (i: number, { name, value }: { name: string; value: number }): IntervalRow => ({
  label: name,
  delta: i % 2 === 0 ? value : 0.01 * i,
  low: 0.01 * i - 0.02,
  high: value,
  limit: -0.005,
  verdict: i % 2 === 0 ? 'not_worse' : 'better',
})
const stage = (i: number, { name, value }: { name: string; value: number }): TimelineStage => ({
  name,
  fromMs: start + i * 60_000,
  toMs: i % 3 === 0 ? null : start + (i + 1) * 60_000,
  shareBp: i % 2 === 0 ? value : 500,
  verdict: 'pass',
})
const evidence = (i: number, { name, value }: { name: string; value: number }): EvidencePoint => ({
  atMs: start + i * 1_000,
  stage: `${name} ${i % 3}`,
  name: i % 2 === 0 ? name : 'errors',
  side: i % 2 === 0 ? 'for' : 'against',
  share: i % 5 === 0 ? value : i / 100,
})
const epoch = (i: number, { value }: { value: number }): Epoch => ({
  epoch: i + 1,
  loss: i % 7 === 6 ? value : 1 / (i + 1),
})
const quality = (i: number, { name, value }: { name: string; value: number }): QualityPoint => ({
  atMs: start + i * 604_800_000,
  value: i % 4 === 3 ? value : 0.7,
  low: 0.68,
  high: i % 4 === 3 ? value : 0.72,
  baseline: 0.7,
  limit: 0.68,
  version: name,
  level: i % 2 === 0 ? 'held' : 'lost',
  rows: 100,
})

/** Every chart with n items, some of them unusual. */
const drawings: Record<string, Draw> = {
  intervals: (n, odd, width) =>
    intervalsSvg(
      list(n, (i) => interval(i, odd)),
      frame(width),
    ),
  timeline: (n, odd, width) =>
    timelineSvg(
      {
        stages: list(n, (i) => stage(i, odd)),
        harm: list(n, (i) => ({ atMs: start + i, excess: i % 2 === 0 ? odd.value : i })),
        harmBudget: 50,
        nowMs: start + 1,
      },
      frame(width),
    ),
  evidence: (n, odd, width) =>
    evidenceSvg(
      list(n, (i) => evidence(i, odd)),
      frame(width),
    ),
  loss: (n, odd, width) =>
    lossSvg(
      list(n, (i) => epoch(i, odd)),
      frame(width),
    ),
  quality: (n, odd, width) =>
    qualitySvg(
      list(n, (i) => quality(i, odd)),
      { ...frame(width), metric: 'auc' },
    ),
  drift: (n, odd, width) =>
    driftSvg(
      list(n, (i): DriftBar => ({ name: odd.name, psi: i % 2 === 0 ? odd.value : 0.1, level: 'warn' })),
      { ...frame(width), warn: 0.1, alarm: 0.2 },
    ),
  reliability: (n, odd, width) =>
    reliabilitySvg(
      {
        ece: odd.value,
        bins: list(n, (i) => ({
          rows: i,
          meanProbability: i % 2 === 0 ? odd.value : 0.5,
          positiveRate: 0.5,
        })),
      },
      frame(width),
    ),
  profile: (n, odd, width) =>
    profileSvg(
      list(n, (i) => ({
        key: String(i),
        name: odd.name,
        training: i % 2 === 0 ? odd.value : 0.1,
        live: 0.1,
      })),
      { ...frame(width), subject: odd.name },
    ),
  'run curves': (n, odd, width) =>
    runCurvesSvg(
      list(n, (i) => ({
        name: odd.name,
        points: list(12, (at) => epoch(at, i % 2 === 0 ? odd : plain)),
        marked: i === 0,
      })),
      frame(width),
    ),
  'model lanes': (n, odd, width) =>
    modelLanesSvg(
      {
        spans: list(n, (i): LaneSpan => ({
          model: `${odd.name} ${i % 3}`,
          kind: (['release', 'drift', 'quality', 'incident'] as const)[i % 4]!,
          fromMs: i % 2 === 0 ? start + i * 1_000 : odd.value,
          toMs: i % 5 === 0 ? undefined : start + (i + 1) * 1_000,
          level: i % 2 === 0 ? 'warn' : 'held',
          name: odd.name,
        })),
        fromMs: start,
        nowMs: start + 1e7,
      },
      frame(width),
    ),
  spans: (n, odd, width) =>
    spansSvg(
      list(n, (i): SpanBar => ({
        label: odd.name,
        detectionMs: i % 2 === 0 ? odd.value : 5,
        recoveryMs: 9,
        failed: false,
      })),
      frame(width),
    ),
}

const plain = { name: 'auc', value: 0.01 }
const scripted = `<script>alert(1)</script>"'&\u0000\u202e${'x'.repeat(5_000)}`
/** Content that a browser refuses or silently drops. */
const refused = /<script|<style|\sstyle=|NaN|Infinity|undefined|javascript:|\son\w+=/
const refusedIn = (svg: string): string | undefined => refused.exec(svg)?.[0]

describe.each(Object.entries(drawings))('the chart %s', (name, drawing) => {
  it.each([0, 1, 2, 12])('draws %i items, wide and narrow', async (n) => {
    for (const width of [640, 340]) {
      const svg = await drawing(n, plain, width)
      expect(svg).toMatch(/^<svg [^>]*role="img"[^>]*>/)
      expect(svg).toContain(
        `<title id="chart-${svg.match(/id="chart-(\d+)-title"/)?.[1]}-title">A chart</title>`,
      )
      expect(svg).toMatch(/<desc id="chart-\d+-desc">[^<]{10,}<\/desc>/)
      expect(refusedIn(svg)).toBeUndefined()
    }
  })
  it.each([NaN, Infinity, -Infinity, 1e300, -1e300, 0])(
    'draws a value of %s without NaN, Infinity or undefined in the SVG',
    async (value) => {
      for (const n of [1, 5])
        expect(refusedIn(await drawing(n, { name: 'auc', value }, 640)), name).toBeUndefined()
    },
  )
  it('draws 10,000 items in the size of a page', async () => {
    const svg = await drawing(10_000, plain, 640)
    expect(svg.length).toBeLessThan(600_000)
    expect(Number(/height="(\d+)"/.exec(svg)?.[1])).toBeLessThan(3_000)
  })
  it('escapes names that contain markup, and cuts long ones', async () => {
    const svg = await drawing(3, { name: scripted, value: 0.01 }, 640)
    expect(refusedIn(svg)).toBeUndefined()
    expect(svg.includes('x'.repeat(300))).toBe(false)
  })
})

it('the line of no gain does not cross the figures of a narrow chart', async () => {
  const gains = { label: 'AUC', delta: 0.02, low: 0.01, high: 0.029, limit: null, verdict: 'better' } as const
  const svg = await intervalsSvg([gains, { ...gains, label: 'F1' }], frame(340))
  const [, line] = /<g stroke-opacity="0.55"[^>]*>(.*?)<\/g>/s.exec(svg)!
  expect(line!.match(/<line /g)).toHaveLength(2)
})

it('the limits of a drift chart have their names on either side, where one feature flattens the rest', async () => {
  const bars: DriftBar[] = [{ name: 'weekday', psi: 1.7, level: 'warn' }]
  const svg = await driftSvg(bars, { ...frame(560), warn: 0.1, alarm: 0.2 })
  expect(svg).toMatch(/text-anchor="end"[^>]*>(?:<text[^>]*>)?warning</)
  expect(svg).toMatch(/text-anchor="start"[^>]*>(?:<text[^>]*>)?alarm</)
  expect(svg).toContain('1.7 warning')
})

it('a quality chart names its metric as headings do', async () =>
  expect(await qualitySvg([quality(0, plain)], { ...frame(560), metric: 'auc' })).toContain('>AUC</text>'))

it('the ticks of gains leave room for their labels', async () => {
  const gains = {
    label: 'AUC',
    delta: 0.02,
    low: 0.01,
    high: 0.029,
    limit: -0.01,
    verdict: 'better',
  } as const
  const svg = await intervalsSvg([gains], frame(500))
  expect([...svg.matchAll(/>([+−]0\.\d+)</g)].map(([, tick]) => tick)).toEqual(['−0.02', '+0.02'])
})

describe('a chart for the terminal', () => {
  const rows: IntervalRow[] = [
    { label: 'auc', delta: 0.02, low: 0.01, high: 0.03, limit: -0.01, verdict: 'better' },
    { label: 'accuracy', delta: -0.02, low: -0.03, high: -0.01, limit: -0.01, verdict: 'not_better' },
  ]
  it('draws a positive gain right of zero and a negative one left of it', () => {
    const [better, worse] = intervalsText(rows)
      .split('\n')
      .map((line) => [line.indexOf('│'), line.indexOf('●'), line.indexOf('╎')])
    expect(better![1]).toBeGreaterThan(better![0]!)
    expect(worse![1]).toBeLessThan(worse![0]!)
    expect(better![2]).toBeLessThan(better![0]!)
  })
  it('scales each row on its own when gains differ by orders of magnitude', () => {
    const unlike = intervalsText([
      { ...rows[0]! },
      { ...rows[0]!, label: 'rmse', delta: 200, low: 100, high: 300 },
    ])
    expect(unlike).toContain('each row on its own scale')
    expect(intervalsText(rows)).not.toContain('its own scale')
  })
  it('draws a falling loss falling', () => {
    const lines = lossText(list(20, (i) => ({ epoch: i + 1, loss: 1 / (i + 1) }))).split('\n')
    expect(lines[0]!.trimEnd().length).toBeLessThan(lines[5]!.length)
    expect(lines.at(-1)).toContain('epoch 1 to 20; loss 1 → 0.05')
  })
  it('lists the stages of a release with their shares', () => {
    const text = timelineText({
      stages: [
        { name: 'shadow', fromMs: start, toMs: start + 60_000, shareBp: 0, verdict: 'pass' },
        { name: 'canary 5 %', fromMs: start + 60_000, toMs: null, shareBp: 500 },
      ],
      harm: [{ atMs: start, excess: 3 }],
      harmBudget: 50,
      nowMs: start + 90_000,
    })
    expect(text.split('\n')).toHaveLength(3)
    expect(text).toMatch(/canary 5 %.*30 s.*5 %\s+in progress/)
    expect(text).toContain('failure budget: 3 of 50 used')
  })
  const counts = [0, 1, 3, 10_000]
  it.each([80, 90, 110].flatMap((width) => counts.map((n) => [n, width] as const)))(
    'keeps %i unusual items within the width of %i',
    (n, width) => {
      for (const value of [NaN, Infinity, 1e300, -4.7e-5, 0.1]) {
        const odd = { name: scripted, value }
        const texts = [
          intervalsText(
            list(n, (i) => interval(i, odd)),
            { width },
          ),
          lossText(
            list(n, (i) => epoch(i, odd)),
            { width },
          ),
          evidenceText(
            list(n, (i) => evidence(i, odd)),
            { width },
          ),
          ...(['pass', 'inconclusive', 'no_data', undefined] as const).map((verdict) =>
            timelineText(
              {
                stages: list(Math.min(n, 50), (i) => ({ ...stage(i, odd), verdict })),
                nowMs: start,
              },
              { width },
            ),
          ),
        ]
        for (const line of texts.join('\n').split('\n')) {
          // This line is a sentence, which its reader breaks between words.
          if (!line.startsWith('no evidence against it')) expect(line.length, line).toBeLessThanOrEqual(width)
          expect(/NaN|Infinity|[\p{Cc}\p{Cf}]/u.test(line)).toBe(false)
        }
        for (const text of texts) expect(text).not.toBe('')
      }
    },
  )
})

type ChartedVerdict = Parameters<typeof evidencePoints>[0][number]['verdict']

describe('the evidence of verdicts', () => {
  const waiting: ChartedVerdict = {
    kind: 'inconclusive',
    reasons: [
      { code: 'minimum_requests', message: '', values: { requests: 50, minRequests: 200 } },
      { code: 'promotion_evidence', message: '', values: { metric: 'errors', logE: 1, threshold: 4 } },
      { code: 'promotion_evidence', message: '', values: { metric: 'slow95', logE: 2, threshold: 4 } },
    ],
    statistics: { errorsLogE: 2, errorsThreshold: 5, slow95LogE: null, slow95Threshold: 5 },
  }
  const passed = { kind: 'pass' as const, reasons: [], statistics: { errorsLogE: -3, errorsThreshold: 5 } }

  it('is a share of its threshold, and takes the proof furthest behind', () => {
    const found = evidencePoints([
      { atMs: 2, stage: 'canary', verdict: passed },
      { atMs: 1, stage: 'canary', verdict: waiting },
    ])
    expect(found.map(({ atMs, name, side, share }) => [atMs, side, name, share])).toEqual([
      [1, 'for', 'requests', 0.25],
      [1, 'for', 'proof', 0.25],
      [1, 'against', 'errors', 0.4],
      [2, 'for', 'requests', 1],
      [2, 'for', 'proof', 1],
      [2, 'against', 'errors', 0],
    ])
  })
  it('does not complete requirements of another stage', () => {
    const found = evidencePoints([
      { atMs: 1, stage: 'canary 1', verdict: waiting },
      { atMs: 2, stage: 'canary 2', verdict: passed },
    ])
    expect(found.filter(({ atMs, side }) => atMs === 2 && side === 'for')).toEqual([])
  })
})

describe('a profile', () => {
  const feature = { name: 'distance', kind: 'number' as const, edges: [1, 2], counts: [10, 20, 10, 0] }
  it('has one bin for each interval, and one for missing values only where there are any', () => {
    expect(profileBins(feature).map(({ name, training, live }) => [name, training, live])).toEqual([
      ['< 1', 0.25, null],
      ['1 – 2', 0.5, null],
      ['≥ 2', 0.25, null],
    ])
    expect(profileBins(feature, [0, 0, 0, 5]).at(-1)).toMatchObject({ name: 'missing', training: 0, live: 1 })
  })
  it('ignores live counts with another number of bins', () => {
    expect(profileBins(feature, [1, 2]).every(({ live }) => live === null)).toBe(true)
  })
})

it('a chart for a file has no custom properties', async () => {
  const svg = await drawings['intervals']!(2, plain, 640)
  expect(svg).toContain('var(--chart-')
  expect(standAlone(svg)).not.toContain('var(')
})

it('the importance chart shows a feature name of fifteen letters whole, also beside its table', async () => {
  const features = [{ feature: 'recentLateShare', fall: 0.1, low: 0.09, high: 0.11 }]
  expect(await importanceSvg({ metric: 'auc', features }, frame(350))).toContain('>recentLateShare</text>')
})
