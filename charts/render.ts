/**
 * From marks to the text of an SVG, for pages and files alike. Pages allow no inline style, so none may be left in what
 * comes out: the browser would refuse it and report a violation. Colours are custom properties with a value of their own
 * (see colours.ts), sizes are attributes.
 */
import type * as Plot from '@observablehq/plot'

export interface Frame {
  /** Names the chart on its page; two charts of a page have two of them. */
  id: string
  /** What a screen reader says first: the question the chart answers. */
  title: string
  /** And then: what it shows, in a sentence with its figures. */
  description: string
  /** In pixels of the drawing, at which its letters have their size; 640 when absent. */
  width?: number
}

export type PlotModule = typeof Plot
export type Drawing = Plot.PlotOptions

export const defaultWidth = 640
/** On a screen this narrow there is room for a few words beside a bar. */
export const isNarrow = ({ width = defaultWidth }: Pick<Frame, 'width'>): boolean => width < 480

/** What a shape is called and how it is quoted: linkedom's documents have no types here, as there is no browser. */
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

/** Both packages cost some 20 MB and a quarter of a second: whoever draws nothing does not load them. */
async function open(): Promise<{ plot: PlotModule; document: SvgDocument }> {
  const [plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')])
  const { document } = parseHTML('<!doctype html><html><body></body></html>') as { document: unknown }
  return { plot, document: document as SvgDocument }
}

let opened: ReturnType<typeof open> | undefined

/** Loads what draws before anything is drawn. */
export function loadPlot(): void {
  opened ??= open()
}

export async function draw(frame: Frame, drawing: (plot: PlotModule) => Drawing): Promise<string> {
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
  // One name and one description for the whole; the parts would be read as a hundred loose numbers.
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
  return svg.outerHTML
}

/** The drawing of nothing: says so, in the place where the chart will be. */
export const drawNothing = (frame: Frame, words: string): Promise<string> =>
  draw({ ...frame, description: words }, (plot) => ({
    height: 72,
    axis: null,
    marks: [
      plot.text([words], { frameAnchor: 'middle', fill: 'currentColor', fillOpacity: 0.7, fontSize: 12 }),
    ],
  }))
