/**
 * Checks whether Postgres can store all text of a value. It refuses NUL and incomplete surrogate pairs, and an activity that writes
 * one would be retried forever.
 */
import { redacted } from './redact.ts'

/** As JSON escapes them; an even number of backslashes before is text that only looks alike. */
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

export const isStorable = (value: unknown): boolean => !unstorable.test(JSON.stringify(value) ?? '')

const maxShownLength = 100
// oxlint-disable-next-line no-control-regex -- matches exactly the characters that cannot be stored or shown
const invisible = /[\u0000-\u001F\u007F]|\p{Surrogate}/gu

/** A value as storable, readable text: truncated, with escapes for invisible characters. */
export function shown(value: unknown, { maxLength = maxShownLength } = {}): string {
  // Redacted before it is cut: of a secret that is cut, no pattern knows the rest.
  const text = redacted(String(value))
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}… (${text.length} characters)` : text
  return cut.replace(invisible, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
