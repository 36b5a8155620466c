/** Draws the gains that the offline gate measured, with their confidence intervals and limits. */
import { metricName } from '../../domain/figures.ts'
import { decides } from '../../domain/evaluation/metric-table.ts'
import type { GatePolicy } from '../../domain/evaluation/policy.ts'
import { metricVerdictText } from '../../domain/evaluation/verdict-words.ts'
import { bandAxis } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, finiteOrNull, characterCount, truncated, signedText } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace, type PlotModule } from './render.ts'

export interface IntervalRow {
  /** The metric or the slice. */
  label: string
  /** Positive when the challenger is better, in either direction of the metric. */
  delta: number | null
  low: number | null
  high: number | null
  /** The gain above which there is no regression: minus the margin. */
  limit: number | null
  verdict: 'better' | 'not_worse' | 'not_better' | 'worse' | 'reported' | 'undefined' | 'error'
}

/** Converts a metric of the gate to a row of the chart. */
export const intervalOf = ({
  metric,
  delta,
  low,
  high,
  margin,
  verdict,
}: Pick<IntervalRow, 'delta' | 'low' | 'high' | 'verdict'> & {
  metric: string
  /** The loss that still counts as no regression. */
  margin?: number | null
}): IntervalRow => ({
  label: metricName(metric),
  delta,
  low,
  high,
  limit: margin == null ? null : -margin,
  verdict,
})

/** The gains with an interval; none for a first version, which has no champion to compare with. A metric that decides nothing is drawn without a verdict. */
export const gateIntervals = ({
  metrics = [],
  policy,
}: {
  metrics?: readonly (Parameters<typeof intervalOf>[0] & { floorMet?: boolean | null })[]
  policy?: GatePolicy
}): IntervalRow[] =>
  metrics
    .filter(({ low }) => low !== null)
    .map((row) =>
      intervalOf({
        ...row,
        verdict: policy === undefined || decides(row, policy) ? row.verdict : 'reported',
      }),
    )

const shades: Readonly<Record<IntervalRow['verdict'], string>> = {
  better: colours.good,
  not_worse: colours.main,
  not_better: colours.bad,
  worse: colours.bad,
  reported: colours.neutral,
  undefined: colours.neutral,
  error: colours.bad,
}

/** Above this ratio of the largest to the smallest gain, each row has its own scale. */
const maxScaleRatio = 25

interface Placed extends IntervalRow {
  /** Positions on the axis, scaled per row when each row has its own scale. */
  at: { delta: number | null; low: number | null; high: number | null; limit: number | null }
}

function place(rows: readonly IntervalRow[]): { rows: Placed[]; own: boolean; extent: number } {
  const clean = rows.map((row) => {
    const [low, high] = [finiteOrNull(row.low), finiteOrNull(row.high)]
    const ordered = low !== null && high !== null && low > high ? { low: high, high: low } : { low, high }
    return { ...row, ...ordered, delta: finiteOrNull(row.delta), limit: finiteOrNull(row.limit) }
  })
  const extents = clean.map(({ delta, low, high, limit }) =>
    Math.max(...[delta, low, high, limit].map((value) => Math.abs(value ?? 0))),
  )
  const used = extents.filter((extent) => extent > 0)
  const extent = Math.max(0, ...used)
  const own = used.length > 1 && extent / Math.min(...used) > maxScaleRatio
  return {
    own,
    extent: own ? 1 : extent || 1,
    rows: clean.map((row, i) => {
      const unit = own ? extents[i] || 1 : 1
      const on = (value: number | null) => (value === null ? null : value / unit)
      return {
        ...row,
        at: { delta: on(row.delta), low: on(row.low), high: on(row.high), limit: on(row.limit) },
      }
    }),
  }
}

/** +0.0233 (+0.0189 to +0.0276) */
export function gainWithInterval({ delta, low, high }: Pick<IntervalRow, 'delta' | 'low' | 'high'>): string {
  if (finiteOrNull(delta) === null) return 'not measured'
  const within =
    finiteOrNull(low) === null || finiteOrNull(high) === null
      ? ''
      : ` (${signedText(low)} to ${signedText(high)})`
  return `${signedText(delta)}${within}`
}

function described(rows: readonly IntervalRow[]): string {
  return rows
    .map((row) => `${truncated(row.label, 60)}: ${gainWithInterval(row)}, ${metricVerdictText(row)}`)
    .join('; ')
}

/** The first rows are drawn; the table beside the chart has all. */
const maxRows = 60

export async function intervalsSvg(
  given: readonly IntervalRow[],
  frame: ChartPlace & { description?: string },
): Promise<string> {
  const { rows, own, extent } = place(given.slice(0, maxRows))
  const full = { ...frame, description: frame.description ?? described(rows) }
  if (rows.length === 0) return drawEmptyChart(full, 'No gains to show')
  const narrow = isNarrow(full)
  const keyed = rows.map((row, i) => ({ ...row, key: String(i), end: gainWithInterval(row) }))
  const name = new Map(keyed.map(({ key, label }) => [key, truncated(label, narrow ? 14 : 24)]))
  const longest = Math.max(...[...name.values()].map((each) => characterCount(each)))
  return drawChart(full, (plot) => ({
    height: 54 + rows.length * (narrow ? 42 : 28),
    marginLeft: 18 + longest * 6.4,
    marginRight: narrow ? 12 : 186,
    marginTop: 18,
    marginBottom: 36,
    x: {
      domain: [-1.08 * extent, 1.08 * extent],
      label: own ? 'worse ← each on its own scale → better' : 'worse ← gain → better',
      labelAnchor: 'center',
      labelArrow: 'none',
      ...(own ? { ticks: [0], tickFormat: () => '0' } : { ticks: 3, tickFormat: tick }),
    },
    y: bandAxis(keyed, name),
    marks: [
      // In a narrow chart the line stops below the figures of each row.
      narrow
        ? plot.tickX(keyed, { x: 0, y: 'key', stroke: 'currentColor', strokeOpacity: 0.55, insetTop: 14 })
        : plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.55 }),
      plot.tickX(keyed, {
        x: (row) => row.at.limit,
        y: 'key',
        stroke: colours.line,
        strokeWidth: 2,
        strokeDasharray: '3,2',
        insetTop: narrow ? 14 : 3,
        insetBottom: 3,
      }),
      plot.ruleY(
        keyed.filter((row) => row.at.low !== null && row.at.high !== null),
        {
          x1: (row) => row.at.low,
          x2: (row) => row.at.high,
          y: 'key',
          stroke: (row) => shades[row.verdict as IntervalRow['verdict']],
          strokeWidth: 5,
          strokeOpacity: 0.45,
          strokeLinecap: 'round',
        },
      ),
      plot.dot(
        keyed.filter((row) => row.at.delta !== null),
        {
          x: (row) => row.at.delta,
          y: 'key',
          r: 4.5,
          fill: (row) => shades[row.verdict as IntervalRow['verdict']],
          title: tooltip,
        },
      ),
      gainTexts(plot, keyed, narrow),
    ],
    color: { type: 'identity' },
  }))
}

function tooltip(row: IntervalRow): string {
  const limit = row.limit === null ? '' : `, must be above ${signedText(row.limit)}`
  return `${truncated(row.label, 80)}: ${gainWithInterval(row)}${limit}: ${metricVerdictText(row)}`
}

/** A narrow chart has no room for a column of figures; they stand above each interval. */
const gainTexts = (plot: PlotModule, rows: { key: string; end: string }[], narrow: boolean) =>
  narrow
    ? plot.text(rows, {
        x: 0,
        y: 'key',
        text: 'end',
        dy: -14,
        fill: 'currentColor',
        fillOpacity: 0.85,
        fontSize: 10,
      })
    : plot.text(rows, {
        frameAnchor: 'right',
        y: 'key',
        text: 'end',
        dx: 178,
        textAnchor: 'end',
        fill: 'currentColor',
        fontVariant: 'tabular-nums',
      })

const tick = (value: number): string => (value === 0 ? '0' : `${value > 0 ? '+' : ''}${figureText(value)}`)

/** The cells of an interval in a terminal, at the least; an odd number, whose middle is zero. */
const minCells = 15

/** The chart for a terminal: `●` is the gain, `━` its interval, `╎` its limit. */
export function intervalsText(
  given: readonly IntervalRow[],
  { width = 96 }: { width?: number } = {},
): string {
  const { rows, own, extent } = place(given.slice(0, maxRows))
  if (rows.length === 0) return 'No gains to show'
  const names = rows.map(({ label }) => truncated(label, 24))
  const nameWidth = Math.max(...names.map((name) => characterCount(name)))
  const endsOf = (gain: (row: Placed) => string) =>
    rows.map((row) => `${gain(row)}  ${metricVerdictText(row)}`)
  const roomBeside = (ends: readonly string[]) =>
    width - nameWidth - Math.max(...ends.map((end) => characterCount(end))) - 4
  const full = endsOf(gainWithInterval)
  // The interval is drawn, so its numbers go first where a line has no room.
  const ends =
    roomBeside(full) < minCells ? endsOf((row) => gainWithInterval({ ...row, low: null, high: null })) : full
  const cells = Math.max(minCells, (Math.min(61, roomBeside(ends)) - 1) | 1)
  const middle = (cells - 1) / 2
  const cell = (value: number) => middle + Math.round((value / extent) * middle)
  const lines = rows.map(({ at }, i) => {
    const drawn: string[] = Array.from({ length: cells }, (_, x) => (x === middle ? '│' : ' '))
    if (at.low !== null && at.high !== null) drawn.fill('━', cell(at.low), cell(at.high) + 1)
    if (at.limit !== null) drawn[cell(at.limit)] = '╎'
    if (at.delta !== null) drawn[cell(at.delta)] = '●'
    const name = names[i]!
    return `${name}${' '.repeat(nameWidth - characterCount(name))}  ${drawn.join('')}  ${ends[i]}`.trimEnd()
  })
  const scale = own ? 'each row on its own scale' : `${signedText(-extent)} … 0 … ${signedText(extent)}`
  return [...lines, `● gain, ━ its interval, ╎ its limit, │ none; ${scale}`].join('\n')
}
