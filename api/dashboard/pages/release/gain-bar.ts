/** Draws the interval of a gain as a bar against 0 and against the limit of the gate. */
import { colours } from '../../../charts/colours.ts'
import { signedText } from '../../../charts/figures.ts'

export interface GainBar {
  /** Positive when the challenger is better, in the unit of the metric. */
  delta: number
  low: number
  high: number
  /** The gain above which there is no regression; absent without a champion's margin. */
  limit: number | undefined
}

const width = 320
const height = 20
const middle = 10

/** Writes the SVG without a chart package: one interval needs no axis. The caller escapes texts. */
export function gainBarSvg(
  { delta, low, high, limit }: GainBar,
  { id, title }: { id: string; title: string },
): string {
  const shown = [0, low, high, ...(limit === undefined ? [] : [limit])]
  const [least, most] = [Math.min(...shown), Math.max(...shown)]
  const span = most - least || 1
  const x = (value: number) => (8 + ((width - 16) * (value - least)) / span).toFixed(1)
  const shade = low > 0 ? colours.good : limit !== undefined && low < limit ? colours.bad : colours.main
  const mark = (value: number, look: string) =>
    `<line x1="${x(value)}" x2="${x(value)}" y1="1" y2="${2 * middle - 1}" ${look}/>`
  const words = `${signedText(delta)}, interval ${signedText(low)} to ${signedText(high)}${limit === undefined ? '' : `, limit ${signedText(limit)}`}`
  return [
    `<svg role="img" aria-labelledby="${id}-title ${id}-desc" viewBox="0 0 ${width} ${height}" xmlns="http://www.w3.org/2000/svg">`,
    `<title id="${id}-title">${title}</title><desc id="${id}-desc">${words}</desc>`,
    mark(0, `stroke="${colours.line}"`),
    ...(limit === undefined ? [] : [mark(limit, `stroke="${colours.bad}" stroke-dasharray="3,2"`)]),
    `<line x1="${x(low)}" x2="${x(high)}" y1="${middle}" y2="${middle}" stroke="${shade}" stroke-width="8" stroke-opacity="0.4" stroke-linecap="round"/>`,
    `<circle cx="${x(delta)}" cy="${middle}" r="5" fill="${shade}"/>`,
    '</svg>',
  ].join('')
}
