/**
 * Removes secrets from a text before it leaves the process, into logs, workflow histories, tables and responses.
 *
 * A caller may control the text, so each pattern reads it once, in linear time. The text may be JSON, so no pattern matches a
 * quotation mark.
 */
type Redaction = readonly [pattern: RegExp, instead: string | ((found: string) => string)]

const secrets: readonly Redaction[] = [
  // An API key; its id is not secret.
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
  // Prose after `basic` is not a secret. A redaction may already follow.
  [/\b(bearer|basic)(\s+)(?=[a-z_.~+/-]*\d)[\w.~+/=-]{12,}(\[redacted\])?/gi, '$1$2[redacted]'],
  [
    /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"\\]|\\[^"])*?(-----END [A-Z ]*PRIVATE KEY-----|(?=\\?")|\\?$)/g,
    '[redacted private key]',
  ],
]

/** Every secret contains one of these. */
const suspicious = /tnr_|:\/\/|%2F|[?&]|password|bearer|basic|PRIVATE KEY/i

/** The text without secrets. Repeated until nothing changes, because one secret may hide another. */
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

/** Whether a text contains a complete API key. */
export const holdsKey = (text: string): boolean => /tnr_[0-9a-f]{12}_[0-9a-f]{8}/.test(text)

/** The message of a JSON parser without its excerpt of the text. */
export function withoutExcerpt(message: string): string {
  return message.replace(/,? (?:\.\.\.)?"[\s\S]*"(?:\.\.\.)? is not valid JSON$/, ', which is not valid JSON')
}

/** Also removes the given secrets, which the error message of another system may repeat. */
export function redactedOf(text: string, secrets: readonly (string | undefined)[]): string {
  const without = (now: string, secret = '') =>
    secret.length < minSecretLength ? now : now.replaceAll(secret, '[redacted]')
  return redacted(secrets.reduce<string>(without, text))
}

/** Shorter secrets may be parts of words. */
const minSecretLength = 6
