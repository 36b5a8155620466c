/** Draws the losses of several runs on one pair of axes. */
import { epochAxis, figureAxis } from '../axis.ts'
import { colours } from '../colours.ts'
import { figureText, finiteOrNull, truncated } from '../figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from '../render.ts'
import { thin } from '../thin.ts'

export interface LossRun {
  name: string
  points: readonly { epoch: number; loss: number | null }[]
  /** Drawn in colour; the others are grey. */
  marked?: boolean
}

const maxRuns = 60

export async function runCurvesSvg(given: readonly LossRun[], frame: ChartPlace): Promise<string> {
  const runs = given.slice(0, maxRuns).flatMap(({ name, points, marked = false }) => {
    const known = points.filter(({ epoch, loss }) => Number.isFinite(epoch) && finiteOrNull(loss) !== null)
    const drawn = thin(known, ({ loss }) => loss, 120)
    return drawn.length === 0
      ? []
      : [{ name: truncated(name, 40), marked, points: drawn, last: drawn.at(-1)! }]
  })
  if (runs.length === 0) return drawEmptyChart(frame, 'No epochs yet')
  const described = runs
    .slice(0, 20)
    .map(
      ({ name, points, last }) =>
        `${name}: ${figureText(points[0]!.loss)} to ${figureText(last.loss)} in ${points.length} epochs`,
    )
  const full = { ...frame, description: described.join('; ') }
  return drawChart(full, (plot) => ({
    height: isNarrow(full) ? 200 : 240,
    marginLeft: 52,
    marginRight: 20,
    marginBottom: 34,
    x: epochAxis(6),
    y: figureAxis('loss'),
    color: { type: 'identity' },
    marks: runs
      .toSorted((one, other) => Number(one.marked) - Number(other.marked))
      .flatMap(({ name, marked, points, last }) => [
        plot.lineY(points, {
          x: 'epoch',
          y: 'loss',
          stroke: marked ? colours.main : colours.line,
          strokeWidth: marked ? 2.5 : 1.2,
          strokeOpacity: marked ? 1 : 0.7,
        }),
        plot.dot([last], {
          x: 'epoch',
          y: 'loss',
          r: marked ? 4 : 2.5,
          fill: marked ? colours.main : colours.line,
          title: () => `${name}: ${figureText(last.loss)}`,
        }),
      ]),
  }))
}
