/** Says what a value of each container's type becomes as each declared kind: the table "Types" of docs/bad-data.md, which tests put through snapshots. */
import { readFlag, readNumber, readTime, type DeclaredKind } from '../../../domain/values/readings.ts'
import { familyOf, postgresFamily, type Family } from '../../../domain/values/types.ts'

export interface TypeSample {
  container: 'CSV' | 'Parquet' | 'Postgres'
  type: string
  family: Family
  /** Two values, as texts that the type takes. */
  values: readonly [string, string]
}

const longIds = ['123456789012345678', '123456789012345679'] as const
const flags = ['true', 'false'] as const
const ones = ['1', '0'] as const
const codes = ['007', '7.50'] as const
const cents = ['2.00', '-0.50'] as const
const clocks = ['12:30:00', '00:00:01'] as const
const days = ['2026-01-03', '1999-12-31'] as const
const moments = ['2026-01-03 00:00:00', '2026-01-03 12:30:00.5'] as const
const zoned = ['2026-01-03 01:00:00+01', '2026-01-03 12:30:00+00'] as const
const uuids = ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'] as const

const inCsv: readonly TypeSample['values'][] = [
  ones,
  codes,
  longIds,
  flags,
  ['yes', 'no'],
  ['München', 'north'],
  days,
  moments,
  zoned,
  ['2026-01-03 00:00:00 BST', 'epoch'],
]

const inParquet: readonly (readonly [type: string, ...TypeSample['values']])[] = [
  ['BOOLEAN', ...flags],
  ['TINYINT', ...ones],
  ['SMALLINT', ...ones],
  ['INTEGER', ...ones],
  ['BIGINT', ...ones],
  ['UTINYINT', ...ones],
  ['USMALLINT', ...ones],
  ['UINTEGER', ...ones],
  ['UBIGINT', ...ones],
  ['BIGINT', ...longIds],
  ['UBIGINT', '18446744073709551615', '2'],
  ['FLOAT', '0.1', '-2.5'],
  ['DOUBLE', '0.1', '2'],
  ['DECIMAL(10,0)', ...ones],
  ['DECIMAL(12,2)', ...cents],
  ['DECIMAL(30,10)', '87.3284919275', '-0.5000000000'],
  ['DECIMAL(38,0)', ...longIds],
  ['VARCHAR', ...codes],
  ['VARCHAR', 'yes', 'no'],
  ['VARCHAR', ...zoned],
  ['BLOB', 'München', '7'],
  ['BLOB', ...ones],
  ['DATE', ...days],
  ['TIMESTAMP', ...moments],
  ['TIMESTAMP_NS', ...moments],
  ['TIMESTAMP WITH TIME ZONE', ...zoned],
  ['TIME', ...clocks],
  ['UUID', ...uuids],
  ['JSON', '{"a":1}', '[1]'],
  ['INTEGER[]', '[1, 2]', '[]'],
  ['INTERVAL', '2 days', '3 days'],
]

/** With the id of the type in pg_type.dat. */
const inPostgres: readonly (readonly [type: string, id: number, ...TypeSample['values']])[] = [
  ['smallint', 21, ...ones],
  ['integer', 23, '2', '30'],
  ['bigint', 20, ...longIds],
  ['numeric', 1700, '2', '2.50'],
  ['numeric(10,0)', 1700, '2', '0'],
  ['numeric(12,2)', 1700, ...cents],
  ['numeric(20,0)', 1700, ...longIds],
  ['numeric(50,4)', 1700, `${'9'.repeat(44)}.1000`, '1.0000'],
  ['real', 700, '0.1', '2.5'],
  ['double precision', 701, '0.1', '2'],
  ['boolean', 16, ...flags],
  ['date', 1082, ...days],
  ['timestamp', 1114, ...moments],
  ['timestamptz', 1184, ...zoned],
  ['time', 1083, ...clocks],
  ['uuid', 2950, ...uuids],
  ['text', 25, 'München', ' a '],
  ['varchar(10)', 1043, ...codes],
  ['char(10)', 1042, '4711', 'München'],
  ['char(8)', 1042, '4711', '7.5'],
  ['bytea', 17, '\\x4dc3bc6e6368656e', '\\x37'],
]

export const typeSamples: readonly TypeSample[] = [
  ...inCsv.map((values) => ({ container: 'CSV', type: 'text', family: 'text', values }) as const),
  ...inParquet.map(
    ([type, ...values]) => ({ container: 'Parquet', type, family: familyOf(type), values }) as const,
  ),
  ...inPostgres.map(
    ([type, id, ...values]) => ({ container: 'Postgres', type, family: postgresFamily(id), values }) as const,
  ),
]

/** What a value of a family is as a declared kind; a time in ISO 8601. Undefined where it is refused. */
function readingOf(family: Family, value: string, kind: DeclaredKind): number | string | undefined {
  if (family === 'duration') return undefined
  switch (kind) {
    case 'text':
      return writtenAs(family, value)
    case 'time': {
      const ms = ['text', 'date', 'moment', 'zoned'].includes(family) ? readTime(value) : undefined
      return ms === undefined ? undefined : new Date(ms).toISOString()
    }
    case 'number': {
      const number = ['date', 'moment', 'zoned', 'other'].includes(family) ? undefined : readNumber(value)
      return number !== undefined && family === 'float' ? Math.fround(number) : number
    }
    case 'flag':
      return readFlag(value)
  }
}

/** The spelling that a value of a type has as a text: a double shows that it is one, and a time with a zone stands in UTC. */
function writtenAs(family: Family, value: string): string {
  if (family === 'double') return Number.isInteger(Number(value)) ? `${value}.0` : value
  if (family !== 'zoned') return value
  const [day, clock] = new Date(readTime(value)!).toISOString().split(/[TZ]/)
  return `${day} ${clock!.replace(/\.?0*$/, '').padEnd(8, ':00')}+00`
}

/** The two values of a sample as a declared kind; undefined where one is refused. */
export function readingsOf(
  { container, family, values }: TypeSample,
  kind: DeclaredKind,
): (number | string)[] | undefined {
  // A column of Postgres that is no text keeps the digits of its bytes.
  const isHex = container === 'Postgres' && family === 'bytes'
  const read = values.map((value) =>
    isHex ? (kind === 'text' ? textOfHex(value) : undefined) : readingOf(family, value, kind),
  )
  return read.every((each) => each !== undefined) ? read : undefined
}

/** `\x37` as Postgres writes the bytes of the text 7. */
const textOfHex = (value: string): string =>
  decodeURIComponent(value.slice(2).replaceAll(/../g, (byte) => `%${byte}`))

/** The rows of the table. */
export const typeRows = (): string[][] =>
  typeSamples.map((sample) => {
    const list = (cells: readonly (string | number)[] | undefined) =>
      cells === undefined ? 'refused' : cells.map((cell) => `\`${cell}\``).join(', ')
    const { container, type, values } = sample
    return [
      container === 'CSV' ? 'CSV' : `${container} ${type}`,
      list(values),
      ...(['number', 'text', 'time'] as const).map((kind) => list(readingsOf(sample, kind))),
      list(readingsOf(sample, 'flag')?.map((flag) => (flag === 1 ? 'yes' : 'no'))),
    ]
  })
