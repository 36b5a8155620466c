/** Draws the drift of each feature from the training data, largest first, with the limits of warning and alarm. */
import type { DriftLevel } from '../../domain/monitoring/drift.ts'
import { bandAxis, roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { figureText, finiteOrNull, psiText, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from './render.ts'

export interface DriftBar {
  name: string
  /** Population stability index. */
  psi: number | null
  level: DriftLevel
}

const shades: Readonly<Record<DriftLevel, string>> = {
  stable: colours.good,
  warn: colours.warn,
  alarm: colours.bad,
  insufficient: colours.neutral,
  unreadable: colours.neutral,
}

const word = (level: DriftLevel): string => (level === 'warn' ? 'warning' : level)

/** The largest are drawn; the table beside the chart has all. */
const maxBars = 40

export async function driftSvg(
  given: readonly DriftBar[],
  { warn, alarm, ...frame }: ChartPlace & { warn: number; alarm: number },
): Promise<string> {
  const bars = given
    .map((bar) => ({ ...bar, psi: finiteOrNull(bar.psi) }))
    .sort((one, other) => (other.psi ?? -1) - (one.psi ?? -1))
    .slice(0, maxBars)
    .map((bar, i) => ({ ...bar, key: String(i), size: Math.max(0, bar.psi ?? 0) }))
  if (bars.length === 0) return drawEmptyChart(frame, 'No drift data yet')
  const moved = bars.filter(({ level }) => level === 'warn' || level === 'alarm')
  const description =
    `${moved.length} of ${given.length} features drifted; the largest: ` +
    bars
      .slice(0, 5)
      .map(({ name, psi, level }) => `${truncated(name, 40)} ${psiText(psi)} (${word(level)})`)
      .join(', ')
  const full = { ...frame, description }
  const narrow = isNarrow(full)
  // On either side of the two lines, because the lines are close together where one feature has drifted far.
  const limits = [
    { at: warn, word: 'warning', textAnchor: 'end' },
    { at: alarm, word: 'alarm', textAnchor: 'start' },
  ] as const
  const name = new Map(bars.map((bar) => [bar.key, truncated(bar.name, narrow ? 14 : 22)]))
  // Caps the axis, so that one extreme feature does not flatten all others.
  const sizes = bars.map(({ size }) => size)
  const reach = Math.max(alarm * 1.25, Math.min(Math.max(...sizes), alarm * 8))
  return drawChart(full, (plot) => ({
    height: 46 + bars.length * 22,
    marginLeft: roomFor([...name.values()]),
    marginRight: narrow ? 52 : 110,
    marginTop: 24,
    marginBottom: 22,
    x: { domain: [0, reach], label: null, ticks: narrow ? 3 : 5, tickFormat: figureText, grid: true },
    y: bandAxis(bars, name, 0.35),
    color: { type: 'identity' },
    marks: [
      plot.barX(bars, {
        x: (bar) => Math.min(bar.size, reach),
        y: 'key',
        fill: (bar: DriftBar) => shades[bar.level],
        rx: 2,
        title: (bar: DriftBar) => `${truncated(bar.name, 80)}: ${psiText(bar.psi)}, ${word(bar.level)}`,
      }),
      plot.ruleX(limits, { x: 'at', stroke: 'currentColor', strokeOpacity: 0.7, strokeDasharray: '3,2' }),
      ...limits.map(({ textAnchor, ...limit }) =>
        plot.text([limit], { x: 'at', frameAnchor: 'top', dy: -11, text: 'word', fontSize: 10, textAnchor }),
      ),
      plot.text(bars, {
        x: (bar) => Math.min(bar.size, reach),
        y: 'key',
        dx: 6,
        textAnchor: 'start',
        text: (bar: DriftBar) =>
          narrow
            ? psiText(bar.psi)
            : `${psiText(bar.psi)}${bar.level === 'stable' ? '' : ` ${word(bar.level)}`}`,
        fontVariant: 'tabular-nums',
      }),
    ],
  }))
}
