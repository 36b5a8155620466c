/** Parses the durations of model files, such as '30 min' and '7 d', into milliseconds. */
import type { IssueCollector } from './issues.ts'

const units = {
  ms: 1,
  s: 1_000,
  sec: 1_000,
  second: 1_000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
} as const

type Unit = keyof typeof units
/** A number and a unit: `'15 s'`, `'30 min'`, `'2 h'`, `'7 d'`, `'1 week'`. */
export type Duration = `${number} ${Unit | `${Unit}s`}`

/** Returns the milliseconds of a duration; undefined for any other value. */
export function parseDuration(text: unknown): number | undefined {
  const parts = typeof text === 'string' ? /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(text.trim()) : null
  const unit = parts?.[2] ?? ''
  const known = unit in units ? unit : unit.replace(/s$/, '')
  if (parts === null || !(known in units)) return undefined
  const ms = Math.round(Number(parts[1]) * units[known as Unit])
  return Number.isSafeInteger(ms) ? ms : undefined
}

/** Returns the milliseconds of a duration at a place in a model file. Reports an invalid one and returns 1. */
export function durationAt(report: IssueCollector, place: string, text: Duration): number {
  const ms = parseDuration(text)
  if (ms !== undefined && ms > 0) return ms
  report(place, `a duration such as '30 min' or '7 d' is required, not ${JSON.stringify(text)}`)
  return 1
}

/** Reads a duration of a part of a model file; returns `otherwise` for an absent one. */
export type DurationReader = <T>(place: string, text: Duration | undefined, otherwise: T) => number | T

export const durationsIn =
  (report: IssueCollector, part: string): DurationReader =>
  (place, text, otherwise) =>
    text === undefined ? otherwise : durationAt(report, `${part}.${place}`, text)
