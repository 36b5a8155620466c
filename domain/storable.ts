/**
 * Whether Postgres can keep every text of a value. It refuses NUL and halves of surrogate pairs, and an activity that tries
 * to write one is tried again for ever: one such text in a request would hold its model's only workflow id for good.
 */

/** As JSON escapes them; an even number of backslashes before is text that only looks alike. */
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/

export const isStorable = (value: unknown): boolean => !unstorable.test(JSON.stringify(value) ?? '')
