/**
 * Lists the types of the containers that bring values: those of DuckDB, which Parquet files have too, and those of Postgres. Each belongs to a
 * family, which says as what its values are read.
 */
/** `other`: lists, structures and whatever only a category can hold. `duration`: refused, because no file keeps its unit. */
export type Family =
  | 'truth'
  | 'whole'
  | 'decimal'
  | 'float'
  | 'double'
  | 'text'
  | 'bytes'
  | 'date'
  | 'moment'
  | 'zoned'
  | 'other'
  | 'duration'

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

const families: Readonly<Record<string, Family>> = {
  ...Object.fromEntries(Object.keys(digits).map((type) => [type, 'whole' as const])),
  BOOLEAN: 'truth',
  HUGEINT: 'whole',
  UHUGEINT: 'whole',
  FLOAT: 'float',
  DOUBLE: 'double',
  [textType]: 'text',
  JSON: 'text',
  BLOB: 'bytes',
  DATE: 'date',
  TIMESTAMP: 'moment',
  TIMESTAMP_S: 'moment',
  TIMESTAMP_MS: 'moment',
  TIMESTAMP_NS: 'moment',
  'TIMESTAMP WITH TIME ZONE': 'zoned',
  INTERVAL: 'duration',
}

/** The family of a type of DuckDB. */
export const familyOf = (type: string): Family =>
  families[type] ?? (type.startsWith('DECIMAL') ? 'decimal' : 'other')

/** The DuckDB types of numbers, as a pattern of both databases. */
export const numberTypes = '^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$'
/** The decimals whose digits a double may not hold. */
export const wideDecimal = String.raw`^DECIMAL\((1[6-9]|[23]\d),`

const naiveTimes: readonly Family[] = ['date', 'moment']
/** The most digits of a decimal that DuckDB reads. */
export const maxDigits = 38

/** Returns the type of DuckDB that both types are read in; undefined where no type holds the values of both. */
export function commonType(one: string, other: string): string | undefined {
  if (one === other || other === nullType) return one
  if (one === nullType) return other
  const both = (...families: readonly Family[]) =>
    [one, other].every((type) => families.includes(familyOf(type)))
  if (both('text')) return textType
  if (both(...naiveTimes)) return 'TIMESTAMP'
  const [a, b] = [decimalOf(one), decimalOf(other)]
  if (a !== undefined && b !== undefined) return commonDecimal({ one, ...a }, { one: other, ...b })
  return both('truth', 'whole', 'decimal', 'float', 'double') ? 'DOUBLE' : undefined
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

const familyNames: Readonly<Record<Family, string>> = {
  truth: 'truth values',
  whole: 'numbers',
  decimal: 'numbers',
  float: 'numbers',
  double: 'numbers',
  text: 'texts',
  bytes: 'bytes',
  date: 'dates',
  moment: 'times without a zone',
  zoned: 'times with a zone',
  other: 'values',
  duration: 'durations',
}

/** What the values of a type are, as an error message says it. */
export const nameOfType = (type: string): string => `${familyNames[familyOf(type)]} (${type})`

/** The types of Postgres (ids of pg_type.dat) that are no texts, and the type of DuckDB that holds their values. */
const postgresTypes: Readonly<Record<number, { family: Family; as: string }>> = {
  16: { family: 'truth', as: 'boolean' },
  17: { family: 'bytes', as: 'bytea' },
  20: { family: 'whole', as: 'bigint' },
  21: { family: 'whole', as: 'bigint' },
  23: { family: 'whole', as: 'bigint' },
  // Widened by whatever reads it as a double, as a FLOAT of Parquet is. Its text stays 0.1.
  700: { family: 'float', as: 'float' },
  701: { family: 'double', as: 'double' },
  1700: { family: 'decimal', as: 'double' },
  1082: { family: 'date', as: 'date' },
  1114: { family: 'moment', as: 'timestamp' },
  1184: { family: 'zoned', as: 'timestamptz' },
}

/** The family of a type of Postgres. */
export const postgresFamily = (type: number): Family => postgresTypes[type]?.family ?? 'text'

export interface PostgresColumn {
  name: string
  type: number
  modifier: number
}

/**
 * The type of DuckDB that reads the text of Postgres; undefined where the text is kept. As a text, a value has the spelling that a file would
 * have: a double would merge two long numbers, and a timestamp would give a date another text.
 */
export function typeOfColumn({ type }: PostgresColumn, isText: boolean): string | undefined {
  const { family, as } = postgresTypes[type] ?? { family: 'text' }
  if (isText) return family === 'decimal' ? undefined : as
  if (family === 'bytes') return undefined
  return ['date', 'moment', 'zoned'].includes(family) ? 'timestamp' : as
}

/** The decimal type of a numeric with this type modifier; whole numbers where the column declares no digits. Parquet has no wider ones. */
export function decimalOfColumn({ modifier }: PostgresColumn): string {
  const precision = ((modifier - 4) >> 16) & 0xffff
  const scale = (modifier - 4) & 0x7ff
  return modifier >= 4 && precision <= maxDigits && scale <= precision
    ? `decimal(${precision}, ${scale})`
    : `decimal(${maxDigits}, 0)`
}
