/** Validates a Postgres timestamp from the URL of a page, so that no other text reaches a statement. */
import { DomainError } from '../../../domain/errors.ts'

export function cursorTime(text: string): string {
  const written = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/.test(text)
  if (!written || !Number.isFinite(Date.parse(text.slice(0, 19).replace(' ', 'T') + 'Z')))
    throw new DomainError('invalid_request', 'after: not a cursor of this list')
  return text
}
