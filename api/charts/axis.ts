/** Computes what several charts share: time axes, the width of labels, and positions that keep labels apart. */
import { instantMs, wallMs, wallText } from '../../domain/zoned-time.ts'
import { characterCount, figureText } from './figures.ts'

/** What the times of a chart show, by its span: seconds below 3 min, minutes below 36 h, else days. */
export const spanLook = (spanMs: number): 'clock' | 'minute' | 'day' =>
  spanMs < 3 * 60_000 ? 'clock' : spanMs < 36 * 3_600_000 ? 'minute' : 'day'

/** The shortest format of times in a zone that a span allows. */
export function timeFormat(spanMs: number, zone = 'UTC'): (at: Date | number) => string {
  const text = (at: Date | number) => wallText(Number(at), zone)
  const look = spanLook(spanMs)
  if (look !== 'day') return (at) => text(at).slice(11, look === 'clock' ? 19 : 16)
  if (spanMs < 2 * 366 * 86_400_000)
    return (at) => `${months[Number(text(at).slice(5, 7)) - 1]} ${Number(text(at).slice(8, 10))}`
  return (at) => text(at).slice(0, 7)
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** The range of the times; around a single time, 30 min on each side. */
export function timeDomain(times: readonly number[]): [Date, Date] {
  const known = times.filter(Number.isFinite)
  const [from, to] = known.length === 0 ? [0, 1] : [Math.min(...known), Math.max(...known)]
  const around = from === to ? 1_800_000 : 0
  return [new Date(from - around), new Date(to + around)]
}

/**
 * An axis of time in the zone of the page, which names it; without a page in UTC, and the first time of day says so. Labels with seconds
 * are wide, so that a short span gets fewer.
 */
export function timeAxis(domain: [Date, Date], ticks: number, zone?: string) {
  const spanMs = domain[1].getTime() - domain[0].getTime()
  const text = timeFormat(spanMs, zone)
  const count = spanLook(spanMs) === 'clock' ? Math.ceil(ticks / 2) : ticks
  return {
    type: 'utc' as const,
    domain,
    label: null,
    ticks: zone === undefined || zone === 'UTC' ? count : zonedTicks(domain, count, zone),
    tickFormat: (at: Date | number, place: number) =>
      place === 0 && zone === undefined && text(at).includes(':') ? `${text(at)} UTC` : text(at),
  }
}

const [s, min, h, d] = [1_000, 60_000, 3_600_000, 86_400_000]
/** Each is at most 2.5 times the one before, so that an axis of a few minutes still has labels. */
const steps = [
  ...[1, 2, 5, 10, 15, 30].map((count) => count * s),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * min),
  ...[1, 2, 3, 6, 12].map((count) => count * h),
  ...[1, 2, 4, 7, 14].map((count) => count * d),
]

/** Round times of a zone, at most `most`, where those of UTC would fall on odd hours or on the day before. */
function zonedTicks([from, to]: [Date, Date], most: number, zone: string): Date[] {
  const [first, last] = [wallMs(from.getTime(), zone), wallMs(to.getTime(), zone)]
  const step =
    steps.find((each) => (last - first) / each <= most) ??
    30 * d * Math.ceil((last - first) / (30 * d * most))
  const ticks: Date[] = []
  for (let wall = Math.ceil(first / step) * step; wall <= last; wall += step)
    ticks.push(new Date(instantMs(wall, zone)))
  return ticks
}

/** An axis with one band per row, named by its key. */
export const bandAxis = (
  rows: readonly { key: string }[],
  names: ReadonlyMap<string, string>,
  paddingInner = 0,
) => ({
  type: 'band' as const,
  domain: rows.map(({ key }) => key),
  label: null,
  tickSize: 0,
  tickFormat: (key: string) => names.get(key) ?? '',
  paddingInner,
})

/** An axis of epochs: half of one has no name. */
export const epochAxis = (ticks: number) => ({
  label: 'epoch',
  labelAnchor: 'center' as const,
  labelArrow: 'none' as const,
  ticks,
  tickFormat: (epoch: number) => (Number.isInteger(epoch) ? String(epoch) : ''),
})

/** An axis of figures, which need not begin at 0. */
export const figureAxis = (label: string) => ({
  label,
  labelArrow: 'none' as const,
  grid: true,
  nice: true,
  zero: false,
  ticks: 5,
  tickFormat: figureText,
})

/** The width of the longest name in pixels, at a font size of 11. */
export const roomFor = (names: readonly string[]): number =>
  18 + 6.4 * names.reduce((most, name) => Math.max(most, characterCount(name)), 0)

/** Moves positions apart until each is at least `gap` from its neighbours, within [low, high] as far as they fit. */
export function apart(
  places: readonly number[],
  { gap, low, high }: { gap: number; low: number; high: number },
): number[] {
  const order = places.map((_, i) => i).sort((one, other) => places[one]! - places[other]! || one - other)
  const moved = [...places]
  let least = low
  for (const i of order) {
    moved[i] = Math.max(moved[i]!, least)
    least = moved[i]! + gap
  }
  let most = high
  for (const i of order.toReversed()) {
    moved[i] = Math.max(low, Math.min(moved[i]!, most))
    most = moved[i]! - gap
  }
  return moved
}
