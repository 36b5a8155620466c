/** Converts between instants and the clock of a time zone, with the rules of `Intl`. */

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

/** The instant at which the clock of the zone shows this; when clocks go back, the later one. */
export const instantMs = (wall: number, zone: string): number =>
  wall - offsetMs(wall - offsetMs(wall, zone), zone)

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
