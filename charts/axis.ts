/** What several charts have in common: axes of time, the room that labels need, and labels that do not lie on each other. */
import { lengthOf } from './figures.ts'

/** A day and a time of day on one axis, in as few letters as the span allows; all in UTC. */
export function timeFormat(spanMs: number): (at: Date | number) => string {
  const text = (at: Date | number) => new Date(at).toISOString()
  if (spanMs < 3 * 60_000) return (at) => text(at).slice(11, 19)
  if (spanMs < 36 * 3_600_000) return (at) => text(at).slice(11, 16)
  if (spanMs < 2 * 366 * 86_400_000)
    return (at) => `${months[new Date(at).getUTCMonth()]} ${new Date(at).getUTCDate()}`
  return (at) => text(at).slice(0, 7)
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** Of one moment there is no span; then some time around it is shown. */
export function timeDomain(times: readonly number[]): [Date, Date] {
  let [from, to] = [Infinity, -Infinity]
  for (const time of times) {
    if (!Number.isFinite(time)) continue
    from = Math.min(from, time)
    to = Math.max(to, time)
  }
  if (from > to) [from, to] = [0, 1]
  const around = from === to ? 1_800_000 : 0
  return [new Date(from - around), new Date(to + around)]
}

/** The pixels that names need at 11 pixels a letter's height. */
export const roomFor = (names: readonly string[]): number =>
  18 + 6.4 * names.reduce((most, name) => Math.max(most, lengthOf(name)), 0)

/** Moves places apart until each is at least `gap` from its neighbours, all within [low, high] as far as there is room. */
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
