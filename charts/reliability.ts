/**
 * Of the answers that said 70 %, did 70 % come true? On the diagonal they did; the distance from it is what a user of the
 * probability pays.
 */
import { binomialInterval } from '../domain/statistics/binomial-interval.ts'
import type { Calibration } from '../domain/metrics/calibration.ts'
import { colours } from './colours.ts'
import { count, figure, finite, percent } from './figures.ts'
import { draw, drawNothing, isNarrow, type Frame } from './render.ts'

const mostBins = 100

export async function reliabilitySvg(
  { bins, ece }: Pick<Calibration, 'bins' | 'ece'>,
  frame: Omit<Frame, 'description'>,
): Promise<string> {
  const points = bins.slice(0, mostBins).flatMap(({ rows, meanProbability, positiveRate }) => {
    const [said, came] = [finite(meanProbability), finite(positiveRate)]
    if (said === null || came === null || !(rows > 0)) return []
    const [low, high] = binomialInterval(Math.round(came * rows), rows).wilson ?? [came, came]
    return [{ said, came, rows, low, high }]
  })
  if (points.length === 0) return drawNothing({ ...frame, description: '' }, 'No answer has an outcome yet.')
  const rows = points.reduce((sum, point) => sum + point.rows, 0)
  const worst = points.reduce((most, point) =>
    Math.abs(point.said - point.came) > Math.abs(most.said - most.came) ? point : most,
  )
  const full = {
    ...frame,
    description: `On ${count(rows)} answers the mean gap between promise and outcome is ${percent(ece)}; the widest: ${percent(worst.said)} promised, ${percent(worst.came)} came true.`,
  }
  const largest = Math.max(...points.map((point) => point.rows))
  const share = (value: number) => `${Math.round(100 * value)} %`
  const side = isNarrow(full) ? 300 : 340
  return draw({ ...full, width: Math.min(frame.width ?? 640, side + 40) }, (plot) => ({
    height: side,
    marginLeft: 48,
    marginRight: 16,
    marginBottom: 40,
    marginTop: 24,
    x: {
      domain: [0, 1],
      label: 'promised',
      labelAnchor: 'center',
      labelArrow: 'none',
      tickFormat: share,
      ticks: 5,
    },
    y: { domain: [0, 1], label: 'came true', labelArrow: 'none', tickFormat: share, ticks: 5, grid: true },
    marks: [
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
        x: 'said',
        y: 'came',
        stroke: colours.main,
        strokeWidth: 1.5,
        strokeOpacity: 0.6,
      }),
      plot.ruleX(points, {
        x: 'said',
        y1: 'low',
        y2: 'high',
        stroke: colours.main,
        strokeOpacity: 0.4,
        strokeWidth: 3,
        strokeLinecap: 'round',
      }),
      plot.dot(points, {
        x: 'said',
        y: 'came',
        r: (point: { rows: number }) => 2 + 5 * Math.sqrt(point.rows / largest),
        fill: colours.main,
        title: (point: { said: number; came: number; rows: number }) =>
          `${count(point.rows)} answers: ${figure(point.said)} promised, ${figure(point.came)} came true`,
      }),
    ],
    r: { type: 'identity' },
  }))
}
