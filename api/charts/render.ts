/**
 * Renders marks to the text of an SVG, for pages and files. It removes inline styles, because the content security policy of the pages
 * forbids them.
 */
import type * as Plot from '@observablehq/plot'

export interface ChartPlace {
  /** Unique on the page. */
  id: string
  /** Read first by a screen reader. */
  title: string
  /** In pixels of the drawing; 640 by default. */
  width?: number
  /** The time zone of the page around the chart; without a page, the chart is in UTC and says so. */
  zone?: string
}

export interface ChartFrame extends ChartPlace {
  /** The content of the chart in a sentence with its figures. */
  description: string
}

export type PlotModule = typeof Plot
export type ChartOptions = Plot.PlotOptions

export const defaultWidth = 640
/** A narrow chart has room for a few words beside a bar. */
export const isNarrow = ({ width = defaultWidth }: Pick<ChartPlace, 'width'>): boolean => width < 480

/** The part of the DOM in use: linkedom's types need the browser's library. */
interface SvgElement {
  outerHTML: string
  setAttribute(name: string, value: string): void
  removeAttribute(name: string): void
  querySelectorAll(selector: string): Iterable<SvgElement>
  remove(): void
  prepend(...nodes: SvgElement[]): void
  textContent: string | null
}
interface SvgDocument {
  createElementNS(namespace: string, name: string): SvgElement
}

/** Loads both packages on first use, because they cost 20 MB and 250 ms. */
async function open(): Promise<{ plot: PlotModule; document: SvgDocument }> {
  const [plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')])
  const { document } = parseHTML('<!doctype html><html><body></body></html>') as { document: unknown }
  return { plot, document: document as SvgDocument }
}

let opened: ReturnType<typeof open> | undefined

/** Loads the packages ahead of the first chart. */
export function loadPlot(): void {
  opened ??= open()
}

export async function drawChart(
  frame: ChartFrame,
  drawing: (plot: PlotModule) => ChartOptions,
): Promise<string> {
  opened ??= open()
  const { plot, document } = await opened
  const width = frame.width ?? defaultWidth
  const svg = plot.plot({
    className: 'chart',
    width,
    ...drawing(plot),
    document: document as never,
  }) as unknown as SvgElement
  for (const each of svg.querySelectorAll('style')) each.remove()
  for (const each of svg.querySelectorAll('[style]')) each.removeAttribute('style')
  // Screen readers get one title and description instead of a hundred loose numbers.
  for (const each of svg.querySelectorAll('[aria-label]')) each.removeAttribute('aria-label')
  const named = `${frame.id}-${width}`.replace(/[^\w-]/g, '-')
  const [title, description] = ['title', 'desc'].map((name) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name)
    element.setAttribute('id', `${named}-${name}`)
    return element
  })
  title!.textContent = frame.title
  description!.textContent = frame.description
  svg.prepend(title!, description!)
  svg.removeAttribute('aria-label')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-labelledby', `${named}-title ${named}-desc`)
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('font-size', '11')
  if (frame.zone !== undefined) svg.setAttribute('data-zone', frame.zone)
  return svg.outerHTML
}

/** A chart without data: shows the words in its place. */
export const drawEmptyChart = (place: ChartPlace, words: string): Promise<string> =>
  drawChart({ ...place, description: words }, (plot) => ({
    height: 72,
    axis: null,
    marks: [
      plot.text([words], { frameAnchor: 'middle', fill: 'currentColor', fillOpacity: 0.7, fontSize: 12 }),
    ],
  }))
