/**
 * Names statements that are sent many times a second, so that a connection parses and plans each of them once: parsing and planning take
 * three to five times the CPU of the execution. Only for statements that find rows by a key: from the sixth use on, Postgres may plan
 * without the values, which is wrong for a time range in a large table.
 */
import { createHash } from 'node:crypto'
import sql, { type RawValue, type Sql } from 'sql-template-tag'

/** Statement text → name. */
const names = new Map<string, string>()
/** A prepared statement stays on its connection, so an endlessly varying text must not be prepared. */
const maxNames = 100

/** The template tag for such a statement, instead of `sql`. */
export const prepared = (strings: readonly string[], ...values: readonly RawValue[]): Sql =>
  named(sql(strings, ...values))

/** Returns the statement with its current name. */
export function named(statement: Sql): Sql {
  const { text } = statement
  let name = names.get(text)
  if (name === undefined) {
    if (names.size >= maxNames) return statement
    name = nameOf(text)
    names.set(text, name)
  }
  return Object.assign(statement, { name })
}

/** Returns undefined for a statement that is not prepared. */
export const preparedName = (statement: Sql): string | undefined => (statement as { name?: string }).name

/** Whether a migration has changed the columns of a prepared statement, so that it must be planned again under another name. */
export const isOutdatedPlan = (error: unknown): boolean => (error as { code?: unknown }).code === '0A000'

export function renamePlan({ text }: Sql): void {
  const name = names.get(text)
  if (name !== undefined) names.set(text, nameOf(name))
}

const nameOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16)
