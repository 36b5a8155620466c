/**
 * Lists how a value of each type of a file or of Postgres is read as each declared type, or that it is refused. Tests put every combination
 * through a snapshot; a table of docs/bad-data.md is generated from it.
 */
export type DeclaredType = 'number' | 'category' | 'time' | 'flag'

export interface TypeReading {
  container: 'CSV' | 'Parquet' | 'Postgres'
  type: string
  /** Two values, as texts that the type takes. */
  values: readonly [string, string]
  /** A declared type that is absent refuses a value, by name. */
  number?: readonly [number, number]
  /** `written`: the values as they are. */
  category?: readonly [string, string] | 'written'
  /** ISO 8601. */
  time?: readonly [string, string]
  flag?: readonly [number, number]
}

const longIds = ['123456789012345678', '123456789012345679'] as const
const ofLong = [123456789012345680, 123456789012345680] as const
const moments = ['2026-01-03 00:00:00', '2026-01-03 12:30:00.5'] as const
const momentsIso = ['2026-01-03T00:00:00.000Z', '2026-01-03T12:30:00.500Z'] as const
const days = ['2026-01-03', '1999-12-31'] as const
const daysIso = ['2026-01-03T00:00:00.000Z', '1999-12-31T00:00:00.000Z'] as const
const zoned = ['2026-01-03 01:00:00+01', '2026-01-03 12:30:00+00'] as const
const zonedTexts = ['2026-01-03 00:00:00+00', '2026-01-03 12:30:00+00'] as const
const zonedIso = ['2026-01-03T00:00:00.000Z', '2026-01-03T12:30:00.000Z'] as const
const uuids = ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'] as const

const written = 'written'
const csv = { container: 'CSV', type: 'text' } as const
const parquet = { container: 'Parquet' } as const
const postgres = { container: 'Postgres' } as const
const ones = { values: ['1', '0'], number: [1, 0], category: written, flag: [1, 0] } as const

export const typeReadings: readonly TypeReading[] = [
  { ...csv, ...ones },
  { ...csv, values: ['007', '7.50'], number: [7, 7.5], category: written },
  { ...csv, values: longIds, number: ofLong, category: written },
  { ...csv, values: ['true', 'false'], number: [1, 0], category: written, flag: [1, 0] },
  { ...csv, values: ['yes', 'no'], category: written, flag: [1, 0] },
  { ...csv, values: ['München', 'north'], category: written },
  { ...csv, values: days, category: written, time: daysIso },
  { ...csv, values: moments, category: written, time: momentsIso },
  { ...csv, values: zoned, category: written, time: zonedIso },
  { ...csv, values: ['2026-01-03 00:00:00 BST', 'epoch'], category: written },

  { ...parquet, type: 'BOOLEAN', values: ['true', 'false'], number: [1, 0], category: written, flag: [1, 0] },
  ...['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT'].map(
    (type): TypeReading => ({ ...parquet, type, ...ones }),
  ),
  { ...parquet, type: 'BIGINT', values: longIds, number: ofLong, category: written },
  {
    ...parquet,
    type: 'UBIGINT',
    values: ['18446744073709551615', '2'],
    number: [18446744073709552000, 2],
    category: written,
  },
  {
    ...parquet,
    type: 'FLOAT',
    values: ['0.1', '-2.5'],
    number: [0.10000000149011612, -2.5],
    category: written,
  },
  { ...parquet, type: 'DOUBLE', values: ['0.1', '2'], number: [0.1, 2], category: ['0.1', '2.0'] },
  { ...parquet, type: 'DECIMAL(10,0)', ...ones },
  { ...parquet, type: 'DECIMAL(12,2)', values: ['2.00', '-0.50'], number: [2, -0.5], category: written },
  { ...parquet, type: 'DECIMAL(38,0)', values: longIds, number: ofLong, category: written },
  { ...parquet, type: 'VARCHAR', values: ['007', '7.50'], number: [7, 7.5], category: written },
  { ...parquet, type: 'VARCHAR', values: ['yes', 'no'], category: written, flag: [1, 0] },
  { ...parquet, type: 'VARCHAR', values: zoned, category: written, time: zonedIso },
  { ...parquet, type: 'BLOB', values: ['München', '7'], category: written },
  { ...parquet, type: 'BLOB', values: ['1', '0'], number: [1, 0], category: written, flag: [1, 0] },
  { ...parquet, type: 'DATE', values: days, category: written, time: daysIso },
  { ...parquet, type: 'TIMESTAMP', values: moments, category: written, time: momentsIso },
  { ...parquet, type: 'TIMESTAMP_NS', values: moments, category: written, time: momentsIso },
  { ...parquet, type: 'TIMESTAMP WITH TIME ZONE', values: zoned, category: zonedTexts, time: zonedIso },
  { ...parquet, type: 'TIME', values: ['12:30:00', '00:00:01'], category: written },
  { ...parquet, type: 'UUID', values: uuids, category: written },
  { ...parquet, type: 'JSON', values: ['{"a":1}', '[1]'], category: written },
  { ...parquet, type: 'INTEGER[]', values: ['[1, 2]', '[]'], category: written },
  { ...parquet, type: 'INTERVAL', values: ['2 days', '3 days'] },

  { ...postgres, type: 'smallint', ...ones },
  { ...postgres, type: 'integer', values: ['2', '30'], number: [2, 30], category: written },
  { ...postgres, type: 'bigint', values: longIds, number: ofLong, category: written },
  { ...postgres, type: 'numeric', values: ['2', '2.50'], number: [2, 2.5], category: written },
  { ...postgres, type: 'numeric(10,0)', values: ['2', '0'], number: [2, 0], category: written },
  { ...postgres, type: 'numeric(12,2)', values: ['2.00', '-0.50'], number: [2, -0.5], category: written },
  { ...postgres, type: 'numeric(20,0)', values: longIds, number: ofLong, category: written },
  {
    ...postgres,
    type: 'numeric(50,4)',
    values: [`${'9'.repeat(44)}.1000`, '1.0000'],
    number: [1e44, 1],
    category: written,
  },
  {
    ...postgres,
    type: 'real',
    values: ['0.1', '2.5'],
    number: [0.10000000149011612, 2.5],
    category: written,
  },
  { ...postgres, type: 'double precision', values: ['0.1', '2'], number: [0.1, 2], category: ['0.1', '2.0'] },
  {
    ...postgres,
    type: 'boolean',
    values: ['true', 'false'],
    number: [1, 0],
    category: written,
    flag: [1, 0],
  },
  { ...postgres, type: 'date', values: days, category: written, time: daysIso },
  { ...postgres, type: 'timestamp', values: moments, category: written, time: momentsIso },
  { ...postgres, type: 'timestamptz', values: zoned, category: zonedTexts, time: zonedIso },
  { ...postgres, type: 'time', values: ['12:30:00', '00:00:01'], category: written },
  { ...postgres, type: 'uuid', values: uuids, category: written },
  { ...postgres, type: 'text', values: ['München', ' a '], category: written },
  { ...postgres, type: 'varchar(10)', values: ['007', '7.50'], number: [7, 7.5], category: written },
  { ...postgres, type: 'char(10)', values: ['4711', 'München'], category: written },
  { ...postgres, type: 'char(8)', values: ['4711', '7.5'], number: [4711, 7.5], category: written },
  {
    ...postgres,
    type: 'bytea',
    values: ['\\x4dc3bc6e6368656e', '\\x37'],
    category: ['München', '7'],
  },
]

export const textsOf = ({
  values,
  category,
}: Pick<TypeReading, 'values' | 'category'>): readonly [string, string] | undefined =>
  category === written ? values : category

/** The rows of a table for a page. */
export const readingRows = (): string[][] =>
  typeReadings.map((each) => {
    const list = (cells: readonly (string | number)[] | undefined) =>
      cells === undefined ? 'refused' : cells.map((cell) => `\`${cell}\``).join(', ')
    const type = each.container === 'CSV' ? 'CSV' : `${each.container} ${each.type}`
    return [
      type,
      list(each.values),
      list(each.number),
      list(textsOf(each)),
      list(each.time),
      list(each.flag?.map((flag) => (flag === 1 ? 'yes' : 'no'))),
    ]
  })
