/** Draws the detection time and the recovery time of drills, one bar each. */
import { bandAxis, roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { spanText, finiteOrNull, truncated } from './figures.ts'
import { drawChart, drawEmptyChart, isNarrow, type ChartPlace } from './render.ts'

export interface SpanBar {
  label: string
  /** The label on a phone. Default: `label`. */
  short?: string
  /** Since the start of the drill. */
  detectionMs: number | null
  recoveryMs: number | null
  failed: boolean
}

const maxBars = 30

/** The steps of an axis of durations, each a whole number of its unit. */
const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500]
  .concat([1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1_000))
  .concat([1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000))
  .concat([1, 2, 6, 12, 24].map((hours) => hours * 3_600_000))

/** The ticks from 0 to `longestMs`, at most `most` after 0. */
export function spanTicks(longestMs: number, most: number): number[] {
  const step = steps.find((each) => longestMs / each < most + 1) ?? longestMs / most
  return Array.from({ length: Math.floor(longestMs / step) + 1 }, (_, i) => i * step)
}

export async function spansSvg(given: readonly SpanBar[], frame: ChartPlace): Promise<string> {
  const known = (value: number | null) => {
    const time = finiteOrNull(value)
    return time === null ? null : Math.max(0, time)
  }
  const bars = given.slice(0, maxBars).map((bar, i) => ({
    ...bar,
    key: String(i),
    detectionMs: known(bar.detectionMs),
    recoveryMs: known(bar.recoveryMs),
  }))
  const measured = bars.filter(({ detectionMs, recoveryMs }) => detectionMs !== null || recoveryMs !== null)
  if (measured.length === 0) return drawEmptyChart(frame, 'No measurements yet')
  const described = ({ label, detectionMs, recoveryMs, failed }: (typeof bars)[number]) =>
    `${truncated(label, 60)}: detected in ${spanText(detectionMs)}, recovered in ${spanText(recoveryMs)}${failed ? ', failed' : ''}`
  const full = { ...frame, description: bars.map(described).join('; ') }
  const narrow = isNarrow(full)
  const name = new Map(
    bars.map((bar) => [bar.key, truncated(narrow ? (bar.short ?? bar.label) : bar.label, narrow ? 18 : 42)]),
  )
  const longest = Math.max(
    1,
    ...bars.map(({ detectionMs, recoveryMs }) => Math.max(detectionMs ?? 0, recoveryMs ?? 0)),
  )
  const beside = ({ detectionMs, recoveryMs }: (typeof bars)[number]) =>
    narrow ? spanText(detectionMs) : `${spanText(detectionMs)} / ${spanText(recoveryMs)}`
  return drawChart(full, (plot) => ({
    height: 34 + bars.length * 24,
    marginLeft: roomFor([...name.values()]),
    marginRight: roomFor(bars.map(beside)),
    marginTop: 6,
    marginBottom: 26,
    x: {
      domain: [0, longest],
      label: null,
      ticks: spanTicks(longest, narrow ? 2 : 5),
      tickFormat: (ms: number) => (ms === 0 ? '0' : spanText(ms)),
      grid: true,
    },
    y: bandAxis(bars, name, 0.4),
    color: { type: 'identity' },
    marks: [
      plot.barX(
        bars.filter(({ recoveryMs }) => recoveryMs !== null),
        { x: 'recoveryMs', y: 'key', fill: colours.line, fillOpacity: 0.5, title: described },
      ),
      plot.barX(
        bars.filter(({ detectionMs }) => detectionMs !== null),
        {
          x: 'detectionMs',
          y: 'key',
          insetTop: 4,
          insetBottom: 4,
          fill: (bar: SpanBar) => (bar.failed ? colours.bad : colours.main),
          title: described,
        },
      ),
      plot.text(bars, {
        x: (bar) => Math.max(bar.recoveryMs ?? 0, bar.detectionMs ?? 0),
        y: 'key',
        dx: 6,
        textAnchor: 'start',
        text: beside,
        fontVariant: 'tabular-nums',
      }),
    ],
  }))
}
