/**
 * One text for one value: object keys in order, nothing absent. Two processes that digest the same policy or
 * manifest must arrive at the same bytes, and `JSON.stringify` alone keeps the order in which keys were written.
 */

/** Canonical JSON of plain data. Throws on what JSON cannot say (NaN, Infinity, functions), which a digest would hide. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no canonical JSON`)
    return JSON.stringify(value)
  }
  if (Array.isArray(value))
    return `[${value.map((each) => canonicalJson(each === undefined ? null : each)).join(',')}]`
  if (typeof value === 'object') {
    // One text grown in a loop: verifying the audit does this a million times over, and lists of entries cost it twice as much.
    let text = ''
    for (const key of Object.keys(value).sort()) {
      const each = (value as Record<string, unknown>)[key]
      if (each !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(each)}`
    }
    return `{${text}}`
  }
  throw new TypeError(`a ${typeof value} has no canonical JSON`)
}
