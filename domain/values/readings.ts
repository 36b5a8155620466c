/**
 * Says what each declared kind accepts and what a value becomes: `number` a double, `text` (of a category, a key or a subject) the characters as
 * they are written, `time` a moment in UTC, `flag` 1 or 0. Each reading stands here twice, for JavaScript and as DuckDB SQL, from the same patterns, and
 * a test compares the two. Nothing else casts.
 */
import { quotedIdentifier, textLiteral } from '../sql-text.ts'
import { wideDecimal } from './types.ts'

/** How a declared column is read. Texts are read as they are written. */
export type DeclaredKind = 'number' | 'text' | 'time' | 'flag'

/** Squares of larger numbers overflow. */
export const maxNumber = 1e150

const digitsPattern = String.raw`[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?`
const notFinitePattern = '[-+]?(nan|inf(inity)?)'
/** A zone stands only behind seconds, and never by its name, which may be that of two zones (BST) or leave an hour that is twice open. */
const timePattern = String.raw`\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T]\d{1,2}:\d\d(:\d\d(\.\d+)?(Z| UTC|[+-](0\d|1[0-5])(:?[0-5]\d)?)?)?)?`
const flagWords = { 1: ['true', 't', 'yes', 'y'], 0: ['false', 'f', 'no', 'n'] } as const

const digits = new RegExp(`^${digitsPattern}$`, 'i')
const notFinite = new RegExp(`^${notFinitePattern}$`, 'i')
const time = new RegExp(`^${timePattern}$`)

/** Whether a text is a finite number in digits. */
export const isDigits = (text: string): boolean => digits.test(text)

/** The number of a text, also one that is not finite; undefined for another text. */
export function readNumber(text: string): number | undefined {
  const word = text.trim().toLowerCase()
  if (word === 'true' || word === 'false') return Number(word === 'true')
  if (notFinite.test(word)) return word.includes('nan') ? NaN : word.startsWith('-') ? -Infinity : Infinity
  const number = isDigits(word) ? Number(word) : NaN
  // What overflows is not finite either, which a validation tells.
  return Math.abs(number) <= maxNumber || Math.abs(number) === Infinity ? number : undefined
}

/** The moment of a text in milliseconds, in UTC where it names no zone; undefined for another text. */
export function readTime(text: string): number | undefined {
  const found = /^(\d{4})([-/])(\d+)\2(\d+)(?:[ T]([\d:.]+))?(.*)$/.exec(text)
  if (found === null || !time.test(text)) return undefined
  const [, year, , month, day, clock = '00:00', zone = ''] = found
  const [hours, minutes, seconds = '00'] = clock.split(':')
  const two = (part = '') => part.padStart(2, '0')
  const [, sign, offsetHours, offsetMinutes = '00'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  const offset = sign === undefined ? 'Z' : `${sign}${offsetHours}:${offsetMinutes}`
  const ms = Date.parse(`${year}-${two(month)}-${two(day)}T${two(hours)}:${minutes}:${seconds}${offset}`)
  // JavaScript takes 31 February for a day of March.
  return Number.isNaN(ms) || Number(day) > new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
    ? undefined
    : ms
}

/** 1 or 0; undefined for a text that is neither true nor false. */
export function readFlag(text: string): 1 | 0 | undefined {
  const word = text.trim().toLowerCase()
  for (const flag of [1, 0] as const)
    if ((flagWords[flag] as readonly string[]).includes(word) || (isDigits(word) && Number(word) === flag))
      return flag
  return undefined
}

/** A text in the form of ISO 8601 with a zone, as requests take it: pandas and Postgres write a space, and Postgres a zone of two digits. */
export const isoTime = (text: string): string =>
  text.replace(
    /^(\d{4}-\d\d-\d\d) (\d\d:[\d:.]+)(?:([+-]\d\d)$)?/,
    (_, day: string, clock: string, zone?: string) =>
      `${day}T${clock}${zone === undefined ? '' : `${zone}:00`}`,
  )

/** How a feature reads true and false of JSON: 1 and 0, or the texts where a category has them; undefined for another category. */
export const flagReader = (
  kind: 'number' | 'category',
  texts: readonly string[],
): ((flag: boolean) => number | string) | undefined =>
  kind === 'number' ? Number : texts.includes('true') || texts.includes('false') ? String : undefined

const mark = 'tenure_value'
const separator = 'chr(31)'
const maxValueLength = 300

/** Returns SQL that reads the column as a double, a timestamp in UTC, a text, or 1 and 0. An invalid value raises an error that names it. */
export function readAs(kind: DeclaredKind, column: string): string {
  const name = quotedIdentifier(column)
  return kind === 'text'
    ? `cast(${name} as varchar)`
    : `coalesce(${converted(kind, column)}, ${conversionError(kind, column)})`
}

/** Returns SQL that raises an error with column, kind and value; null for null. */
export function conversionError(kind: DeclaredKind, column: string): string {
  const name = quotedIdentifier(column)
  return `case when ${name} is not null then error(concat(${textLiteral(mark)}, ${[textLiteral(column), textLiteral(kind), `left(cast(${name} as varchar), ${maxValueLength})`].map((part) => `${separator}, ${part}`).join(', ')})) end`
}

/** Returns SQL that reads bytes as the text that they are in UTF-8. */
export const textOfBytes = (column: string): string =>
  `coalesce(try(decode(${quotedIdentifier(column)})), ${conversionError('text', column)})`

const refusal = 'tenure_refusal'

/** Returns SQL for a column of which no value can be read. Reading one raises an error with the message. */
export const refusedColumn = (column: string, message: string): string =>
  // Without a part of the row, DuckDB would raise the error for a query that does not read the column.
  `cast(case when ${quotedIdentifier(column)} is not null then error(concat(${textLiteral(refusal)}, ${separator}, ${textLiteral(message)}, left(cast(${quotedIdentifier(column)} as varchar), 0))) end as double)`

/** Returns SQL of a type that raises an error with the message for a row. `part` is some expression of the row, for the reason above. */
export const refusedRow = (part: string, message: string, type: string): string =>
  `cast(error(concat(${textLiteral(refusal)}, ${separator}, ${textLiteral(message)}, left(cast(${part} as varchar), 0))) as ${type})`

/** Returns the message of a refused column or row; undefined for other errors. */
export const refusedColumnIssue = (message: string): string | undefined =>
  message.includes(refusal) ? message.slice(message.indexOf(refusal) + refusal.length + 1) : undefined

/** Returns SQL for the double of a value; null for none. DuckDB rounds twice where it divides the digits of a long decimal; its text is rounded once. */
export function doubleOf(column: string): string {
  const name = quotedIdentifier(column)
  const written = `cast(${name} as varchar)`
  return `case when regexp_matches(typeof(${name}), '${wideDecimal}') then try_cast(${written} as double)
    when typeof(${name}) <> 'VARCHAR' or ${isPlain(written)} then try_cast(${name} as double) end`
}

/** DuckDB also reads 1_000 and +-5 as numbers. */
const isPlain = (text: string): string => `not (contains(${text}, '_') or contains(${text}, '+-'))`

/** Returns SQL that is null for an invalid value. */
function converted(kind: Exclude<DeclaredKind, 'text'>, column: string): string {
  const name = quotedIdentifier(column)
  const text = `lower(trim(cast(${name} as varchar)))`
  switch (kind) {
    case 'number': {
      const double = doubleOf(column)
      return `case when abs(${double}) <= ${maxNumber} or not isfinite(${double}) then ${double} when ${text} = 'true' then 1 when ${text} = 'false' then 0 end`
    }
    // Cast through a type with a time zone: a cast to a timestamp without one ignores the offset in a text. DuckDB also reads words such as epoch.
    case 'time': {
      const moment = `cast(try_cast(${name} as timestamptz) as timestamp)`
      const isWritten = `typeof(${name}) <> 'VARCHAR' or regexp_full_match(cast(${name} as varchar), '${timePattern}')`
      return `case when isfinite(${moment}) and (${isWritten}) then ${moment} end`
    }
    case 'flag': {
      const is = (flag: 1 | 0) =>
        `${text} in (${flagWords[flag].map(textLiteral).join(', ')}) or try_cast(${text} as double) = ${flag} and ${isPlain(text)}`
      return `cast(case when ${is(1)} then 1 when ${is(0)} then 0 end as double)`
    }
  }
}

/** Returns SQL for whether the column holds an invalid value; of a text, bytes that are not UTF-8. */
export const breaks = (kind: DeclaredKind, column: string): string => {
  const name = quotedIdentifier(column)
  return `(${name} is not null and ${kind === 'text' ? `try(decode(${name}))` : converted(kind, column)} is null)`
}

export interface BadValue {
  column: string
  kind: DeclaredKind
  value: string
}

/** Returns the value that an error of `readAs` names; undefined for other errors. */
export function badValueOf(message: string): BadValue | undefined {
  const [, column, kind, value] = message.slice(message.indexOf(mark)).split('\u001f')
  return !message.includes(mark) || column === undefined || value === undefined
    ? undefined
    : { column, kind: kind as BadValue['kind'], value }
}
