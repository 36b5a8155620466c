/** Formats numbers, durations, times and names, the same in charts and beside them. */

import { groupedDigits } from '../../domain/figures.ts'

/** Null for a number that cannot be drawn: a browser silently drops an SVG shape with NaN in it. */
export const finiteOrNull = (value: number | null | undefined): number | null =>
  typeof value === 'number' && Number.isFinite(value) ? value : null

export const none = '–'

/** Four significant digits. */
export function figureText(value: number | null | undefined): string {
  const known = finiteOrNull(value)
  if (known === null) return none
  const size = Math.abs(known)
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return known.toExponential(2).replace('-', '−')
  return String(Number(known.toPrecision(4))).replace('-', '−')
}

/** A population stability index with two significant digits. */
export function psiText(value: number | null | undefined): string {
  const known = finiteOrNull(value)
  if (known === null) return none
  return known < 0.001 ? '< 0.001' : String(Number(known.toPrecision(2)))
}

/** With its sign, for differences. */
export function signedText(value: number | null | undefined): string {
  const known = finiteOrNull(value)
  if (known === null) return none
  if (known === 0) return '0'
  const size = Math.abs(known)
  const shown = size >= 0.5e-4 && size < 1e6 ? size.toFixed(4) : size.toExponential(1)
  return `${known > 0 ? '+' : '−'}${shown.replace('-', '−')}`
}

/** 12,345 */
export function countText(value: number | null | undefined): string {
  const known = finiteOrNull(value)
  return known === null ? none : groupedDigits(Math.round(known)).replace('-', '−')
}

/** A share as per cent: 0.05 is 5 %. A small one is not rounded to zero. */
export function percentOf(share: number | null | undefined): string {
  const known = finiteOrNull(share)
  if (known !== null && known > 0 && known < 0.0001) return '< 0.01 %'
  return known === null ? none : `${String(Number((100 * known).toPrecision(3))).replace('-', '−')} %`
}

const spans = [
  { unit: 'd', ms: 86_400_000 },
  { unit: 'h', ms: 3_600_000 },
  { unit: 'min', ms: 60_000 },
  { unit: 's', ms: 1_000 },
] as const

/** A duration in its largest unit and the next one: 2 h 5 min, 350 ms. */
export function spanText(ms: number | null | undefined): string {
  const known = finiteOrNull(ms)
  if (known === null) return none
  const size = Math.abs(known)
  if (size < 1_000) return `${Math.round(known)} ms`
  if (size < 60_000) return `${Number((known / 1_000).toPrecision(3))} s`
  const at = spans.findIndex((span) => size >= span.ms)
  const { unit, ms: unitMs } = spans[at]!
  const whole = Math.floor(size / unitMs)
  const next = spans[at + 1]
  const rest = next === undefined ? 0 : Math.floor((size % unitMs) / next.ms)
  return `${known < 0 ? '−' : ''}${whole} ${unit}${next === undefined || rest === 0 ? '' : ` ${rest} ${next.unit}`}`
}

const bytesUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const

export function bytesText(value: number | null | undefined): string {
  const known = finiteOrNull(value)
  if (known === null || known < 0) return none
  const step = known < 1 ? 0 : Math.min(Math.floor(Math.log10(known) / 3), bytesUnits.length - 1)
  return `${Number((known / 1000 ** step).toPrecision(3))} ${bytesUnits[step]}`
}

/** A time to the minute: 2026-03-01 12:00 UTC. */
export const utcMinute = (ms: number): string =>
  Number.isFinite(ms) && Math.abs(ms) <= 8.64e15
    ? `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
    : none

/** Cuts a name to `most` characters with an ellipsis, and removes invisible characters. */
export function truncated(name: string, most: number): string {
  // eslint-disable-next-line no-control-regex
  const shown = name.replace(/[\p{Cc}\p{Cf}\p{Cs}\s]+/gu, ' ').trim()
  const letters = Array.from(shown)
  return letters.length <= most ? shown : `${letters.slice(0, Math.max(0, most - 1)).join('')}…`
}

/** The number of characters; a surrogate pair is one. */
export const characterCount = (text: string): number => Array.from(text).length
