/** Turns database rows into domain objects: snake_case → camelCase, null → absent, Date → ISO 8601. */

/**
 * Values of jsonb columns stay as they are. `T` states what the statement selects: a column that `T` does not name would reach
 * callers as well, so select the columns by name where a table holds more.
 */
export const fromRow = <T>(row: object): T => fromRowWithout<T>(row)

/** The same without some columns that the statement selects for other purposes. */
export function fromRowWithout<T>(row: object, ...omitted: string[]): T {
  const found: Record<string, unknown> = {}
  for (const [column, value] of Object.entries(row))
    if (value !== null && !omitted.includes(column))
      found[camelCase(column)] = value instanceof Date ? value.toISOString() : value
  return found as T
}

const camelNames = new Map<string, string>()

function camelCase(column: string): string {
  let name = camelNames.get(column)
  if (name === undefined) {
    name = column.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    camelNames.set(column, name)
  }
  return name
}
