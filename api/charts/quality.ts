/** Draws live quality over time with its intervals, the value at release and the limit. */
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
  `, ${point.level}, ${point.rows} outcomes`

/** The newest points are drawn. */
const maxPoints = 400

export async function qualitySvg(
  given: readonly QualityPoint[],
  { metric, ...frame }: ChartPlace & { metric: string },
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
  return drawChart(full, (plot) => ({
    height: narrow ? 200 : 240,
    marginLeft: 52,
    marginRight: 20,
    marginTop: 26,
    marginBottom: 28,
    x: { ...timeAxis([from, to], narrow ? 4 : 8, frame.zone), inset: 14 },
    y: figureAxis(metricName(metric)),
    color: { type: 'identity' },
    marks: qualityMarks(plot, measured, metric),
    symbol: { type: 'identity' } as never,
  }))
}

function qualityMarks(plot: PlotModule, measured: Measured[], metric: string): ChartOptions['marks'] {
  const changes = measured.filter(({ version }, i) => i > 0 && version !== measured[i - 1]!.version)
  return [
    plot.ruleX(changes, {
      x: 'at',
      strokeOpacity: 0.4,
      strokeDasharray: '2,3',
      title: ({ version }: QualityPoint) => `since here ${truncated(version, 80)}`,
    }),
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
