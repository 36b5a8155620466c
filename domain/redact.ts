/**
 * Takes secrets out of a text before it leaves the process: into a log, a workflow's history, a table, an answer. People
 * paste keys into reasons, and libraries put addresses with their passwords into error messages; neither is read by a person
 * before it is kept for ever.
 *
 * Whoever asks may have written the text, a megabyte of it, so each pattern reads it once: one that began anew at every
 * character would hold the process for minutes. And the text may be JSON: none takes a quotation mark along, so it stays JSON.
 */

type Redaction = readonly [pattern: RegExp, instead: string | ((found: string) => string)]

const secrets: readonly Redaction[] = [
  // A key of this house; its id is no secret and says whose it was.
  [/(tnr_[0-9a-f]{12})_[0-9a-f]{8,}/g, '$1_[redacted]'],
  // user:password@ in an address.
  [/:\/\/[^\s"\\]+/g, withoutPassword],
  // The same, as it stands in the path or the query of another one.
  [/%3A%2F%2F[^\s"\\&]+/gi, withoutEncodedPassword],
  // Of an address, behind its question mark.
  [
    /([?&](?:password|sslpassword|(?:access_|id_|refresh_)?token|api_?key|(?:client_)?secret)=)[^\s&"'\\]+/gi,
    '$1[redacted]',
  ],
  // As SQL sets it.
  [/\b(password\s+)'[^'"\\]*'/gi, "$1'[redacted]'"],
  // A word of prose behind `basic` is no secret. What stands behind one may have lost its secret already.
  [/\b(bearer|basic)(\s+)(?=[a-z_.~+/-]*\d)[\w.~+/=-]{12,}(\[redacted\])?/gi, '$1$2[redacted]'],
  [
    /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"\\]|\\[^"])*?(-----END [A-Z ]*PRIVATE KEY-----|(?=\\?")|\\?$)/g,
    '[redacted private key]',
  ],
]

/** What none of the patterns can be without. */
const suspicious = /tnr_|:\/\/|%2F|[?&]|password|bearer|basic|PRIVATE KEY/i

/** Once more changes nothing: one secret may stand in the shadow of another. */
export function redacted(text: string): string {
  if (!suspicious.test(text)) return text
  const once = secrets.reduce((now, [pattern, instead]) => now.replace(pattern, instead as string), text)
  return once === text ? text : redacted(once)
}

/**
 * The rest of an address, from its `://` on. A password may hold anything but what ends the address, so it goes up to the last @;
 * but a number between a colon and a slash is a port.
 */
function withoutPassword(rest: string): string {
  const end = rest.lastIndexOf('@') + 1
  if (end === 0) return rest
  const before = rest.slice(0, end).replace(/^(.*?:\/\/[^:/@]*):(?!\d{1,5}[/?#]).*@$/, '$1:[redacted]@')
  return before + rest.slice(end)
}

function withoutEncodedPassword(rest: string): string {
  const end = rest.lastIndexOf('%40')
  return end < 0 ? rest : `%3A%2F%2F[redacted]${rest.slice(end)}`
}

/** Whether a text holds a whole key of this house. */
export const holdsKey = (text: string): boolean => /tnr_[0-9a-f]{12}_[0-9a-f]{8}/.test(text)

/** What a JSON parser says of a text without the piece of the text that it shows. */
export function withoutExcerpt(message: string): string {
  return message.replace(/,? (?:\.\.\.)?"[\s\S]*"(?:\.\.\.)? is not valid JSON$/, ', which is not valid JSON')
}

/** Also without these: what another system was told in confidence, it may say again in a refusal. */
export function redactedOf(text: string, secrets: readonly (string | undefined)[]): string {
  const without = (now: string, secret = '') =>
    secret.length < minSecretLength ? now : now.replaceAll(secret, '[redacted]')
  return redacted(secrets.reduce<string>(without, text))
}

/** Shorter ones are parts of words. */
const minSecretLength = 6
