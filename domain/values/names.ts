/** Says when two values name the same entity or person, each rule for JavaScript and as DuckDB SQL. */
import { quotedIdentifier } from '../sql-text.ts'

const maxLength = 400

/**
 * Writes a number that names a person in one way: 4711 is 4711.0 in a DOUBLE, 4711.00 in a DECIMAL and 4.711e3 in some programs. Plain decimal
 * digits without an exponent and without zeros at the end; `canonical_number` does the same in Postgres. Undefined for a text that is no finite
 * number.
 */
export function canonicalNumber(given: string): string | undefined {
  const found = /^([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:e([+-]?[0-9]{1,3}))?$/i.exec(given)
  if (found === null || given.length > maxLength) return undefined
  const [, sign, whole = '', decimals = '', bare = decimals, exponent = '0'] = found
  const digits = whole + bare
  const point = whole.length + Number(exponent)
  const before = digits.slice(0, Math.max(0, point)).padEnd(point, '0').replace(/^0+/, '')
  const after = ('0'.repeat(Math.max(0, -point)) + digits.slice(Math.max(0, point))).replace(/0+$/, '')
  const text = `${before === '' ? '0' : before}${after === '' ? '' : `.${after}`}`
  return sign === '-' && text !== '0' ? `-${text}` : text
}

/** Returns DuckDB SQL for the same of a column of numbers, or of texts; null for one that is no finite number. */
export function canonicalNumberSql(column: string): string {
  const text = `lower(cast(${column} as varchar))`
  const partOf = (group: number) =>
    `regexp_extract(${text}, '^([+-]?)([0-9]*)\\.?([0-9]*)(?:e([+-]?[0-9]+))?$', ${group})`
  const digits = `(${partOf(2)} || ${partOf(3)})`
  const point = `(length(${partOf(2)}) + coalesce(try_cast(${partOf(4)} as integer), 0))`
  const whole = `cast(greatest(${point}, 0) as integer)`
  const before = `ltrim(rpad(left(${digits}, ${whole}), ${whole}, '0'), '0')`
  const after = `rtrim(repeat('0', greatest(-${point}, 0)) || substr(${digits}, ${whole} + 1), '0')`
  const sign = `case when ${partOf(1)} = '-' and ${before} || ${after} <> '' then '-' else '' end`
  const isNumber = `regexp_full_match(${text}, '[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)(e[+-]?[0-9]{1,3})?')`
  return `case when length(${text}) <= ${maxLength} and ${isNumber}
    then ${sign} || coalesce(nullif(${before}, ''), '0') || coalesce('.' || nullif(${after}, ''), '') end`
}

const separator = '\u001f'
const maxKeyLength = 256

/**
 * The text that identifies an entity, as `entityColumn` builds it in SQL; undefined when a part is missing or invalid. The text `7.0` is the
 * number 7, as tools write whole numbers of columns with gaps. A whole number above 2⁵³ is invalid, because JSON readers round it to that of
 * another entity.
 */
export function entityKey(parts: readonly unknown[]): string | undefined {
  const texts: string[] = []
  for (const part of parts) {
    const isNumber = typeof part === 'number' && Number.isFinite(part)
    if (isNumber ? Number.isInteger(part) && !Number.isSafeInteger(part) : typeof part !== 'string')
      return undefined
    texts.push(wholeText(String(part)))
  }
  const key = texts.join(separator)
  if (key.length > maxKeyLength || key.includes('\0') || key.split(separator).length !== parts.length)
    return undefined
  return key
}

const wholeText = (text: string): string => text.replace(/^(-?[0-9]+)\.0$/, '$1')

/** The parts of a key, joined as `entityKey` does. */
export const keyOfText = (text: string): string => text.split(' / ').map(wholeText).join(separator)

/** Returns SQL for the text that identifies an entity, equal to `entityKey`. A whole number has no decimals, whatever its type. */
export const entityColumn = (columns: readonly string[]): string =>
  columns
    .map((name) => `regexp_replace(cast(${quotedIdentifier(name)} as varchar), '^(-?[0-9]+)\\.0$', '\\1')`)
    .join(' || chr(31) || ')
