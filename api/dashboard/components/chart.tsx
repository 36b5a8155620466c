/** A chart in two widths: letters that are read on a phone are too large on a desk, and a drawing that is scaled scales them too. */
import { raw } from 'hono/html'
import type { View } from '../page.ts'
import { drawnOnce } from './chart-cache.ts'

export interface Drawn {
  wide: string
  narrow: string
}

/** `data` is everything that the chart shows. */
export async function drawn<Data>(
  { id, title, wide = 640, narrow = 340 }: { id: string; title: string; wide?: number; narrow?: number },
  data: Data,
  draw: (data: Data, frame: { id: string; title: string; width: number }) => Promise<string>,
): Promise<Drawn> {
  const key = `${id} ${title} ${JSON.stringify(data)}`
  const of = (width: number) => drawnOnce(`${width} ${key}`, () => draw(data, { id, title, width }))
  return { wide: await of(wide), narrow: await of(narrow) }
}

/** What a process has drawn; texts in it were quoted there. */
export const Drawing = ({ chart, note }: { chart: Drawn; note?: string | undefined }): View => (
  <figure class="chart">
    <div class="wide">{raw(chart.wide)}</div>
    <div class="narrow-chart">{raw(chart.narrow)}</div>
    {note !== undefined && <figcaption class="hint">{note}</figcaption>}
  </figure>
)
