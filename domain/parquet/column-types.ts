/** Says which one type holds the values of two Parquet columns, so that the files of a pattern are not read with the types of the first. */

/** The type of a column that has no value. */
export const nullType = 'NULL'
/** The type in which texts are read. */
export const textType = 'VARCHAR'

/** The digits that a whole number of each type may have. */
const digits: Readonly<Record<string, number>> = {
  BOOLEAN: 1,
  UTINYINT: 3,
  TINYINT: 3,
  USMALLINT: 5,
  SMALLINT: 5,
  UINTEGER: 10,
  INTEGER: 10,
  UBIGINT: 20,
  BIGINT: 19,
}
const texts = [textType, 'JSON']
const approximate = ['FLOAT', 'DOUBLE']
const naiveTimes = ['DATE', 'TIMESTAMP', 'TIMESTAMP_S', 'TIMESTAMP_MS', 'TIMESTAMP_NS']
/** The most digits of a decimal that DuckDB reads. */
export const maxDigits = 38

/** Returns the type of DuckDB that both types are read in; undefined where no type holds the values of both. */
export function commonType(one: string, other: string): string | undefined {
  if (one === other || other === nullType) return one
  if (one === nullType) return other
  const both = (types: readonly string[]) => types.includes(one) && types.includes(other)
  if (both(texts)) return textType
  if (both(naiveTimes)) return 'TIMESTAMP'
  const [a, b] = [decimalOf(one), decimalOf(other)]
  if (a !== undefined && b !== undefined) return commonDecimal({ one, ...a }, { one: other, ...b })
  return [one, other].every((type) => approximate.includes(type) || decimalOf(type) !== undefined)
    ? 'DOUBLE'
    : undefined
}

interface Decimal {
  whole: number
  scale: number
}

/** The digits before and behind the point; undefined for a type that holds no exact numbers. */
function decimalOf(type: string): Decimal | undefined {
  if (digits[type] !== undefined) return { whole: digits[type], scale: 0 }
  const [, width, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(type) ?? []
  return width === undefined ? undefined : { whole: Number(width) - Number(scale), scale: Number(scale) }
}

function commonDecimal(a: Decimal & { one: string }, b: Decimal & { one: string }): string {
  const isWhole = (type: string) => digits[type] !== undefined
  if (isWhole(a.one) && isWhole(b.one)) {
    // The signed types hold every unsigned type of fewer digits.
    const [low, high] = a.whole < b.whole ? [a.one, b.one] : [b.one, a.one]
    if (low === 'BOOLEAN' || low.startsWith('U') === high.startsWith('U')) return high
    if (!high.startsWith('U') && a.whole !== b.whole) return high
    const signed = ['SMALLINT', 'INTEGER', 'BIGINT'].find((type) => digits[type]! > digits[high]!)
    return signed ?? `DECIMAL(${digits['UBIGINT']},0)`
  }
  const [whole, scale] = [Math.max(a.whole, b.whole), Math.max(a.scale, b.scale)]
  return whole + scale <= maxDigits ? `DECIMAL(${whole + scale},${scale})` : 'DOUBLE'
}

/** What the values of a type are, as an error message says it. */
export function nameOfType(type: string): string {
  const is = (types: readonly string[]) => types.includes(type)
  const what =
    type === 'BOOLEAN'
      ? 'truth values'
      : decimalOf(type) !== undefined || is(approximate)
        ? 'numbers'
        : is(texts)
          ? 'texts'
          : type === 'DATE'
            ? 'dates'
            : is(naiveTimes)
              ? 'times without a zone'
              : type === 'TIMESTAMP WITH TIME ZONE'
                ? 'times with a zone'
                : 'values'
  return `${what} (${type})`
}
