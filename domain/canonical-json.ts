/**
 * Serialises plain data to one canonical text: keys in order, absent values omitted, so that two processes compute the same digest of
 * a policy or manifest.
 */
/** Canonical JSON of plain data. Throws a TypeError for values that JSON cannot represent (NaN, Infinity, functions). */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} has no canonical JSON`)
    return JSON.stringify(value)
  }
  if (Array.isArray(value))
    return `[${value.map((each) => canonicalJson(each === undefined ? null : each)).join(',')}]`
  if (typeof value === 'object') {
    // One growing text: a list of entries would double the time of an audit verification with a million rows.
    let text = ''
    for (const key of Object.keys(value).sort()) {
      const each = (value as Record<string, unknown>)[key]
      if (each !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(each)}`
    }
    return `{${text}}`
  }
  throw new TypeError(`a ${typeof value} has no canonical JSON`)
}
