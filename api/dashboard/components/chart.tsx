/** Renders a chart in two widths, because scaling one drawing would scale its text too. */
import { raw } from 'hono/html'
import type { View } from '../page.ts'
import { drawnOnce } from './chart-cache.ts'

export interface Drawn {
  wide: string
  narrow: string
}

/** Draws a chart once per width. `data` must hold everything that the chart shows, because it is the key of the cache. */
export async function drawn<Data>(
  { id, title, wide = 640, narrow = 340 }: { id: string; title: string; wide?: number; narrow?: number },
  data: Data,
  draw: (data: Data, frame: { id: string; title: string; width: number }) => Promise<string>,
): Promise<Drawn> {
  const key = `${id} ${title} ${JSON.stringify(data)}`
  const of = (width: number) => drawnOnce(`${width} ${key}`, () => draw(data, { id, title, width }))
  return { wide: await of(wide), narrow: await of(narrow) }
}

/** A chart drawn by this process, which has escaped its texts. */
export const Drawing = ({ chart, note }: { chart: Drawn; note?: string | undefined }): View => (
  <figure class="chart">
    <div class="wide">{raw(chart.wide)}</div>
    <div class="narrow-chart">{raw(chart.narrow)}</div>
    {note !== undefined && <figcaption class="hint">{note}</figcaption>}
  </figure>
)
