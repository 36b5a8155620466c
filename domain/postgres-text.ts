/**
 * Whether Postgres can keep every text of a value. It refuses NUL and halves of surrogate pairs, and an activity that tries
 * to write one is tried again for ever: one such text in a request would hold its model's only workflow id for good.
 */

/** As JSON escapes them; an even number of backslashes before is text that only looks alike. */
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

export const isStorable = (value: unknown): boolean => !unstorable.test(JSON.stringify(value) ?? '')

const maxShownLength = 100
// oxlint-disable-next-line no-control-regex -- what cannot be kept or seen is what it is about
const invisible = /[\u0000-\u001F\u007F]|\p{Surrogate}/gu

/** A value of the data as people and Postgres can read it: cut where it is long, with signs in place of what cannot be seen. */
export function shown(value: unknown): string {
  const text = String(value)
  const cut =
    text.length > maxShownLength ? `${text.slice(0, maxShownLength)}… (${text.length} characters)` : text
  return cut.replace(invisible, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
