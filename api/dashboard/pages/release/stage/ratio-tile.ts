/**
 * Draws the rate of the candidate as a multiple of the control's over time: a band of the ratios not refuted yet, and the limits that it is
 * judged by.
 */
import { timeLabel } from '../../../clock.ts'
import { colours } from '../../../../charts/colours.ts'
import { figureText } from '../../../../charts/figures.ts'

export interface RatioPoint {
  atMs: number
  /** The lower end of the confidence sequence; 0 is open. The upper end is open when it is null. */
  low: number
  high: number | null
  /** Absent while an arm has no event. */
  estimate?: number
  /** Whether a stage begins at this point. */
  begins?: boolean
}

export interface RatioTile {
  points: readonly RatioPoint[]
  /** A band entirely above the limit proves a regression. */
  limit: number
  /** A band entirely below this ratio proves what a promotion needs. */
  proof?: number
}

const width = 300
const height = 128
const [left, right, top, bottom] = [34, width - 6, 6, height - 18]

/** Labels a tick: a power of two, such as `4×`, `½×` or `1/8×`. */
const tickText = (exponent: number): string =>
  exponent >= 0 ? `${2 ** exponent}×` : exponent === -1 ? '½×' : `1/${2 ** -exponent}`

/** Describes the band, for a screen reader and beside the chart. */
export function ratioText({ points, limit, proof }: RatioTile): string {
  const last = points.at(-1)
  if (last === undefined || (last.low === 0 && last.high === null)) return 'no events to compare yet'
  const high = last.high === null ? 'no upper bound yet' : `${figureText(Number(last.high.toPrecision(3)))}×`
  const estimate =
    last.estimate === undefined ? '' : `${figureText(Number(last.estimate.toPrecision(3)))}× control, `
  const side =
    last.low >= limit
      ? 'a regression is proven'
      : proof !== undefined && last.high !== null && last.high <= proof
        ? 'no regression is proven'
        : 'too early to tell'
  return `${estimate}between ${figureText(Number(last.low.toPrecision(3)))}× and ${high}: ${side}`
}

/** Writes the SVG without a chart package, because the tiles are drawn again at each reload. The caller escapes texts. */
export function ratioTileSvg(tile: RatioTile, { id, title }: { id: string; title: string }): string {
  const { points, limit, proof } = tile
  const [from, to] = [points[0]?.atMs ?? 0, points.at(-1)?.atMs ?? 0]
  const last = points.at(-1)
  const shown = [limit, proof ?? limit, last?.estimate ?? 1, last?.low || 1, last?.high ?? 1].map(Math.log2)
  const lowest = Math.max(-5, Math.floor(Math.min(-1, ...shown.map((value) => value - 0.5))))
  const highest = Math.min(5, Math.ceil(Math.max(1, ...shown.map((value) => value + 0.5))))
  const x = (atMs: number) => (to > from ? left + ((right - left) * (atMs - from)) / (to - from) : right)
  const y = (ratio: number | null) => {
    const exponent = ratio === null ? highest : Math.min(highest, Math.max(lowest, Math.log2(ratio)))
    return bottom - ((bottom - top) * (exponent - lowest)) / (highest - lowest)
  }
  const place = (atMs: number, ratio: number | null) => `${x(atMs).toFixed(1)} ${y(ratio).toFixed(1)}`
  const step = highest - lowest > 5 ? 2 : 1
  const ticks = Array.from({ length: highest - lowest + 1 }, (_, i) => lowest + i).filter(
    (each) => each % step === 0,
  )
  const line = (ratio: number, colour: string) =>
    `<line x1="${left}" x2="${right}" y1="${y(ratio).toFixed(1)}" y2="${y(ratio).toFixed(1)}" stroke="${colour}" stroke-width="1.5" stroke-dasharray="5,3"/>`
  const band = [
    ...points.map(({ atMs, high }) => place(atMs, high)),
    ...points.toReversed().map(({ atMs, low }) => place(atMs, low === 0 ? 1e-9 : low)),
  ].join('L')
  const known = points.filter(({ estimate }) => estimate !== undefined)
  const path = known.map(({ atMs, estimate }) => place(atMs, estimate!)).join('L')
  const stroke = (last?.low ?? 0) >= limit ? colours.bad : colours.main
  const text = (at: [number, number], anchor: string, words: string) =>
    `<text x="${at[0]}" y="${at[1]}" text-anchor="${anchor}">${words}</text>`
  return [
    `<svg role="img" aria-labelledby="${id}-title ${id}-desc" viewBox="0 0 ${width} ${height}" font-size="11" fill="currentColor" xmlns="http://www.w3.org/2000/svg">`,
    `<title id="${id}-title">${title}</title><desc id="${id}-desc">${ratioText(tile)}</desc>`,
    ...ticks.map(
      (each) =>
        `<line x1="${left}" x2="${right}" y1="${y(2 ** each).toFixed(1)}" y2="${y(2 ** each).toFixed(1)}" stroke="${colours.line}" stroke-opacity="0.3"/>` +
        text([left - 4, Number((y(2 ** each) + 3.5).toFixed(1))], 'end', tickText(each)),
    ),
    ...points
      .filter(({ begins }) => begins)
      .map(
        ({ atMs }) =>
          `<line x1="${x(atMs).toFixed(1)}" x2="${x(atMs).toFixed(1)}" y1="${top}" y2="${bottom}" stroke="${colours.line}" stroke-dasharray="2,3"/>`,
      ),
    ...(points.length > 0 ? [`<path d="M${band}Z" fill="${stroke}" fill-opacity="0.2"/>`] : []),
    line(limit, colours.bad),
    ...(proof === undefined ? [] : [line(proof, colours.good)]),
    ...(path === ''
      ? []
      : [`<path d="M${path}" fill="none" stroke="${stroke}" stroke-width="2" stroke-linejoin="round"/>`]),
    ...(last?.estimate === undefined
      ? []
      : [`<circle cx="${x(to).toFixed(1)}" cy="${y(last.estimate).toFixed(1)}" r="3" fill="${stroke}"/>`]),
    ...(to > from
      ? [
          timeLabel({ x: left, y: height - 4 }, from, to - from),
          timeLabel({ x: right, y: height - 4, anchor: 'end' }, to, to - from),
        ]
      : []),
    '</svg>',
  ].join('')
}
