/**
 * Parses JSON that a caller sent. Nesting and the number of values are counted before parsing, because eight megabytes of brackets block
 * the process for seconds or overflow its stack. A text that says two things is refused, and one with a name that a later step would drop.
 */
import { findRepeated, maxDepth, measureJson } from '@tenure/predictors/json'
import { DomainError, quotedName } from './errors.ts'
import { withoutExcerpt } from './redact.ts'

export interface JsonLimits {
  /** Limit of the values, as `measureJson` counts them. */
  maxValues: number
  /** The error beyond it; by default `invalid_request`. */
  tooManyValues?: () => DomainError
  /** How messages name the text. */
  what?: string
  /** Changes the text before it is parsed. */
  rewrite?: (text: string) => string
  /** Refuses whole numbers beyond 2^53, because they may be a seed or an id. */
  isExact?: boolean
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
  const inexact = limits.isExact === true ? findInexact(text) : undefined
  if (inexact !== undefined) {
    const field = fieldWith(value, Number(inexact)) ?? 'a field'
    throw new DomainError(
      'invalid_request',
      `${field} is ${inexact}, which is not kept exactly: send a whole number up to ${Number.MAX_SAFE_INTEGER}, or a text`,
      { field },
    )
  }
  return value
}

/** Strings, in which digits are no number, and numbers. */
const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/** The first whole number of a valid text that a double may round, or that is printed as another one. */
function findInexact(text: string): string | undefined {
  if (!/\d{16}/.test(text)) return undefined
  for (const [token] of text.matchAll(tokens))
    if (/^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token))) return token
  return undefined
}

/** The path of a number, as in `hyperparameters.seed`. */
function fieldWith(value: unknown, wanted: number): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  for (const [name, each] of Object.entries(value)) {
    if (each === wanted) return name
    const inner = fieldWith(each, wanted)
    if (inner !== undefined) return `${name}.${inner}`
  }
  return undefined
}

/** Throws `body_not_json` for bytes that are not UTF-8, which a decoder would replace silently. */
export function decodeUtf8(bytes: Uint8Array, what = 'the body'): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new DomainError('body_not_json', `${what} is not UTF-8`)
  }
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
