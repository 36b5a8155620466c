/**
 * Where a list goes on: the key of the last row that was shown, as an opaque text. It names the list's order and nothing of
 * its filters; a page number would skip rows, or show them twice, as soon as a row is added before it.
 */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'

export const cursorText = z.string().max(1_000)

export type CursorKey = readonly (string | number)[]

/** `order` is kept beside the key, so that a cursor of another order is refused. */
export function encodeCursor(order: string, key: CursorKey): string {
  return Buffer.from(JSON.stringify([order, ...key])).toString('base64url')
}

/** Throws `invalid_request` for a text that is no cursor, or one of another order. */
export function decodeCursor<Key extends CursorKey>(text: string, order: string, shape: z.ZodType<Key>): Key {
  const found = parsed(text)
  if (found?.[0] !== order)
    throw invalid(found === undefined ? 'is no cursor' : `is a cursor of another order than ${order}`)
  const key = shape.safeParse(found.slice(1))
  if (!key.success) throw invalid('is no cursor')
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
    `cursor: ${why}; send next_cursor of the page before, with the same order`,
  )
