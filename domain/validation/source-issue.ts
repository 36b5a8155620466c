/** Says in one sentence what is wrong with the rows of a source, where, and what to write instead. */
import type { SourceDefinition } from '../model-definition.ts'
import { shown } from '../postgres-text.ts'
import { maxRowBytes, type CsvIssue } from './csv-scan.ts'

/** How a declared column is read. Texts are read as they are written. */
export type DeclaredKind = 'number' | 'text' | 'time' | 'flag'

/** A place in a file of the source; its path is relative to the project. */
export interface SourcePlace {
  file: string
  line?: number
  /** Counted from 1; a Parquet file has no lines. */
  row?: number
  column?: string
}

/** `models/data/roses.csv, line 7, column "size"` */
export const placeText = ({ file, line, row, column }: SourcePlace): string =>
  [
    file,
    ...(line === undefined ? [] : [`line ${line}`]),
    ...(row === undefined ? [] : [`row ${row}`]),
    ...(column === undefined ? [] : [`column "${shown(column)}"`]),
  ].join(', ')

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

/** Whether a text is read as true or false. */
export const isFlag = (value: string): boolean =>
  /^(t|true|y|yes|f|false|n|no)$/i.test(value) || [0, 1].includes(Number(value))

/** Whether letters stand directly before whole digits, as in the codes s07 and zone-12, and not before an amount, as in EUR 3.50. */
export const isCode = (value: string): boolean => /^\p{L}+[-_]?\d+$/u.test(value)

/** Squares of larger numbers overflow. */
export const maxNumber = 1e150

/** The minus of a number as tables of accounts and typesetters write it: (5), 5- and −5. */
function withMinus(value: string): string {
  const inner = /^\((.+)\)$/.exec(value)?.[1] ?? /^(.*\d.*)[-\u2212]$/.exec(value)?.[1]
  if (inner !== undefined) return `-${inner.trim()}`
  return value.replace(/[\u2212\u2013\uff0d](?=[^\d]{0,3}\d)/, '-')
}

function numberIssue(written: string, given: string): string {
  const value = withMinus(written)
  if (value !== written && Number.isFinite(Number(value))) return `${given} is not a number: write ${value}`
  if (Math.abs(Number(value)) > maxNumber)
    return `${given} is too large: write a number below 1e150, or leave the cell empty`
  if (/^(n\/?a\.?|#n\/a|null|none|nil|missing|unknown|-+|\?+|\.)$/i.test(value))
    return `${given} is not a number: leave the cell empty, and declare number({ missing: 'fill' }) when values may be missing`
  if (/^(yes|no|y|n|t|f)$/i.test(value)) return `${given} is not a number: write 1 or 0`
  if (/^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(value))
    return `${given} is not a number: write ${value.replaceAll(',', '')}`
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
  if (bare !== undefined && !isCode(value))
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

/** Two names of columns that differ at most in case, which SQL does not tell apart. */
export function sameNames(names: readonly string[]): [string, string] | undefined {
  const first = new Map<string, string>()
  for (const name of names) {
    const one = first.get(name.toLowerCase())
    if (one !== undefined && name !== '') return [one, name]
    first.set(name.toLowerCase(), name)
  }
  return undefined
}

export const sameNamesIssue = ([one, other]: readonly [string, string]): string =>
  one === other
    ? `two columns are named "${shown(one)}": rename one of them`
    : `two columns are named "${shown(one)}" and "${shown(other)}", which SQL does not tell apart: rename one of them`

/** What is wrong with the rows of a CSV whose header has `width` names. */
export function csvIssueText(issue: CsvIssue, width: number, delimiter: string): string {
  const count = (n: number) => `${n} ${n === 1 ? 'value' : 'values'}`
  switch (issue.kind) {
    case 'width': {
      const counts = `the row has ${count(issue.found)}, the header has ${width === 1 ? '1 name' : `${width} names`}`
      if (issue.found > width)
        return `${counts}: put a value that contains "${delimiter}" in double quotes, and write decimals with a point`
      return issue.last
        ? `the file ends within a row (${count(issue.found)} of ${width}): export it again completely`
        : `${counts}: write every value, and nothing between two delimiters for a missing one`
    }
    case 'open_quote':
      return `a double quote is opened and not closed before the end of its value: close it, or write "" for a quote within a quoted value`
    case 'line_end':
      return `the line ends with ${issue.isCrlf ? 'CRLF' : 'LF'}, those above it with ${issue.isCrlf ? 'LF' : 'CRLF'}: save the file with one kind of line end`
    case 'stray_break':
      return `a line break of another kind stands within the row: put the value in double quotes, or save the file with one kind of line end`
    case 'too_long':
      return `the row is longer than ${maxRowBytes} bytes: shorten its text, or close the double quote that swallows the rows after it`
  }
}

const formatIssues = {
  gzip: 'is compressed with gzip: unpack it with gunzip',
  zip: 'is a zip or Excel file and not a CSV: export the table as CSV (UTF-8)',
  parquet: 'is a Parquet file and not a CSV: declare it with parquet(…)',
  utf16: 'is encoded as UTF-16: save it as UTF-8',
  json: 'holds JSON and not CSV: export it as CSV, with the names of the columns in line 1 and one row a line',
  html: 'is an HTML page and not a CSV: download the file itself; the page may be a sign-in or an error',
  marks: 'begins with two byte order marks: save it with one, or with none',
  binary: 'is a binary file and not a CSV: export it as CSV (UTF-8)',
} as const
export type OtherFormat = keyof typeof formatIssues

/** What a file is that is no CSV. */
export const formatIssue = (format: OtherFormat): string => `the file ${formatIssues[format]}`

/** The format of a file by its first bytes; undefined for text that may be CSV. */
export function otherFormat(head: Uint8Array): OtherFormat | undefined {
  const starts = (...bytes: number[]) => bytes.every((byte, place) => head[place] === byte)
  if (starts(0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf)) return 'marks'
  if (starts(0x1f, 0x8b)) return 'gzip'
  if (starts(0x50, 0x41, 0x52, 0x31)) return 'parquet'
  if (starts(0x50, 0x4b, 3, 4)) return 'zip'
  if (starts(0xff, 0xfe) || starts(0xfe, 0xff)) return 'utf16'
  const zeros = head.subarray(0, 1_000).filter((byte) => byte === 0).length
  if (zeros > 0.3 * Math.min(head.length, 1_000)) return 'utf16'
  if (zeros > 20) return 'binary'
  const text = new TextDecoder('latin1').decode(head.subarray(0, 500)).replace(/^ï»¿/, '').trimStart()
  if (/^[[{]\s*("|\{|\[|\]|\})/.test(text)) return 'json'
  if (/^<(!doctype|html|\?xml|head|body)/i.test(text)) return 'html'
  return undefined
}

/** The names that are missing, each with the present name that differs in spelling only. */
export function missingColumn(
  wanted: string,
  uses: string,
  found: readonly string[],
  kind?: SourceDefinition['kind'],
): string {
  const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '')
  const alike = found.find((name) => plain(name) === plain(wanted))
  const listed =
    found
      .slice(0, 20)
      .map((name) => shown(name))
      .join(', ') + (found.length > 20 ? ', …' : '')
  const where = found.length === 0 ? 'and there are no columns at all' : `among ${listed}`
  const advice =
    kind === 'served'
      ? 'served requests have these columns and no others of a former source: name one of them, or make the column of them with derive'
      : alike === undefined
        ? 'rename the column, or correct the name in the model file'
        : `rename "${shown(alike)}", or correct the name in the model file`
  return `there is no column "${shown(wanted)}", ${uses}, ${where}: ${advice}`
}

/** Whether the first line of a file seems to hold values in place of names. */
export const looksLikeValues = (names: readonly string[]): boolean =>
  names.some((name) => name !== '' && (Number.isFinite(Number(name)) || /^\d{4}-\d\d-\d\d/.test(name)))
