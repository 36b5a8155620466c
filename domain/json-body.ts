/**
 * Parses JSON that a caller sent. Nesting and the number of values are counted before parsing, because eight megabytes of brackets block
 * the process for seconds or overflow its stack. A text that says two things is refused, and one with a name that a later step would drop.
 */
import { DomainError, quotedName } from './errors.ts'
import { withoutExcerpt } from './redact.ts'

/** Maximum levels of nesting. */
export const maxDepth = 64

export interface JsonLimits {
  /** Limit of the values, as `measureJson` counts them. */
  maxValues: number
  /** The error beyond it; by default `invalid_request`. */
  tooManyValues?: () => DomainError
  /** How messages name the text. */
  what?: string
  /** Changes the text before it is parsed. */
  rewrite?: (text: string) => string
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Throws `body_not_json`, or `invalid_request` for what is nested too deep, has too many values, a key twice in one object, or a key that
 * `isDropped`.
 */
export function parseJsonBody(bytes: Uint8Array, limits: JsonLimits): unknown {
  const { maxValues, what = 'the body', rewrite = (text) => text } = limits
  const { excess, names } = measureJson(bytes, maxValues)
  if (excess === 'depth')
    throw new DomainError('invalid_request', `${what} is nested more than ${maxDepth} levels deep`)
  if (excess === 'values')
    throw (
      limits.tooManyValues?.() ??
      new DomainError('invalid_request', `${what} has more than ${maxValues} values`, { limit: maxValues })
    )
  const text = decodeUtf8(bytes, what)
  if (text.startsWith('\uFEFF'))
    throw new DomainError('body_not_json', `${what} begins with a byte order mark; send UTF-8 without one`)
  let value: unknown
  try {
    value = JSON.parse(rewrite(text))
  } catch (error) {
    const why = withoutExcerpt((error as Error).message)
    throw new DomainError('body_not_json', `${what} does not parse: ${why}`)
  }
  const repeated = countNames(value, what) === names ? undefined : findRepeated(text)
  if (repeated !== undefined) throw repeatedName(what, repeated)
  return value
}

/** Throws `body_not_json` for bytes that are not UTF-8, which a decoder would replace silently. */
export function decodeUtf8(bytes: Uint8Array, what = 'the body'): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new DomainError('body_not_json', `${what} is not UTF-8`)
  }
}

export type Excess = 'depth' | 'values'

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openList = 0x5b
const backslash = 0x5c
const closeList = 0x5d
const open = 0x7b
const close = 0x7d

/**
 * What exceeds its limit, absent when nothing does, and the number of names of fields. Values are counted by commas and brackets outside
 * of texts.
 */
export function measureJson(bytes: Uint8Array, maxValues = Infinity): { excess?: Excess; names: number } {
  let depth = 0
  let values = 0
  let names = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === quote) inText = !inText
    else if (inText) {
      // An escaped quote does not end the text.
      if (byte === backslash) i++
    } else if (byte === openList || byte === open) {
      if (++depth > maxDepth) return { excess: 'depth', names }
      values++
    } else if (byte === closeList || byte === close) depth--
    else if (byte === comma) values++
    else if (byte === colon) names++
    if (values > maxValues) return { excess: 'values', names }
  }
  return { names }
}

/** A copy of an object loses a field of this name, because its assignment sets the prototype instead. */
export const isDropped = (name: string): boolean => name === '__proto__'

/** The fields of all objects. A text has more names than its value when one of them is repeated. Throws for a name that `isDropped`. */
function countNames(value: unknown, what: string): number {
  if (typeof value !== 'object' || value === null) return 0
  let names = 0
  if (Array.isArray(value)) for (const each of value) names += countNames(each, what)
  else
    for (const name in value) {
      if (isDropped(name)) throw dropped(what, name)
      names += 1 + countNames((value as Record<string, unknown>)[name], what)
    }
  return names
}

export const dropped = (what: string, name: string): DomainError =>
  new DomainError('invalid_request', `${what} has the key ${quotedName(name)}, which no field can have`)

export const repeatedName = (what: string, name: string): DomainError =>
  new DomainError('invalid_request', `${what} has the key ${quotedName(name)} twice in one object`)

/** The first key that stands twice in one object of a valid text. */
export function findRepeated(text: string): string | undefined {
  const objects: Set<string>[] = []
  for (let i = 0; i < text.length; i++) {
    const sign = text[i]
    if (sign === '{') objects.push(new Set())
    else if (sign === '}') objects.pop()
    if (sign !== '"') continue
    const start = i
    for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++
    let next = i + 1
    while (/\s/.test(text[next] ?? '')) next++
    if (text[next] !== ':') continue
    const name = JSON.parse(text.slice(start, i + 1)) as string
    const names = objects.at(-1)
    if (names?.has(name)) return name
    names?.add(name)
  }
  return undefined
}
