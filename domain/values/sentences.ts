/** Says in one sentence what is wrong with a value of a declared kind, and what to write instead. */
import { shown } from '../postgres-text.ts'
import { isDigits, maxNumber, type DeclaredKind } from './readings.ts'

/** What is wrong with a value of a kind, and what to write. */
export function valueIssue(kind: DeclaredKind, value: string): string {
  const given = `\`${shown(value)}\``
  switch (kind) {
    case 'number':
      return numberIssue(value.trim(), given)
    case 'time':
      return timeIssue(value.trim(), given)
    case 'flag':
      return `${given} is neither true nor false: write true or false, yes or no, 1 or 0; oneOf([…]) declares a label of several classes`
    case 'text':
      return `${given} is not a text: encode it as UTF-8, or leave the column out`
  }
}

/** What tables write in place of a missing value. */
export const missingWord = /^(n\/?a\.?|#n\/a|null|none|nil|missing|unknown|-+|\?+|\.)$/i

/** Whether letters stand directly before whole digits, as in the codes s07 and zone-12, and not before an amount, as in EUR 3.50. */
export const isCode = (value: string): boolean => /^\p{L}+[-_]?\d+$/u.test(value)

/** The minus of a number as tables of accounts and typesetters write it: (5), 5- and −5. */
function withMinus(value: string): string {
  const inner = /^\((.+)\)$/.exec(value)?.[1] ?? /^(.*\d.*)[-\u2212]$/.exec(value)?.[1]
  if (inner !== undefined) return `-${inner.trim()}`
  return value.replace(/[\u2212\u2013\uff0d](?=[^\d]{0,3}\d)/, '-')
}

function numberIssue(written: string, given: string): string {
  const value = withMinus(written)
  if (value !== written && isDigits(value)) return `${given} is not a number: write ${value}`
  if (Math.abs(Number(value)) > maxNumber)
    return `${given} is too large: write a number below 1e150, or leave the cell empty`
  if (missingWord.test(value))
    return `${given} is not a number: leave the cell empty, and declare number({ missing: 'fill' }) when values may be missing`
  if (/^(yes|no|y|n|t|f)$/i.test(value)) return `${given} is not a number: write 1 or 0`
  if (/^[-+]?\d{1,3}([,_]\d{3})+(\.\d+)?$/.test(value))
    return `${given} is not a number: write ${value.replaceAll(/[,_]/g, '')}`
  if (/^[-+]?\d{1,3}(\.\d{3})+,\d+$/.test(value))
    return `${given} is not a number: write ${value.replaceAll('.', '').replace(',', '.')}`
  if (/^[-+]?\d+,\d+$/.test(value))
    return `${given} is not a number: write decimals with a point, ${value.replace(',', '.')}`
  if (durationPattern.test(value)) {
    const seconds = secondsOf(value)
    return `${given} is a duration or a time of day and not a number: ${
      seconds === undefined
        ? 'write one number in one unit, such as minutes'
        : `write its seconds, ${seconds}, or select them under another name in \`rows\` of the source, as epoch(…)`
    }`
  }
  const [, before = '', sign = '', bare] =
    /^([-+]?)[^\d+-]{0,3}\s*([-+]?)(\d+(?:\.\d+)?)\s*\D*$/.exec(value) ?? []
  if (bare !== undefined && (before === '' || sign === '') && !isCode(value))
    return `${given} is not a number: write ${before || sign}${bare} without a unit`
  return `${given} is not a number: write digits such as 3.5, or declare the feature with category()`
}

/** As files, pandas and DuckDB write durations: `01:30:00`, `0 days 01:30:00`, `1 month 02:00:00`, `PT1H30M`. */
export const durationPattern =
  /^([-+]?(\d+ (year|month|day)s?,? )*[-+]?\d{1,6}:[0-5]\d(:[0-5]\d(\.\d+)?)?|-?P(?=\d|T\d)[\dYMWDTHS.]+)$/i

/** Undefined for a duration that is not written in hours, minutes and seconds. */
function secondsOf(value: string): number | undefined {
  const [, days = '0', sign, hours, minutes, seconds] =
    /^(?:(\d+) days?,? )?([-+]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$/i.exec(value) ?? []
  if (hours === undefined) return undefined
  const ofDay = Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)
  return Number(days) * 86_400 + (sign === '-' ? -ofDay : ofDay)
}

const twoDigits = (text: string | undefined) => String(text).padStart(2, '0')

function timeIssue(value: string, given: string): string {
  const parts = /^(\d{1,2})[./-](\d{1,2})[./-](\d{4})(.*)$/.exec(value)
  if (parts !== null) {
    const [, first, second, year, rest = ''] = parts
    const [dayFirst, monthFirst] = [
      `${year}-${twoDigits(second)}-${twoDigits(first)}${rest}`,
      `${year}-${twoDigits(first)}-${twoDigits(second)}${rest}`,
    ]
    const meant =
      Number(first) > 12 || dayFirst === monthFirst
        ? dayFirst
        : Number(second) > 12
          ? monthFirst
          : `${dayFirst} or ${monthFirst}, whichever is meant`
    return `${given} is not a time: write the year first, ${meant}`
  }
  const yearFirst = withHyphens(value)
  if (yearFirst !== undefined) return `${given} is not a time that is read: write ${yearFirst}`
  if (/^\d{9,10}(\.\d+)?$|^\d{12,13}$/.test(value)) {
    const inMs = /^\d{12,13}$/.test(value)
    const time = new Date(Number(value) * (inMs ? 1 : 1_000)).toISOString().replace('.000', '')
    return `${given} is not a time but seems to count ${inMs ? 'milliseconds' : 'seconds'} since 1970: write ${time}`
  }
  if (/^-?infinity$/i.test(value)) return `${given} is not a time: leave the cell empty`
  if (/^\d{4}-\d\d-\d\d[ T]\d\d:\d\d\S* ?[A-Za-z][\w/+-]*$/.test(value))
    return `${given} is not a time: the name of a zone may stand for two offsets: write the offset, such as 2026-12-31T18:30:00+01:00`
  return `${given} is not a time: write one such as 2026-12-31 or 2026-12-31T18:30:00Z`
}

/** A time with the year first, in the form that is read; undefined for other texts. */
function withHyphens(value: string): string | undefined {
  const [, year, month, day, minutes, seconds = ':00', zone = ''] =
    /^(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)? ?(Z|[+-]\d\d:?\d\d)?$/.exec(
      value,
    ) ?? []
  if (year === undefined) return undefined
  const time = minutes === undefined && zone === '' ? '' : `T${minutes ?? '00:00'}${seconds}${zone}`
  const written = `${year}-${twoDigits(month)}-${twoDigits(day)}${time}`
  return written === value || Number.isNaN(Date.parse(written)) ? undefined : written
}
