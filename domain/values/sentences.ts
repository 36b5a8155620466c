/** Says in one sentence what is wrong with a value of a declared kind, and what to write instead. */
import { shown } from '../postgres-text.ts'
import { isDigits, maxNumber, readTime, type DeclaredKind } from './readings.ts'

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

/** What tables write in place of a missing value; the errors of Excel among it. */
export const missingWord =
  /^(n\/?a\.?|null|none|nil|missing|unknown|-+|\?+|\.|#(n\/a|div\/0!|value!|ref!|num!|name\?|null!))$/i

/** Whether letters stand directly before whole digits, as in the codes s07 and zone-12, and not before an amount, as in EUR 3.50. */
export const isCode = (value: string): boolean => /^\p{L}+[-_]?\d+$/u.test(value)

/** The text with the digits of other scripts, and the dashes that typesetters write for a minus, in ASCII. */
const inAscii = (value: string): string =>
  value.replaceAll(/[\p{Pd}\u2212]/gu, '-').replaceAll(/\p{Nd}/gu, (digit) => {
    let zero = digit.codePointAt(0)!
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero--
    return String((digit.codePointAt(0)! - zero) % 10)
  })

/** Words of accounts and of speech that may be a minus. */
const signWords = /(?<!\p{L})(cr|dr|db|credit|debit|neg|negative|minus)(?!\p{L})/iu

/**
 * The sign of an amount and the rest without it. Tables of accounts write (5) and 5- for -5. `either`: two signs, a word, or the dash of 5,- that
 * may stand for the cents.
 */
function splitSign(value: string): { sign: '' | '-' | 'either'; rest: string } {
  const bare = value.replace(/\(([^()]*\d[^()]*)\)/, '$1')
  const [, before = '', leading = ''] = /^([^\d.+-]{0,5})([-+]+)[^\d]{0,5}\d/.exec(bare) ?? []
  const [trailing = ''] = /(?<=\d[^\d-]*)-$/.exec(bare) ?? []
  const rest = `${before}${bare.slice(before.length + leading.length, bare.length - trailing.length)}`.trim()
  const signs = `${bare === value ? '' : '-'}${leading === '+' ? '' : leading}${trailing}`
  const isEither = signs.length > 1 || signWords.test(value) || /[.,]\s*-$/.test(bare)
  return { sign: isEither ? 'either' : signs.length === 1 ? '-' : '', rest }
}

/** The digits with a decimal point, where they have separators; those with a comma before three digits may be either. */
function digitsOf(amount: string): string[] {
  if (isDigits(amount)) return [amount]
  if (/^\d{1,3},\d{3}$/.test(amount)) return [amount.replace(',', ''), amount.replace(',', '.')]
  if (/^\d{1,3}([,_]\d{2,3})*[,_]\d{3}(\.\d+)?$/.test(amount)) return [amount.replaceAll(/[,_]/g, '')]
  if (/^\d{1,3}(\.\d{3})+,\d+$/.test(amount)) return [amount.replaceAll('.', '').replace(',', '.')]
  if (/^\d{1,3}(\.\d{3}){2,}$/.test(amount)) return [amount.replaceAll('.', '')]
  if (/^\d{1,3}([\s'\u2019]\d{3})+([.,]\d+)?$/.test(amount))
    return [amount.replaceAll(/[\s'\u2019]/g, '').replace(',', '.')]
  return /^\d+,\d+$/.test(amount) ? [amount.replace(',', '.')] : []
}

function numberIssue(written: string, given: string): string {
  const value = inAscii(written)
  if (value === '' || missingWord.test(value))
    return `${value === '' ? 'an empty text' : given} is not a number: leave the cell empty, and declare number({ missing: 'fill' }) when values may be missing`
  if (Math.abs(Number(value)) > maxNumber)
    return `${given} is too large: write a number below 1e150, or leave the cell empty`
  if (/^(yes|no|y|n|t|f)$/i.test(value)) return `${given} is not a number: write 1 or 0`
  if (durationPattern.test(value)) {
    const seconds = secondsOf(value)
    return `${given} is a duration or a time of day and not a number: ${
      seconds === undefined
        ? 'write one number in one unit, such as minutes'
        : `write its seconds, ${seconds}, or select them under another name in \`rows\` of the source, as epoch(…)`
    }`
  }
  const { sign, rest } = splitSign(value)
  const [, before = '', amount = '', after = ''] =
    /^(\D*?)(\.?\d(?:[\d.,_\s'\u2019]*\d)?)[.,]?(\D*)$/.exec(rest) ?? []
  const numbers = /e/i.test(rest) && isDigits(rest) ? [rest] : digitsOf(amount)
  if (numbers.length === 0 || isCode(rest) || (before.trim().length > 3 && sign !== 'either'))
    return `${given} is not a number: write digits such as 3.5, or declare the feature with category()`
  const meant = numbers.flatMap((number) =>
    sign === 'either' ? [number, `-${number}`] : [`${sign}${number}`],
  )
  const isDecimal = /^\d+,\d+$/.test(rest) && meant.length === 1
  const unit = isDigits(rest) || `${before}${after}`.trim() === '' ? '' : ' without a unit'
  return `${given} is not a number: write ${isDecimal ? 'decimals with a point, ' : ''}${meant.join(' or ')}${unit}${meant.length > 1 ? ', whichever is meant' : ''}`
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
  const written = inReadForm(value)
  if (written !== undefined) return `${given} is not a time that is read: write ${written}`
  const count = /^\d+(\.\d+)?$/.test(value)
    ? { 9: 's', 10: 's', 12: 'ms', 13: 'ms', 16: 'µs', 19: 'ns' }[value.split('.')[0]!.length]
    : undefined
  if (count !== undefined) {
    const unit = units[count]!
    const time = new Date(Number(value) / (unit.ofSecond / 1_000)).toISOString().replace('.000', '')
    return `${given} is not a time but seems to count ${unit.name} since 1970: write ${time}`
  }
  if (missingWord.test(value) || /^([-+]?(inf(inity)?|nan)|nat)?$/i.test(value))
    return `${value === '' ? 'an empty text' : given} is not a time: leave the cell empty`
  if (/^\d{1,2}[./-]\d{1,2}[./-]\d{1,2}\b/.test(value))
    return `${given} is not a time: write the year first and with four digits, such as 2026-12-31`
  if (/:60(\.\d+)?(Z|[-+\s]|$)/.test(value))
    return `${given} is not a time: a minute ends with second 59: write that one, or the next minute`
  if (/\d ?[ap]\.?m\.?$/i.test(value))
    return `${given} is not a time: write the hours from 00 to 23, such as 2026-12-31T18:30:00Z`
  if (/^\d{4}-\d\d-\d\d[ T]\d\d:\d\d\S* ?[A-Za-z][\w/+-]+$/.test(value))
    return `${given} is not a time: the name of a zone may stand for two offsets: write the offset, such as 2026-12-31T18:30:00+01:00`
  return `${given} is not a time: write one such as 2026-12-31 or 2026-12-31T18:30:00Z`
}

const units: Readonly<Record<string, { name: string; ofSecond: number }>> = {
  s: { name: 'seconds', ofSecond: 1 },
  ms: { name: 'milliseconds', ofSecond: 1e3 },
  µs: { name: 'microseconds', ofSecond: 1e6 },
  ns: { name: 'nanoseconds', ofSecond: 1e9 },
}

/** A time with the year first, in the form that is read; undefined for other texts. */
function inReadForm(value: string): string | undefined {
  const plain = inAscii(value)
    .replace(/^(\d{4})(\d\d)(\d\d)(?=$|T)/i, '$1-$2-$3')
    .replace(/T(\d\d)(\d\d)(\d\d)/i, 'T$1:$2:$3')
    .replace(/(:\d\d),(\d+)/, '$1.$2')
    .replace(/ ?(GMT|UTC|Z)$/i, 'Z')
  const [, year, month, day, minutes, seconds = ':00', zone = ''] =
    /^(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?:[ T]+(\d\d:\d\d)(:\d\d(?:\.\d+)?)?)? ?(Z|[+-]\d\d:?(?:\d\d)?)?$/i.exec(
      plain,
    ) ?? []
  if (year === undefined) return undefined
  const time = minutes === undefined && zone === '' ? '' : `T${minutes ?? '00:00'}${seconds}${zone}`
  const written = `${year}-${twoDigits(month)}-${twoDigits(day)}${time}`
  return readTime(written) === undefined ? undefined : written
}
