/**
 * Shows the control characters of a text as escapes, because a terminal obeys them: a reason could move the cursor, hide lines or change
 * what is copied. Line feeds and tabs stay. Marks that reverse the direction of writing are escaped too.
 */
// oxlint-disable-next-line no-control-regex -- matches exactly the characters that a terminal obeys
const obeyed = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** As JSON escapes them, so that a JSON document keeps its meaning. */
export function visibleText(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(obeyed, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Cuts a text to `most` UTF-16 units; where something is left out, "…" is the last of them. A pair of units stays whole. */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text
  const end = most - 1
  return `${text.slice(0, text.codePointAt(end - 1)! > 0xffff ? end - 1 : end)}…`
}
