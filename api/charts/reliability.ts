/** Draws predicted probabilities against observed rates. On the diagonal the model is calibrated. */
import { binomialInterval, type Calibration } from '@tenure/sequential'
import { colours } from './colours.ts'
import { countText, figureText, finiteOrNull, percentOf } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow } from './render.ts'
import type { ChartOptions, ChartPlace, PlotModule } from './render.ts'

const maxBins = 100

interface ReliabilityPoint {
  predicted: number
  observed: number
  rows: number
  low: number
  high: number
}

export async function reliabilitySvg(
  { bins, ece }: Pick<Calibration, 'bins' | 'ece'>,
  frame: ChartPlace,
): Promise<string> {
  const points = bins.slice(0, maxBins).flatMap(({ rows, meanProbability, positiveRate }) => {
    const [predicted, observed] = [finiteOrNull(meanProbability), finiteOrNull(positiveRate)]
    if (predicted === null || observed === null || !(rows > 0)) return []
    const interval = binomialInterval(Math.round(observed * rows), rows).wilson
    const [low, high] = interval ?? [observed, observed]
    return [{ predicted, observed, rows, low, high }]
  })
  if (points.length === 0) return drawEmptyChart(frame, 'No predictions with outcomes yet')
  const rows = points.reduce((sum, point) => sum + point.rows, 0)
  const worst = points.reduce((most, point) =>
    Math.abs(point.predicted - point.observed) > Math.abs(most.predicted - most.observed) ? point : most,
  )
  const full = {
    ...frame,
    description: `On ${countText(rows)} predictions the mean gap between prediction and outcome is ${percentOf(ece)}; the widest: ${percentOf(worst.predicted)} predicted, ${percentOf(worst.observed)} observed.`,
  }
  const share = (value: number) => `${Math.round(100 * value)} %`
  const side = isNarrow(full) ? 300 : 340
  return drawChart({ ...full, width: Math.min(frame.width ?? 640, side + 40) }, (plot) => ({
    height: side,
    marginLeft: 48,
    marginRight: 24,
    marginBottom: 40,
    marginTop: 24,
    x: {
      domain: [0, 1],
      label: 'predicted',
      labelAnchor: 'center',
      labelArrow: 'none',
      tickFormat: share,
      ticks: 5,
    },
    y: { domain: [0, 1], label: 'observed', labelArrow: 'none', tickFormat: share, ticks: 5, grid: true },
    marks: reliabilityMarks(plot, points),
    r: { type: 'identity' },
  }))
}

function reliabilityMarks(plot: PlotModule, points: ReliabilityPoint[]): ChartOptions['marks'] {
  const largest = Math.max(...points.map((point) => point.rows))
  return [
    plot.link([0], {
      x1: 0,
      y1: 0,
      x2: 1,
      y2: 1,
      stroke: 'currentColor',
      strokeOpacity: 0.55,
      strokeDasharray: '4,3',
    }),
    plot.lineY(points, {
      x: 'predicted',
      y: 'observed',
      stroke: colours.main,
      strokeWidth: 1.5,
      strokeOpacity: 0.6,
    }),
    plot.ruleX(points, {
      x: 'predicted',
      y1: 'low',
      y2: 'high',
      stroke: colours.main,
      strokeOpacity: 0.4,
      strokeWidth: 3,
      strokeLinecap: 'round',
    }),
    plot.dot(points, {
      x: 'predicted',
      y: 'observed',
      r: (point: ReliabilityPoint) => 2 + 5 * Math.sqrt(point.rows / largest),
      fill: colours.main,
      title: (point: ReliabilityPoint) =>
        `${countText(point.rows)} predictions: ${figureText(point.predicted)} predicted, ${figureText(point.observed)} observed`,
    }),
  ]
}
