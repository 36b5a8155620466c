/**
 * Identifies statements of store/ by the fingerprint of their text. A changed statement is not guessed at: it stops the simulation until
 * its meaning is stated here again and the conformance test against the real server passes.
 */
import type { Sql } from 'sql-template-tag'
import { hash32 } from '../../../domain/serving/route.ts'
import type { Meaning, Query, Row } from './database.ts'

/** By the fingerprint of its text: the function of store/ that sends it, and what it does. */
export type Statements = Readonly<Record<string, readonly [name: string, meaning: Meaning]>>

export const fingerprint = (text: string): string =>
  hash32(text.replace(/\s+/g, ' ').trim()).toString(16).padStart(8, '0')

/** jsonb as the driver gives it back. */
export const parse = <T = Row>(text: unknown): T => JSON.parse(text as string) as T

export const ms = (value: unknown): number => value as number

/** timestamptz as the driver gives it back, to the millisecond. */
export const date = (value: unknown): Date | null =>
  value === null || value === undefined ? null : new Date(Math.floor(value as number))

/** Inserts a row unless its key is taken. */
export function insertOnce(query: Query, table: string, key: string, row: Row): boolean {
  query.lock(table, key)
  if (query.find(table, key) !== undefined) return false
  query.put(table, key, row)
  return true
}

/** A row that must be there, as a foreign key demands. */
export function demand(query: Query, table: string, key: unknown): void {
  if (query.find(table, key as string) === undefined)
    throw Object.assign(new Error(`violates a foreign key: ${table} has no ${String(key)}`), {
      code: '23503',
    })
}

export function dictionary(...all: Statements[]): (statement: Sql) => { name: string; meaning: Meaning } {
  const byText = new Map<string, { name: string; meaning: Meaning }>()
  const known: Statements = Object.assign({}, ...all) as Statements
  return (statement) => {
    const { text } = statement
    const found = byText.get(text)
    if (found) return found
    const entry = known[fingerprint(text)]
    if (entry === undefined)
      throw new Error(
        `no meaning is known for the statement ${fingerprint(text)}; tell it in test/simulation/postgres/statements-*.ts: ${text.replace(/\s+/g, ' ').trim()}`,
      )
    const [name, meaning] = entry
    byText.set(text, { name, meaning })
    return { name, meaning }
  }
}
