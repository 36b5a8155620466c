/**
 * How soon something was noticed and how soon it was over, one bar each. Times in a table say which drill was slower; bars
 * say that one was ten times slower than all others.
 */
import { roomFor } from './axis.ts'
import { colours } from './colours.ts'
import { duration, finite, short } from './figures.ts'
import { draw, drawNothing, isNarrow, type Frame } from './render.ts'

export interface SpanBar {
  label: string
  /** Counted from the beginning. */
  detectionMs: number | null
  recoveryMs: number | null
  failed: boolean
}

const most = 30

export async function spansSvg(
  given: readonly SpanBar[],
  frame: Omit<Frame, 'description'>,
): Promise<string> {
  const known = (value: number | null) => {
    const time = finite(value)
    return time === null ? null : Math.max(0, time)
  }
  const bars = given.slice(0, most).map((bar, i) => ({
    ...bar,
    key: String(i),
    detectionMs: known(bar.detectionMs),
    recoveryMs: known(bar.recoveryMs),
  }))
  const measured = bars.filter(({ detectionMs, recoveryMs }) => detectionMs !== null || recoveryMs !== null)
  if (measured.length === 0)
    return drawNothing({ ...frame, description: '' }, 'Nothing has been measured yet.')
  const told = ({ label, detectionMs, recoveryMs, failed }: (typeof bars)[number]) =>
    `${short(label, 60)}: noticed after ${duration(detectionMs)}, over after ${duration(recoveryMs)}${failed ? ', failed' : ''}`
  const full = { ...frame, description: bars.map(told).join('; ') }
  const narrow = isNarrow(full)
  const name = new Map(bars.map((bar) => [bar.key, short(bar.label, narrow ? 16 : 30)]))
  const longest = Math.max(
    1,
    ...bars.map(({ detectionMs, recoveryMs }) => Math.max(detectionMs ?? 0, recoveryMs ?? 0)),
  )
  return draw(full, (plot) => ({
    height: 34 + bars.length * 24,
    marginLeft: roomFor([...name.values()]),
    marginRight: narrow ? 60 : 130,
    marginTop: 6,
    marginBottom: 26,
    x: {
      domain: [0, longest],
      label: null,
      ticks: narrow ? 2 : 5,
      tickFormat: (ms: number) => (ms === 0 ? '0' : duration(ms)),
      grid: true,
    },
    y: {
      type: 'band',
      domain: bars.map(({ key }) => key),
      label: null,
      tickSize: 0,
      tickFormat: (key: string) => name.get(key) ?? '',
      paddingInner: 0.4,
    },
    color: { type: 'identity' },
    marks: [
      plot.barX(
        bars.filter(({ recoveryMs }) => recoveryMs !== null),
        { x: 'recoveryMs', y: 'key', fill: colours.line, fillOpacity: 0.5, title: told },
      ),
      plot.barX(
        bars.filter(({ detectionMs }) => detectionMs !== null),
        {
          x: 'detectionMs',
          y: 'key',
          insetTop: 4,
          insetBottom: 4,
          fill: (bar: SpanBar) => (bar.failed ? colours.bad : colours.main),
          title: told,
        },
      ),
      plot.text(bars, {
        x: (bar) => Math.max(bar.recoveryMs ?? 0, bar.detectionMs ?? 0),
        y: 'key',
        dx: 6,
        textAnchor: 'start',
        text: (bar) =>
          narrow ? duration(bar.detectionMs) : `${duration(bar.detectionMs)} / ${duration(bar.recoveryMs)}`,
        fontVariant: 'tabular-nums',
      }),
    ],
  }))
}
