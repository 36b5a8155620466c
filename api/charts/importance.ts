/** Draws how far the metric falls when a feature is shuffled, with the interval of its shuffles. */
import { metricName } from '../../domain/figures.ts'
import { bandAxis, roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, signedText, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from './render.ts'

export interface ImportanceRow {
  feature: string
  fall: number
  low: number | null
  high: number | null
}

/** The first rows are drawn; the table has all. */
const maxRows = 30

export async function importanceSvg(
  { metric, features }: { metric: string; features: readonly ImportanceRow[] },
  frame: ChartPlace,
): Promise<string> {
  const rows = features.slice(0, maxRows).map((row, at) => ({ ...row, key: String(at) }))
  const narrow = isNarrow(frame)
  if (rows.length === 0) return drawEmptyChart(frame, 'No importance was measured')
  const names = new Map(rows.map(({ key, feature }) => [key, truncated(feature, narrow ? 20 : 24)]))
  const values = rows.flatMap(({ fall, low, high }) => [fall, low ?? fall, high ?? fall])
  const description = rows
    .map(({ feature, fall }) => `${truncated(feature, 60)}: ${signedText(-fall)}`)
    .join('; ')
  return drawChart({ ...frame, description }, (plot) => ({
    height: 54 + rows.length * 22,
    marginLeft: roomFor([...names.values()]),
    marginRight: 12,
    marginTop: 8,
    marginBottom: 36,
    x: {
      domain: [Math.min(0, ...values), Math.max(...values, 1e-9) * 1.05],
      label: `fall of ${metricName(metric)}`,
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: narrow ? 3 : 5,
      tickFormat: figureText,
    },
    y: bandAxis(rows, names, 0.35),
    marks: [
      plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.55 }),
      plot.barX(rows, { x1: () => 0, x2: 'fall', y: 'key', fill: colours.main, fillOpacity: 0.7 }),
      plot.ruleY(
        rows.filter(({ low, high }) => low !== null && high !== null),
        { x1: 'low', x2: 'high', y: 'key', stroke: 'currentColor', strokeWidth: 1.5 },
      ),
    ],
  }))
}
