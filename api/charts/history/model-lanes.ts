/** Draws what happened to models on one axis of time: releases, drift, quality and incidents, one lane each. */
import { timeAxis } from '../axis.ts'
import { colours } from '../colours.ts'
import { countText, truncated, utcMinute } from '../figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from '../render.ts'

export interface LaneSpan {
  model: string
  kind: 'release' | 'drift' | 'quality' | 'incident'
  fromMs: number
  /** Absent while it lasts. */
  toMs?: number
  level: string
  name: string
}

export interface LaneData {
  spans: readonly LaneSpan[]
  fromMs: number
  nowMs: number
  /** The end of the axis. Default: now. */
  endMs?: number
}

const laneNames = { release: 'releases', drift: 'drift', quality: 'quality', incident: 'incidents' } as const
const kinds = Object.keys(laneNames) as (keyof typeof laneNames)[]

/** The levels that need attention fill their lane; the others are thin. */
const loud: Readonly<Record<string, string>> = {
  rolled_back: colours.bad,
  failed: colours.bad,
  rejected: colours.bad,
  alarm: colours.bad,
  lost: colours.bad,
  critical: colours.bad,
  warn: colours.warn,
  warning: colours.warn,
}
const calm: Readonly<Record<string, string>> = {
  promoted: colours.good,
  held: colours.good,
  stable: colours.line,
}

interface Bar extends LaneSpan {
  lane: string
  from: Date
  to: Date
  isLoud: boolean
}

const words = (level: string): string => level.replaceAll('_', ' ')

const barText = ({ kind, name, level, fromMs, toMs }: LaneSpan): string =>
  `${kind === 'incident' ? words(truncated(name, 60)) : `${kind} of ${truncated(name, 60)}`}: ${words(level)}, ` +
  `${utcMinute(fromMs)} ${toMs === undefined ? 'until now' : `to ${utcMinute(toMs)}`}`

/** `flight-delay: 3 releases (1 rolled back), 24 drift (2 warn)`. */
function described(spans: readonly LaneSpan[]): string {
  return [...new Set(spans.map(({ model }) => model))]
    .map((model) => {
      const lanes = kinds.flatMap((kind) => {
        const own = spans.filter((each) => each.model === model && each.kind === kind)
        if (own.length === 0) return []
        const levels = [...new Set(own.map(({ level }) => level).filter((level) => level in loud))]
        const bad = levels.map(
          (level) => `${own.filter((each) => each.level === level).length} ${words(level)}`,
        )
        return [`${countText(own.length)} ${laneNames[kind]}${bad.length > 0 ? ` (${bad.join(', ')})` : ''}`]
      })
      return `${truncated(model, 60)}: ${lanes.join(', ')}`
    })
    .join('; ')
}

/** The newest bars are drawn. */
const maxBars = 600

/** Windows of one level that follow each other are one bar. */
function merged(spans: readonly LaneSpan[], gapMs: number): LaneSpan[] {
  const last = new Map<string, LaneSpan>()
  const kept: LaneSpan[] = []
  for (const span of spans.toSorted((one, other) => one.fromMs - other.fromMs)) {
    const lane = laneOf(span)
    const before = last.get(lane)
    const isWindow = span.kind === 'drift' || span.kind === 'quality'
    if (
      isWindow &&
      before?.toMs !== undefined &&
      before.level === span.level &&
      before.name === span.name &&
      span.fromMs <= before.toMs + gapMs
    ) {
      before.toMs = Math.max(before.toMs, span.toMs ?? before.toMs)
      continue
    }
    const own = { ...span }
    kept.push(own)
    last.set(lane, own)
  }
  return kept.slice(-maxBars)
}

function barsOf({ spans, fromMs, nowMs, endMs }: Required<LaneData>): Bar[] {
  // A short span stays visible.
  const least = Math.max(1, (endMs - fromMs) / 300)
  return merged(spans, least).map((span): Bar => {
    const start = Math.max(fromMs, span.fromMs)
    const end = Math.min(Math.max(nowMs, start), Math.max(span.toMs ?? nowMs, start + least))
    return {
      ...span,
      lane: laneOf(span),
      from: new Date(Math.min(start, end - least)),
      to: new Date(end),
      isLoud: span.level in loud,
    }
  })
}

const laneOf = ({ model, kind }: Pick<LaneSpan, 'model' | 'kind'>): string => `${model} ${kind}`

export async function modelLanesSvg(data: LaneData, frame: ChartPlace): Promise<string> {
  const { endMs = data.nowMs } = data
  const spans = data.spans.filter(
    ({ fromMs, toMs }) => fromMs <= endMs && (toMs === undefined || Number.isFinite(toMs)),
  )
  if (spans.length === 0) return drawEmptyChart(frame, 'Nothing has happened yet')
  const bars = barsOf({ ...data, endMs, spans })
  const lanes = [...new Set(spans.map(({ model }) => model))].flatMap((model) =>
    kinds.flatMap((kind) =>
      bars.some((bar) => bar.model === model && bar.kind === kind) ? [{ model, kind }] : [],
    ),
  )
  const firsts = lanes.filter(({ model }, i) => lanes[i - 1]?.model !== model)
  const full = { ...frame, description: described(spans) }
  const narrow = isNarrow(full)
  // On a phone the name of a model has a line of its own above its lanes.
  const rows = lanes.flatMap((lane) =>
    narrow && firsts.includes(lane) ? [`${lane.model} name`, laneOf(lane)] : [laneOf(lane)],
  )
  return drawChart(full, (plot) => ({
    height: 30 + rows.length * 18,
    marginLeft: narrow ? 58 : 200,
    marginRight: 24,
    marginTop: 4,
    marginBottom: 24,
    x: timeAxis([new Date(data.fromMs), new Date(endMs)], narrow ? 4 : 8, frame.zone),
    y: { type: 'band', domain: rows, axis: null, paddingInner: 0.3 },
    color: { type: 'identity' },
    marks: [
      plot.barX(bars, {
        x1: 'from',
        x2: 'to',
        y: 'lane',
        insetTop: 4,
        insetBottom: 4,
        fill: ({ level }: Bar) => calm[level] ?? colours.main,
        fillOpacity: 0.55,
        title: barText,
        filter: ({ isLoud }: Bar) => !isLoud,
      }),
      plot.barX(bars, {
        x1: 'from',
        x2: 'to',
        y: 'lane',
        fill: ({ level }: Bar) => loud[level] ?? colours.bad,
        fillOpacity: 0.9,
        title: barText,
        filter: ({ isLoud }: Bar) => isLoud,
      }),
      plot.text(lanes, {
        y: laneOf,
        frameAnchor: 'left',
        dx: -6,
        textAnchor: 'end',
        text: ({ kind }: { kind: LaneSpan['kind'] }) => laneNames[kind],
        fillOpacity: 0.8,
      }),
      plot.text(firsts, {
        y: narrow ? ({ model }: { model: string }) => `${model} name` : laneOf,
        frameAnchor: 'left',
        dx: narrow ? -54 : -66,
        textAnchor: narrow ? 'start' : 'end',
        text: ({ model }: { model: string }) => truncated(model, narrow ? 40 : 20),
        fontWeight: 'bold',
      }),
    ],
  }))
}
