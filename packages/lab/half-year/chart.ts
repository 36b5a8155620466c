/** Draws the half-year as a standalone SVG. */
import { dayMs } from './clock.ts'
import { contenders, names, type Contender } from './contenders.ts'
import type { HalfYear } from './run.ts'

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** AUC by week, one line per model; marks show promotions of Tenure. */
export function chartOf({ weeks, champions, clock }: HalfYear): string {
  const [width, height, left, right, top, bottom] = [900, 340, 60, 150, 20, 46]
  const values = weeks
    .flatMap((week) => contenders.map((name) => week[name]?.auc))
    .filter((each) => typeof each === 'number') as number[]
  const [low, high] = [Math.min(...values) - 0.005, Math.max(...values) + 0.005]
  const [fromMs, toMs] = [weeks[0]?.fromMs ?? 0, weeks.at(-1)?.fromMs ?? 1]
  const x = (ms: number) => left + ((ms - fromMs) / Math.max(1, toMs - fromMs)) * (width - left - right)
  const y = (value: number) => top + ((high - value) / (high - low)) * (height - top - bottom)
  const colours: Record<Contender, string> = { never: '#8b949e', weekly: '#8a6bbf', tenure: '#2563c9' }
  const dashes: Record<Contender, string> = { never: '2 4', weekly: '7 4', tenure: 'none' }
  const ticks = Array.from({ length: 5 }, (_, index) => low + ((high - low) * index) / 4)
  const lines = contenders.flatMap((name, place) => {
    const points = weeks.flatMap((week) => {
      const value = week[name]?.auc
      return typeof value === 'number' ? [`${x(week.fromMs).toFixed(1)},${y(value).toFixed(1)}`] : []
    })
    if (points.length === 0) return []
    return [
      `<polyline fill="none" stroke="${colours[name]}" stroke-width="2" stroke-dasharray="${dashes[name]}" points="${points.join(' ')}"/>`,
      `<line x1="${width - right + 14}" x2="${width - right + 40}" y1="${top + 14 + place * 20}" y2="${top + 14 + place * 20}" stroke="${colours[name]}" stroke-width="2" stroke-dasharray="${dashes[name]}"/>`,
      `<text x="${width - right + 46}" y="${top + 18 + place * 20}">${names[name]}</text>`,
    ]
  })
  const marks = champions.slice(1).map(({ at, cause }) => {
    const place = x(clock.recordedOf(Date.parse(at)) - 3.5 * dayMs).toFixed(1)
    return `<path d="M${place} ${height - bottom + 2} l5 9 h-10 z" fill="${cause === 'promotion' ? '#1a7f4b' : '#c2341d'}"/>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    '<title>AUC by week: never retrained, retrained weekly, Tenure</title>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...ticks.map(
      (value) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="#e3e6ea"/><text x="${left - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value.toFixed(2)}</text>`,
    ),
    ...weeks
      .filter((_, index) => index % 3 === 0)
      .map(
        ({ fromMs: at }) =>
          `<text x="${x(at).toFixed(1)}" y="${height - 10}" text-anchor="middle">${day(at).slice(5)}</text>`,
      ),
    ...lines,
    ...marks,
    `<path d="M${width - right + 27} ${top + 70} l5 9 h-10 z" fill="#1a7f4b"/><text x="${width - right + 46}" y="${top + 79}">a new champion</text>`,
    '</svg>',
    '',
  ].join('\n')
}
