/** Draws a year as a standalone SVG: AUC by week, one line a contender, and a mark for each incident. */
import { incidentOf } from './incidents.ts'
import type { YearResult } from './play.ts'

const colours = ['#8b949e', '#8a6bbf', '#c2841d', '#1a7f4b', '#2563c9']
const dashes = ['2 4', '7 4', '4 3', '1 3', 'none']

export function worthChart({ stream, withIncidents, planned: weeks, contenders }: YearResult): string {
  const [width, height, left, right, top, bottom] = [900, 340, 56, 170, 20, 44]
  const values = contenders.flatMap((each) => each.weeks.map(({ auc }) => auc))
  const [low, high] = [Math.min(...values) - 0.005, Math.max(...values) + 0.005]
  const x = (week: number) => left + (week / Math.max(1, weeks - 1)) * (width - left - right)
  const y = (value: number) => top + ((high - value) / (high - low)) * (height - top - bottom)
  const ticks = Array.from({ length: 5 }, (_, index) => low + ((high - low) * index) / 4)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>AUC by week of ${stream}, ${withIncidents ? 'with incidents' : 'calm'}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...ticks.map(
      (value) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#e3e6ea"/><text x="${left - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value.toFixed(2)}</text>`,
    ),
    ...Array.from({ length: weeks }, (_, week) => {
      const incident = withIncidents ? incidentOf(week, weeks) : undefined
      return [
        week % 4 === 0
          ? `<text x="${x(week).toFixed(1)}" y="${height - 10}" text-anchor="middle">${week}</text>`
          : '',
        incident === undefined
          ? ''
          : `<path d="M${x(week).toFixed(1)} ${height - bottom + 4} l5 9 h-10 z" fill="#c2341d"><title>${incident.name}</title></path>`,
      ].join('')
    }).filter((text) => text !== ''),
    ...contenders.flatMap(({ name, weeks: played }, place) => {
      const points = played.map(({ auc }, week) => `${x(week).toFixed(1)},${y(auc).toFixed(1)}`)
      const line = `stroke="${colours[place]}" stroke-width="2" stroke-dasharray="${dashes[place]}"`
      const at = top + 14 + place * 20
      return [
        `<polyline fill="none" ${line} points="${points.join(' ')}"/>`,
        `<line x1="${width - right + 14}" x2="${width - right + 40}" y1="${at}" y2="${at}" ${line}/>`,
        `<text x="${width - right + 46}" y="${at + 4}">${name}</text>`,
      ]
    }),
    ...(withIncidents
      ? [
          `<path d="M${width - right + 27} ${top + 110} l5 9 h-10 z" fill="#c2341d"/><text x="${width - right + 46}" y="${top + 119}">an incident</text>`,
        ]
      : []),
    '</svg>',
    '',
  ].join('\n')
}
