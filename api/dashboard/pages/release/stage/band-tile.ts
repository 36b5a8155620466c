/** Draws a share of requests over time: its estimate, its confidence sequence as a band, and the limit above which an approver decides. */
import { timeLabel } from '../../../clock.ts'
import { colours } from '../../../../charts/colours.ts'
import { percentOf } from '../../../../charts/figures.ts'

export interface BandPoint {
  atMs: number
  low: number
  mean: number
  high: number
}

export interface BandTile {
  points: readonly BandPoint[]
  limit: number
}

const width = 300
const height = 128
const [left, right, top, bottom] = [38, width - 6, 6, height - 18]

/** Describes the band, for a screen reader and beside the chart. */
export function bandText({ points, limit }: BandTile): string {
  const last = points.at(-1)
  if (last === undefined) return 'no pairs to compare yet'
  const most = percentOf(limit)
  const side =
    last.low > limit
      ? `above the limit of ${most}`
      : last.high <= limit
        ? `below the limit of ${most}`
        : `too early to tell, limit ${most}`
  return `${percentOf(last.mean)}, between ${percentOf(last.low)} and ${percentOf(last.high)}: ${side}`
}

/** Writes the SVG without a chart package, because the tiles are drawn again at each reload. The caller escapes texts. */
export function bandTileSvg(tile: BandTile, { id, title }: { id: string; title: string }): string {
  const { points, limit } = tile
  const last = points.at(-1)
  const [from, to] = [points[0]?.atMs ?? 0, last?.atMs ?? 0]
  // Keeps the limit in view. The wide band of the first looks may leave the chart.
  const highest = Math.min(1, Math.max(limit * 1.5, (last?.high ?? 0) * 1.1, 0.01))
  const x = (atMs: number) => (to > from ? left + ((right - left) * (atMs - from)) / (to - from) : right)
  const y = (share: number) => bottom - ((bottom - top) * Math.min(share, highest)) / highest
  const place = (atMs: number, share: number) => `${x(atMs).toFixed(1)} ${y(share).toFixed(1)}`
  const band = [
    ...points.map(({ atMs, high }) => place(atMs, high)),
    ...points.toReversed().map(({ atMs, low }) => place(atMs, low)),
  ].join('L')
  const stroke = last !== undefined && last.low > limit ? colours.bad : colours.main
  const text = (at: [number, number], anchor: string, words: string) =>
    `<text x="${at[0]}" y="${at[1]}" text-anchor="${anchor}">${words}</text>`
  const level = (share: number, more: string) =>
    `<line x1="${left}" x2="${right}" y1="${y(share).toFixed(1)}" y2="${y(share).toFixed(1)}" ${more}/>` +
    text([left - 4, Number((y(share) + 3.5).toFixed(1))], 'end', percentOf(share))
  return [
    `<svg role="img" aria-labelledby="${id}-title ${id}-desc" viewBox="0 0 ${width} ${height}" font-size="11" fill="currentColor" xmlns="http://www.w3.org/2000/svg">`,
    `<title id="${id}-title">${title}</title><desc id="${id}-desc">${bandText(tile)}</desc>`,
    level(0, `stroke="${colours.line}" stroke-opacity="0.3"`),
    ...(points.length > 0 ? [`<path d="M${band}Z" fill="${stroke}" fill-opacity="0.2"/>`] : []),
    level(limit, `stroke="${colours.bad}" stroke-width="1.5" stroke-dasharray="5,3"`),
    ...(last === undefined
      ? []
      : [
          `<path d="M${points.map(({ atMs, mean }) => place(atMs, mean)).join('L')}" fill="none" stroke="${stroke}" stroke-width="2" stroke-linejoin="round"/>`,
          `<circle cx="${x(to).toFixed(1)}" cy="${y(last.mean).toFixed(1)}" r="3" fill="${stroke}"/>`,
        ]),
    ...(to > from
      ? [
          timeLabel({ x: left, y: height - 4 }, from, to - from),
          timeLabel({ x: right, y: height - 4, anchor: 'end' }, to, to - from),
        ]
      : []),
    '</svg>',
  ].join('')
}
