/** Encodes the key of the last row of a page as an opaque cursor. A page number would skip or repeat rows when a row is inserted. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'

export const cursorText = z
  .string()
  .max(1_000)
  .meta({ pattern: '^[A-Za-z0-9_-]*$', description: '`next` of the page before.' })

/** The key of a row that is sorted by time: the time as Postgres writes it, and the name of the row. */
export const timeKey = z.tuple([
  z.string().regex(/^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-][\d:]+$/),
  z.string(),
])

export type CursorKey = readonly (string | number)[]

/** Encodes a cursor. It contains `order`, so that a cursor of another order is rejected. */
export function encodeCursor(order: string, key: CursorKey): string {
  return Buffer.from(JSON.stringify([order, ...key])).toString('base64url')
}

/** Decodes a cursor. Throws `invalid_request` for an invalid cursor or a cursor of another order. */
export function decodeCursor<Key extends CursorKey>(text: string, order: string, shape: z.ZodType<Key>): Key {
  const found = parsed(text)
  if (found?.[0] !== order)
    throw invalid(found === undefined ? 'is not a cursor' : `belongs to another order than ${order}`)
  const key = shape.safeParse(found.slice(1))
  if (!key.success) throw invalid('is not a cursor')
  return key.data
}

function parsed(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    return Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

const invalid = (why: string): DomainError =>
  new DomainError(
    'invalid_request',
    `cursor: ${why}; send next_cursor of the previous page, with the same order`,
  )
