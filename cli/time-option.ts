/** Times as options of the command line. */
import { quotedName } from '../domain/errors.ts'
import { parseMoment } from '../domain/registry/version-query.ts'
import { knownZone, typedInstant, wallText, zoneName } from '../domain/zoned-time.ts'
import { usageError } from './client/client.ts'
import type { Terminal } from './terminal.ts'

/**
 * Reads a time as it is printed, such as `2026-03-01`, `2026-03-01 12:00:05` or `2026-03-01 12:00 CET`, or in ISO 8601 with its zone.
 * Without a zone it is on the clock of the terminal, and the terminal says so. Returns ISO 8601 in UTC; throws a usage error for anything
 * else. `needsZone`: where an hour too early or too late destroys what the user meant to keep.
 */
export function readTime(
  flag: string,
  text: string,
  terminal: Terminal,
  { needsZone = false }: { needsZone?: boolean } = {},
): string {
  const [, wall, zone] =
    /^(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?)(?: ([A-Z]\S*))?$/.exec(text.trim()) ?? []
  if (needsZone && wall !== undefined && zone === undefined)
    throw usageError(
      `${flag}: ${quotedName(text)} is not a time with its zone; use 2026-03-01T12:00:00Z, or "2026-03-01 12:00 UTC"`,
    )
  const typed = wall === undefined ? text : instantOf(wall.replace('T', ' '), zone, terminal.zone)
  const parsed = typed === undefined ? { issue: '' } : parseMoment(typed)
  if ('issue' in parsed)
    throw usageError(
      `${flag}: Invalid time ${quotedName(text)}; use 2026-03-01 12:00, in ${terminal.zone}, or 2026-03-01T12:00:00Z`,
    )
  if (wall !== undefined && zone === undefined && !terminal.json)
    terminal.complain(`${flag} "${text}" is read as ${parsed.value}`)
  return parsed.value
}

/** Undefined for an unknown zone, and for one that has another name at this time, such as CET in July. */
function instantOf(wall: string, named: string | undefined, own: string): string | undefined {
  if (named === undefined) return typedInstant(wall, own)
  const zone = knownZone(named)
  if (zone !== undefined && (zone === 'UTC' || named.includes('/'))) return typedInstant(wall, zone)
  for (const each of [own, zone ?? own]) {
    const at = Date.parse(typedInstant(wall, each))
    if (Number.isNaN(at)) return undefined
    // When clocks go back, an hour comes twice, under two names.
    for (const ms of [at, at - 3_600_000])
      if (wallText(ms, each).startsWith(wall.replace(' ', 'T')) && zoneName(each, ms) === named)
        return new Date(ms).toISOString()
  }
  return undefined
}
