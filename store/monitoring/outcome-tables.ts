/**
 * Reads outcomes from a table or view of this database. The names come from outside, so they are looked up first and quoted in every
 * statement.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { foreignReader } from '../database/cursor.ts'
import type { Store } from '../postgres.ts'

export interface OutcomeTable {
  schema: string
  table: string
  /** Either the ids of predictions, or the references of their requests and perhaps the instances. */
  columns: {
    predictionId?: string
    reference?: string
    instance?: string | undefined
    value: string
    observedAt: string
  }
  /** Only outcomes observed from this time on. */
  since?: string
  /** How many rows are read, with all that have the time of the last one. */
  limit: number
}

export interface TableOutcome {
  /** The id or the reference. */
  key: string | null
  instance: number | null
  value: string | number | boolean | null
  /** ISO 8601, or the original text. */
  observedAt: string | null
}

/** SQLSTATE. */
const insufficientPrivilege = '42501'

/** The allowed types of each column, by the names of pg_type. */
const kinds = {
  predictionId: ['uuid', 'text', 'varchar', 'bpchar'],
  reference: ['text', 'varchar', 'bpchar', 'uuid', 'int2', 'int4', 'int8', 'numeric'],
  instance: ['int2', 'int4', 'int8'],
  value: ['bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'text', 'varchar', 'bpchar'],
  observedAt: ['timestamptz', 'timestamp', 'date', 'text', 'varchar'],
}

/**
 * Streams the outcomes, the oldest first. Returns the time from which the next call continues; undefined when there are no more rows. Throws
 * `invalid_request` for a missing table or column, or one of another type.
 */
export async function readOutcomeTable(
  store: Store,
  asked: OutcomeTable,
  take: (outcomes: TableOutcome[]) => Promise<void>,
): Promise<string | undefined> {
  const types = await typesOf(store, asked)
  const { predictionId, reference, instance, value, observedAt } = asked.columns
  const key = predictionId ?? reference!
  const name = pg.escapeIdentifier
  const time = timeExpression(types.observedAt!, name(observedAt))
  const since =
    asked.since === undefined
      ? ''
      : ` where ${time}::timestamptz >= ${pg.escapeLiteral(asked.since)}::timestamptz`
  // Rows of one time are read together, so that the next call begins after them.
  const query = `select ${name(key)}::text, ${name(value)}, ${name(observedAt)}, ${instance === undefined ? 'null' : name(instance)},
      case when isfinite(${time}) then (${time} + interval '1 microsecond')::timestamptz end
    from ${name(asked.schema)}.${name(asked.table)}${since}
    order by ${time} fetch first ${asked.limit} rows with ties`
  let read = 0
  let next: string | undefined
  await foreignReader(store)(query, async ({ rows }) => {
    read += rows.length
    const last = rows.findLast((row) => row[4] !== null)?.[4]
    if (last != null) next = timeOf('timestamptz', last)
    await take(
      rows.map(([name = null, text = null, at = null, index = null]) => ({
        key: name,
        instance: index === null ? null : Number(index),
        value: valueOf(types.value!, text),
        observedAt: at === null ? null : timeOf(types.observedAt!, at),
      })),
    )
  }).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== insufficientPrivilege) throw error
    throw new DomainError('invalid_request', `table: ${(error as Error).message}`)
  })
  return read < asked.limit ? undefined : next
}

/** The texts that outcomes may have as their time. The cast of another text would end the query, and with it the copy of all rows. */
const timePattern =
  '^(?!0000)(\\d{4}-((0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)' +
  '|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)' +
  'T([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d(\\.\\d+)?)?(Z|[+-](0\\d|1[0-5]):[0-5]\\d)$'

/** A text that is no time comes last, and is refused as a row. Other columns are not cast, so that their index gives the order. */
const timeExpression = (type: string, column: string): string =>
  /^(text|varchar)$/.test(type)
    ? `(case when ${column} ~ ${pg.escapeLiteral(timePattern)} then ${column}::timestamptz end)`
    : column

async function typesOf(
  store: Store,
  { schema, table, columns }: OutcomeTable,
): Promise<Partial<Record<keyof OutcomeTable['columns'], string>>> {
  const rows = await store.query<{ name: string; type: string }>(sql`
    select attname as name, typname as type from pg_attribute
    join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    join pg_type on pg_type.oid = atttypid
    where nspname = ${schema} and relname = ${table} and relkind in ('r', 'p', 'v', 'm', 'f')
      and attnum > 0 and not attisdropped`)
  const place = `${JSON.stringify(schema)}.${JSON.stringify(table)}`
  if (rows.length === 0)
    throw new DomainError('invalid_request', `table: there is no table or view ${place} in this database`)
  const found = new Map(rows.map(({ name, type }) => [name, type]))
  const typeOf = (what: keyof OutcomeTable['columns'], column: string): string => {
    const type = found.get(column)
    if (type === undefined)
      throw new DomainError(
        'invalid_request',
        `columns: ${place} has no column ${JSON.stringify(column)}; it has ${[...found.keys()].slice(0, 50).join(', ')}`,
      )
    if (!kinds[what].includes(type))
      throw new DomainError(
        'invalid_request',
        `columns: ${JSON.stringify(column)} is of the type ${type}, not of ${kinds[what].join(', ')}`,
      )
    return type
  }
  const names = Object.keys(kinds) as (keyof typeof kinds)[]
  return Object.fromEntries(
    names.flatMap((what) => {
      const column = columns[what]
      return column === undefined ? [] : [[what, typeOf(what, column)]]
    }),
  )
}

function valueOf(type: string, text: string | null): TableOutcome['value'] {
  if (text === null) return null
  if (type === 'bool') return text === 't'
  // As a FLOAT of Parquet.
  if (type === 'float4') return Math.fround(Number(text))
  return /^(int|float|numeric)/.test(type) ? Number(text) : text
}

/** As Postgres writes it in UTC. A time without a zone is in UTC. */
function timeOf(type: string, text: string): string {
  if (type === 'date') return `${text}T00:00:00Z`
  if (type !== 'timestamp' && type !== 'timestamptz') return text
  return `${text.replace(' ', 'T').replace(/[+-]\d\d(:\d\d)?$/, '')}Z`
}
