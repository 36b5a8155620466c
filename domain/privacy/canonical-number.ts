/**
 * Writes a number that names a person in one way: 4711 is 4711.0 in a DOUBLE, 4711.00 in a DECIMAL and 4.711e3 in some programs. Plain decimal
 * digits without an exponent and without zeros at the end; `canonical_number` does the same in Postgres.
 */

/** The DuckDB types of numbers. */
export const numberTypes = '^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$'

const maxLength = 400

/** Undefined for a text that is no finite number. */
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

/** Returns DuckDB SQL for the same of a column of numbers, or of their texts; null for NaN and infinity. */
export function canonicalNumberSql(column: string): string {
  const text = `lower(cast(${column} as varchar))`
  const sign = `case when starts_with(${text}, '-') then '-' else '' end`
  const digits = `replace(regexp_extract(${text}, '[0-9.]+'), '.', '')`
  const exponent = `cast(regexp_extract(${text}, 'e(.*)$', 1) as integer)`
  // DuckDB writes an exponent from 16 on and below -4; a number has at most 17 digits.
  const plain = `${sign} || case when ${exponent} < 0 then '0.' || repeat('0', -${exponent} - 1) || ${digits}
    else rpad(${digits}, ${exponent} + 1, '0') end`
  const short = `regexp_replace(regexp_replace(${text}, '\\.0*$|(\\.[0-9]*[1-9])0+$', '\\1'), '^-0$', '0')`
  return `case when contains(${text}, 'e') then ${plain} when regexp_full_match(${text}, '-?[0-9.]+') then ${short} end`
}
