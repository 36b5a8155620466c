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
