/** Draws the evidence of one metric against a candidate over time, as a share of its threshold, small enough for a tile. */
import { colours } from '../../../../charts/colours.ts'
import { percentOf } from '../../../../charts/figures.ts'

export interface TilePoint {
  atMs: number
  /** The evidence as a share of the threshold. */
  share: number
}

const width = 240
const height = 56
const floor = height - 4
/** The vertical position of the threshold. */
const limitY = 10

/** Writes the SVG without a chart package, because a page with six tiles is drawn every two seconds. The caller escapes texts. */
export function evidenceTileSvg(
  points: readonly TilePoint[],
  { id, title, effect }: { id: string; title: string; effect: string },
): string {
  const known = points.filter(({ atMs, share }) => Number.isFinite(atMs) && Number.isFinite(share))
  const last = known.at(-1)
  const words = last === undefined ? 'no verdict yet' : `${percentOf(last.share)} of the way to ${effect}`
  const [from, to] = [known[0]?.atMs ?? 0, last?.atMs ?? 0]
  const x = (atMs: number) => (to > from ? 2 + ((width - 8) * (atMs - from)) / (to - from) : width - 6)
  const y = (share: number) => floor - Math.min(1.15, Math.max(0, share)) * (floor - limitY)
  const at = ({ atMs, share }: TilePoint) => `${x(atMs).toFixed(1)} ${y(share).toFixed(1)}`
  const stroke = (last?.share ?? 0) >= 1 ? colours.bad : colours.main
  const path = known.map((point, index) => `${index === 0 ? 'M' : 'L'}${at(point)}`).join('')
  const area =
    last === undefined ? '' : `${path}L${x(to).toFixed(1)} ${floor}L${x(from).toFixed(1)} ${floor}Z`
  return [
    `<svg role="img" aria-labelledby="${id}-title ${id}-desc" viewBox="0 0 ${width} ${height}" xmlns="http://www.w3.org/2000/svg">`,
    `<title id="${id}-title">${title}</title><desc id="${id}-desc">${words}</desc>`,
    `<line x1="0" x2="${width}" y1="${limitY}" y2="${limitY}" stroke="${colours.bad}" stroke-dasharray="4,3"/>`,
    `<line x1="0" x2="${width}" y1="${floor}" y2="${floor}" stroke="${colours.line}" stroke-opacity="0.5"/>`,
    ...(last === undefined
      ? []
      : [
          `<path d="${area}" fill="${stroke}" fill-opacity="0.15"/>`,
          `<path d="${path}" fill="none" stroke="${stroke}" stroke-width="2" stroke-linejoin="round"/>`,
          `<circle cx="${x(to).toFixed(1)}" cy="${y(last.share).toFixed(1)}" r="3" fill="${stroke}"/>`,
        ]),
    '</svg>',
  ].join('')
}
