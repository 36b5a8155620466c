/** Draws live quality over time with its intervals, the value at release, the limit, and the changes of champion. */
import { qualityText } from '../../domain/monitoring/quality.ts'
import { figureAxis, timeAxis, timeDomain } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, finiteOrNull, utcMinute, truncated } from './figures.ts'
import { metricName } from '../../domain/figures.ts'
import { drawChart, drawEmptyChart, isNarrow } from './render.ts'
import type { ChartOptions, ChartPlace, PlotModule } from './render.ts'

export interface QualityPoint {
  /** The end of the window: its middle may be before the version was released. */
  atMs: number
  value: number | null
  low: number | null
  high: number | null
  /** The value at release, and the worst accepted value. */
  baseline: number | null
  limit: number | null
  version: string
  level: 'held' | 'lost' | 'insufficient'
  /** Number of outcomes. */
  rows: number
}

/** A version that became champion, by promotion or rollback. */
export interface QualityMark {
  atMs: number
  /** `v1.2.0` */
  name: string
}

const shades: Readonly<Record<QualityPoint['level'], string>> = {
  held: colours.main,
  lost: colours.bad,
  insufficient: colours.neutral,
}

type Measured = QualityPoint & { at: Date }

const described = (point: Measured, metric: string): string =>
  `${utcMinute(point.atMs)}, ${truncated(point.version, 60)}: ${metricName(metric)} ${figureText(point.value)}` +
  (point.low === null || point.high === null
    ? ''
    : ` (${figureText(point.low)} to ${figureText(point.high)})`) +
  `, ${qualityText[point.level]}, ${point.rows} outcomes`

/** The newest points are drawn. */
const maxPoints = 400

export async function qualitySvg(
  given: readonly QualityPoint[],
  { metric, marks = [], ...frame }: ChartPlace & { metric: string; marks?: readonly QualityMark[] },
): Promise<string> {
  const points = given
    .filter(({ atMs }) => Number.isFinite(atMs))
    .map((point) => ({
      ...point,
      value: finiteOrNull(point.value),
      low: finiteOrNull(point.low),
      high: finiteOrNull(point.high),
      baseline: finiteOrNull(point.baseline),
      limit: finiteOrNull(point.limit),
      at: new Date(point.atMs),
    }))
    .sort((one, other) => one.atMs - other.atMs)
    .slice(-maxPoints)
  const measured = points.filter(({ value }) => value !== null)
  if (measured.length === 0)
    return drawEmptyChart(
      frame,
      points.length === 0 ? 'No outcomes yet' : 'Too few outcomes to measure quality',
    )
  const last = measured.at(-1)!
  const lost = measured.filter(({ level }) => level === 'lost').length
  const full = {
    ...frame,
    description: `${measured.length} measurements of ${metricName(metric)}, ${lost} below the limit; the last: ${described(last, metric)}.`,
  }
  const narrow = isNarrow(full)
  const [from, to] = timeDomain(measured.map(({ atMs }) => atMs))
  const changes = marksWithin(marks, [from.getTime(), to.getTime()], narrow ? 5 : 10)
  return drawChart(full, (plot) => ({
    height: narrow ? 200 : 240,
    marginLeft: 52,
    marginRight: 20,
    marginTop: 26,
    marginBottom: 28,
    x: { ...timeAxis([from, to], narrow ? 4 : 8, frame.zone), inset: 14 },
    y: figureAxis(metricName(metric)),
    color: { type: 'identity' },
    marks: [...changeMarks(plot, changes), ...qualityMarks(plot, measured, metric)],
    symbol: { type: 'identity' } as never,
  }))
}

type ShownMark = QualityMark & { at: Date; label: string }

/** The changes within the span, the newest first, each with its name where that has room: `names` of them fit side by side. */
function marksWithin(
  marks: readonly QualityMark[],
  [fromMs, toMs]: readonly [number, number],
  names: number,
): ShownMark[] {
  let namedMs = Infinity
  return marks
    .filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
    .toSorted((one, other) => other.atMs - one.atMs)
    .map((mark) => {
      const hasRoom = namedMs - mark.atMs >= (toMs - fromMs) / names
      if (hasRoom) namedMs = mark.atMs
      return { ...mark, at: new Date(mark.atMs), label: hasRoom ? truncated(mark.name, 12) : '' }
    })
}

const changeMarks = (plot: PlotModule, changes: readonly ShownMark[]): NonNullable<ChartOptions['marks']> => [
  plot.ruleX(changes, {
    x: 'at',
    strokeOpacity: 0.5,
    strokeDasharray: '2,3',
    title: ({ atMs, name }: ShownMark) => `${utcMinute(atMs)}: ${truncated(name, 80)} became champion`,
  }),
  plot.text(changes, { x: 'at', frameAnchor: 'top', dy: -12, text: 'label', fontSize: 11 }),
]

function qualityMarks(
  plot: PlotModule,
  measured: Measured[],
  metric: string,
): NonNullable<ChartOptions['marks']> {
  return [
    plot.lineY(
      measured.filter(({ baseline }) => baseline !== null),
      {
        x: 'at',
        y: 'baseline',
        z: 'version',
        stroke: 'currentColor',
        strokeOpacity: 0.6,
        curve: 'step-after',
      },
    ),
    plot.lineY(
      measured.filter(({ limit }) => limit !== null),
      {
        x: 'at',
        y: 'limit',
        z: 'version',
        stroke: colours.bad,
        strokeDasharray: '4,3',
        curve: 'step-after',
      },
    ),
    plot.lineY(measured, {
      x: 'at',
      y: 'value',
      z: 'version',
      stroke: colours.main,
      strokeOpacity: 0.5,
      strokeWidth: 1.5,
    }),
    plot.ruleX(
      measured.filter(({ low, high }) => low !== null && high !== null),
      {
        x: 'at',
        y1: 'low',
        y2: 'high',
        stroke: (point: QualityPoint) => shades[point.level],
        strokeWidth: 4,
        strokeOpacity: 0.4,
        strokeLinecap: 'round',
      },
    ),
    plot.dot(measured, {
      x: 'at',
      y: 'value',
      r: measured.length > 80 ? 2 : 4,
      symbol: (point: QualityPoint) => (point.level === 'lost' ? 'times' : 'circle'),
      fill: (point: QualityPoint) => (point.level === 'lost' ? 'none' : shades[point.level]),
      stroke: (point: QualityPoint) => shades[point.level],
      strokeWidth: (point: QualityPoint) => (point.level === 'lost' ? 2 : 0),
      title: (point: Measured) => described(point, metric),
    }),
  ]
}
