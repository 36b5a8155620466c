/** Parses the bytes of HTTP responses from a raw connection. */

/** Removes the parts that differ between two responses to the same request. */
export const timeless = (text: string): string =>
  text
    .replaceAll(/Date: [^\r]+/g, 'Date: then')
    .replaceAll(/(x-request-id: |"request_id":")[0-9a-f-]{36}/g, '$1id')

/** Replaces a problem document by the response that Node sends, which has no body. */
export const withoutProblem = (text: string): string =>
  text.replaceAll(
    /content-type: application\/problem\+json\r\n(?:.+\r\n)+\r\n\{.*\}$/g,
    'Connection: close\r\n\r\n',
  )

/** Returns whether this many responses are complete. */
export function isWhole(text: string, answers: number): boolean {
  let rest = text
  for (let count = 0; count < answers; count++) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return false
    const bytes = Number(/content-length: (\d+)/i.exec(rest.slice(0, end))?.[1] ?? 0)
    if (rest.length < end + 4 + bytes) return false
    rest = rest.slice(end + 4 + bytes)
  }
  return true
}
