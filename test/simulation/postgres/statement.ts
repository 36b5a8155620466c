/**
 * Identifies statements of store/ by the fingerprint of their text. An unknown statement stops the simulation until its meaning is defined
 * here and the conformance test against the real server passes.
 */
import { hash32 } from '../../../domain/serving/route.ts'
import type { Meaning, Query, Row, Statement } from '@tenure/simulator'

/** Fingerprint → the function of store/ that sends the statement, and its implementation. */
export type Statements = Readonly<Record<string, readonly [name: string, meaning: Meaning]>>

export const fingerprint = (text: string): string =>
  hash32(text.replace(/\s+/g, ' ').trim()).toString(16).padStart(8, '0')

/** Returns jsonb as the driver does. */
export const parse = <T = Row>(text: unknown): T => JSON.parse(text as string) as T

export const ms = (value: unknown): number => value as number

/** Returns timestamptz as the driver does, in milliseconds. */
export const date = (value: unknown): Date | null =>
  value === null || value === undefined ? null : new Date(Math.floor(value as number))

/** Inserts a row unless its key exists. */
export function insertOnce(query: Query, table: string, key: string, row: Row): boolean {
  query.lock(table, key)
  if (query.find(table, key) !== undefined) return false
  query.put(table, key, row)
  return true
}

/** Throws unless the row exists that a foreign key requires. */
export function demand(query: Query, table: string, key: unknown): void {
  if (query.find(table, key as string) === undefined)
    throw Object.assign(new Error(`violates a foreign key: ${table} has no ${String(key)}`), {
      code: '23503',
    })
}

export function dictionary(
  ...all: Statements[]
): (statement: Pick<Statement, 'text'>) => { name: string; meaning: Meaning } {
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
