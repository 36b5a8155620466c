/** Converts between instants and the clock of a time zone, with the rules of `Intl`, and writes times for readers in a zone. */

/** By zone and locale. A page has hundreds of times, and a new format takes 0.1 ms. */
const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(zone: string, locale: string, name: 'longOffset' | 'short'): Intl.DateTimeFormat {
  const key = `${zone} ${locale} ${name}`
  const known = formats.get(key)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat(locale, { timeZone: zone, timeZoneName: name })
  formats.set(key, made)
  return made
}

const zoneNameIn = (format: Intl.DateTimeFormat, atMs: number): string =>
  format.formatToParts(atMs).find(({ type }) => type === 'timeZoneName')!.value

const zones = new Set(Intl.supportedValuesOf('timeZone'))

/** Returns the name under which `Intl` lists a zone: `US/Pacific` → `America/Los_Angeles`; undefined for an unknown one. */
export function knownZone(name: string): string | undefined {
  if (name.length > 64) return undefined
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions()
    return timeZone === 'UTC' || zones.has(timeZone) ? timeZone : undefined
  } catch {
    return undefined
  }
}

/** How far the clock of the zone is ahead of UTC, in milliseconds. */
function offsetMs(atMs: number, zone: string): number {
  if (zone === 'UTC') return 0
  const [, sign, hours = 0, minutes = 0, seconds = 0] =
    /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(zoneNameIn(formatOf(zone, 'en', 'longOffset'), atMs)) ?? []
  const size = 1_000 * (3_600 * Number(hours) + 60 * Number(minutes) + Number(seconds))
  return sign === '-' ? -size : size
}

/** The clock of the zone at an instant, as the instant at which a clock in UTC shows the same. */
export const wallMs = (atMs: number, zone: string): number => atMs + offsetMs(atMs, zone)

const dayMs = 86_400_000

/** The instant at which the clock of the zone shows this: the later one of two, or an hour later when clocks have skipped it. */
export function instantMs(wall: number, zone: string): number {
  const offsets = [offsetMs(wall - dayMs, zone), offsetMs(wall + dayMs, zone)]
  const [earlier, later] = [wall - Math.max(...offsets), wall - Math.min(...offsets)]
  return wallMs(later, zone) !== wall && wallMs(earlier, zone) === wall ? earlier : later
}

/** The clock of the zone in ISO 8601, without a zone: `2026-03-01T13:00:00.000`. */
export const wallText = (atMs: number, zone: string): string =>
  new Date(wallMs(atMs, zone)).toISOString().slice(0, -1)

/** The locales that abbreviate the zones of their countries; others have `GMT+9`. */
const localesWithNames = ['en-US', 'en-GB', 'en-AU', 'en-IN']

/** The abbreviation of a zone at an instant: `CET`, in summer `CEST`. */
export function zoneName(zone: string, atMs: number): string {
  let name = ''
  for (const locale of localesWithNames) {
    name = zoneNameIn(formatOf(zone, locale, 'short'), atMs)
    if (!/^GMT[+-]/.test(name)) break
  }
  return name
}

/** `time` is the date and the minute, `clock` the time of the day to the second, `minute` to the minute; `due` of a time to come. */
export type TimeLook = 'time' | 'second' | 'milliseconds' | 'clock' | 'minute' | 'day' | 'due'

type ClockLook = Exclude<TimeLook, 'due'>
const slices: Readonly<Record<ClockLook, [number, number]>> = {
  time: [0, 16],
  second: [0, 19],
  milliseconds: [0, 23],
  clock: [11, 19],
  minute: [11, 16],
  day: [0, 10],
}

/** Writes an instant on the clock of a zone. */
export function timeText(atMs: number, zone: string, look: ClockLook): string {
  const [from, to] = slices[look]
  return wallText(atMs, zone).slice(from, to).replace('T', ' ')
}

/** Within this time, a time to come also says how long it is until then. */
const nearMs = 2 * 3_600_000

/** `13:00 (in 9 min)` when it is near, else with the date, as `look` says. */
export function dueText(
  { atMs, nowMs }: { atMs: number; nowMs: number },
  zone: string,
  look: ClockLook,
): string {
  const leftMs = atMs - nowMs
  if (leftMs < 0 || leftMs > nearMs) return timeText(atMs, zone, look)
  const minutes = Math.round(leftMs / 60_000)
  return `${timeText(atMs, zone, 'minute')} (${minutes === 0 ? 'now' : `in ${minutes} min`})`
}

/** The source of a pattern for the times in sentences; those of options are left out, because they are to be pasted. */
export const timeInSentence = String.raw`(?<!--[a-z-]+ )(?<!\d)\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)|[ \u00a0]\d\d:\d\d(?::\d\d(?:\.\d+)?)? UTC)`

/** The instant of a time that `timeInSentence` has found; NaN for a day that does not exist. */
export const sentenceMs = (found: string): number =>
  Date.parse(found.replace(/[ \u00a0](\d\d:\S+) UTC/, 'T$1Z'))

/** Returns the instant of a time as typed on a clock of the zone, in ISO 8601: `2026-03-01`, `2026-03-01 12:00`. Other texts stay. */
export function typedInstant(typed: string, zone: string): string {
  const [, day, clock = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?$/.exec(typed.trim()) ?? []
  const wall = Date.parse(`${day}T${clock}Z`)
  // 2026-02-31 would be a day in March.
  const isTime = !Number.isNaN(wall) && new Date(wall).toISOString().startsWith(day!)
  return !isTime ? typed.trim() : new Date(instantMs(wall, zone)).toISOString()
}
