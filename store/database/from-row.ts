/**
 * Reads database rows as domain objects: snake_case → camelCase, null → absent, Date → ISO 8601. A column `outer.inner` becomes a field
 * of the object `outer`, which is absent when all its columns are null.
 */
import { raw, type Sql } from 'sql-template-tag'
import type { RecordSchema } from '../../domain/schema.ts'
import type { Database } from '../postgres.ts'

/** Runs a statement and converts its rows. `T` is as in `fromRow`. */
export const rowsFrom = (database: Database) => ({
  list: async <T>(statement: Sql): Promise<T[]> =>
    (await database.query(statement)).map((row) => fromRow<T>(row)),
  /** The first row; undefined without one. */
  async find<T>(statement: Sql): Promise<T | undefined> {
    const [row] = await database.query(statement)
    return row && fromRow<T>(row)
  },
  /** The values of the only column. */
  column: async <T>(statement: Sql): Promise<T[]> =>
    (await database.query(statement)).map((row) => Object.values(row)[0] as T),
  /** The only column of the first row; undefined without a row or for null. */
  async value<T>(statement: Sql): Promise<T | undefined> {
    const [row] = await database.query(statement)
    return (row && (Object.values(row)[0] as T | null)) ?? undefined
  },
  /** Whether there is a row: found, inserted or changed. */
  any: async (statement: Sql): Promise<boolean> => (await database.query(statement)).length > 0,
})

/** The columns of a record, for a table that has others too. */
export const columnsOf = ({ properties }: RecordSchema<unknown>): Sql =>
  raw(Object.keys(properties).join(', '))

/**
 * jsonb values stay unchanged. `T` states which columns the statement selects. Other selected columns would reach callers too, so select
 * columns by name.
 */
export const fromRow = <T>(row: object): T => fromRowWithout<T>(row)

/** The same without some columns that the statement selects for other purposes. */
export function fromRowWithout<T>(row: object, ...omitted: string[]): T {
  const found: Record<string, unknown> = {}
  for (const [column, value] of Object.entries(row)) {
    if (value === null || omitted.includes(column)) continue
    const [name, inner] = pathOf(column)
    const into = inner === undefined ? found : ((found[name] ??= {}) as Record<string, unknown>)
    into[inner ?? name] = value instanceof Date ? value.toISOString() : value
  }
  return found as T
}

type Path = [name: string, inner?: string]
const paths = new Map<string, Path>()

function pathOf(column: string): Path {
  let path = paths.get(column)
  if (path === undefined) {
    const camelCase = column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    path = camelCase.split('.') as Path
    paths.set(column, path)
  }
  return path
}
