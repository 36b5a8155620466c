/** Renders a chart in two widths, because scaling one drawing would scale its text too. */
import { raw } from 'hono/html'
import type { PageElement } from '../page.ts'
import { cachedChart } from './chart-cache.ts'

export interface ChartSizes {
  wide: string
  narrow: string
}

/** Draws a chart once per width. The frame and `data` contain everything that the chart shows, because they are the cache key; a chart with times needs a zone. */
export async function drawChartSizes<Data>(
  {
    id,
    title,
    wide = 640,
    narrow = 340,
    zone,
  }: { id: string; title: string; wide?: number; narrow?: number; zone?: string },
  data: Data,
  draw: (data: Data, frame: { id: string; title: string; width: number; zone?: string }) => Promise<string>,
): Promise<ChartSizes> {
  const key = JSON.stringify([id, title, zone, data])
  const of = (width: number) =>
    cachedChart(`${width} ${key}`, () =>
      draw(data, { id, title, width, ...(zone !== undefined && { zone }) }),
    )
  return { wide: await of(wide), narrow: await of(narrow) }
}

/** Shows a chart that this process drew; drawing has escaped its texts. */
export const ChartFigure = ({ chart, note }: { chart: ChartSizes; note?: string }): PageElement => (
  <figure class="chart">
    <div class="wide">{raw(chart.wide)}</div>
    <div class="narrow-chart">{raw(chart.narrow)}</div>
    {note !== undefined && <figcaption class="hint">{note}</figcaption>}
  </figure>
)
