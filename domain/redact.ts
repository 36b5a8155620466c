/**
 * Takes secrets out of a text before it leaves the process: into a log, a workflow's history, an audit row, an answer. People
 * paste keys into reasons, and libraries put addresses with their passwords into error messages; neither is read by a person
 * before it is kept for ever.
 */

/** Each with what takes its place. */
const secrets: readonly (readonly [RegExp, string])[] = [
  // A key of this house; its id is no secret and says whose it was.
  [/\b(tnr_[0-9a-f]{12})_[0-9a-f]{8,48}/g, '$1_[redacted]'],
  // user:password@ in an address. A password may hold anything but what ends it.
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@"'\\]*):[^\s"'\\]+@/gi, '$1:[redacted]@'],
  // What stands behind it may have lost its secret already.
  [/\b(bearer|basic)(\s+)[\w.~+/=-]{8,}(\[redacted\])?/gi, '$1$2[redacted]'],
  [
    /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
    '[redacted private key]',
  ],
]

export function redacted(text: string): string {
  return secrets.reduce((now, [pattern, instead]) => now.replace(pattern, instead), text)
}
