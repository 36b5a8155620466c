/**
 * Reads the JSON of a request in one pass over its bytes. Only a body that a reader refuses is parsed with JSON.parse, because broken JSON
 * is reported first, with the sentence of `parseJsonBody`.
 */
import { isUtf8 } from 'node:buffer'
import { DomainError, isError } from '../../../domain/errors.ts'
import { maxDepth } from '@tenure/predictors/json'
import { isDropped, parseJsonBody } from '../../../domain/json-body.ts'

/** The bytes up to which a refused body is parsed once more for the most exact sentence. */
const maxParsedAgain = 65_536

/** The length of the array of doubles, which grows with the requests; a longer one than the second is not kept for the next body. */
const firstDoubles = 4_096
const maxKeptDoubles = 1_048_576

/** The body that is being read and the position in it. One object, because readers finish a body before they begin another one. */
export const json = {
  bytes: Buffer.alloc(0) as Buffer,
  at: 0,
  depth: 0,
  valuesLeft: 0,
  /** The doubles of the lists that were read. */
  doubles: new Float64Array(firstDoubles) as Float64Array,
  doubleCount: 0,
}

export const sign = {
  quote: 0x22,
  comma: 0x2c,
  minus: 0x2d,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  openList: 0x5b,
  backslash: 0x5c,
  closeList: 0x5d,
  open: 0x7b,
  close: 0x7d,
} as const

/** Thrown where the JSON is broken or exceeds its limits; the caller gets the error of `parseJsonBody`. */
const broken = new Error('a body was not read although JSON.parse accepts it')

export interface BodySize {
  maxRows: number
  /** The maximum number of values of a row. */
  width: number
  /** How messages name the text. */
  what?: string
}

/** Values in addition to those of the rows: names and shapes, with a margin that lets the reader report the exact error. */
const extraValues = 65_536

/**
 * Reads a body with these readers. Throws like `parseJsonBody`, `batch_too_large` for a body with more values than the rows of a request
 * can have, and the errors of `read`. What `read` returns may hold lists of doubles, which are valid until the next call.
 */
export function readJson<T>(bytes: Buffer, size: BodySize, read: () => T): T {
  json.bytes = bytes
  json.at = json.depth = json.doubleCount = 0
  // The body itself is no value of its lists and objects.
  json.valuesLeft = maxValuesOf(size) + 1
  if (json.doubles.length > maxKeptDoubles) json.doubles = new Float64Array(firstDoubles)
  try {
    const value = read()
    peek()
    return json.at === bytes.byteLength ? value : refuseSyntax()
  } catch (error) {
    // A body with too many rows is not read to its end.
    if (isError(error, 'batch_too_large')) throw error
    // What was read to its end is JSON, but for a name twice among fields that are refused.
    const isRead = error !== broken && peek() === 0 && json.at === bytes.byteLength
    if (isRead && bytes.byteLength > maxParsedAgain) throw error
    parseJson(bytes, size)
    throw error
  }
}

export const tooManyRows = (limit: number, rows = 'rows'): DomainError =>
  new DomainError('batch_too_large', `the request has more than ${limit} ${rows}`, { limit })

/** Parses a body with JSON.parse. Throws like `readJson`. */
export function parseJson(bytes: Buffer, size: BodySize): unknown {
  const { maxRows, what = 'the body' } = size
  const maxValues = maxValuesOf(size)
  const tooManyValues = () =>
    new DomainError(
      'batch_too_large',
      `${what} has more than ${maxValues} values, and a request has at most ${maxRows} rows`,
      { limit: maxRows },
    )
  return parseJsonBody(bytes, { maxValues, what, tooManyValues })
}

/** In nested lists each value may have its own brackets. */
const maxValuesOf = ({ maxRows, width }: BodySize): number => 2 * maxRows * (width + 1) + extraValues

export function refuseSyntax(): never {
  throw broken
}

/** Skips white space and returns the next byte; 0 at the end. */
export function peek(): number {
  const byte = json.bytes[json.at] ?? 0
  return byte > 0x20 ? byte : peekFurther()
}

function peekFurther(): number {
  const { bytes } = json
  let byte = bytes[json.at] ?? 0
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++json.at] ?? 0
  return byte
}

/** Skips white space and this byte. Returns false when another byte is next. */
export function take(byte: number): boolean {
  if (peek() !== byte) return false
  json.at++
  return true
}

export function expect(byte: number): void {
  if (!take(byte)) throw broken
}

/** Skips these bytes. Returns false without moving when other bytes follow. */
export function takeBytes(wanted: Uint8Array): boolean {
  const { bytes, at } = json
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  json.at = at + wanted.length
  return true
}

/** Powers of ten that a double holds exactly. */
const powers = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))
/** Up to here, every integer is a double. */
const maxExact = 2 ** 53
/** An integer with this many digits is always below 2³¹. */
const maxExactDigits = 9

/** A table, because a minus is unpredictable and a mispredicted branch is slow. */
const numberStarts = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte === sign.minus || (byte >= sign.zero && byte <= sign.nine) ? 1 : 0,
)

export const beginsNumber = (byte: number): boolean => numberStarts[byte] === 1

const single = new Float64Array(1)

/** Reads a number. It is infinite when a double cannot hold it. */
export function readNumber(): number {
  readNumbers(single, 0, 1)
  return single[0]!
}

/**
 * Reads numbers that are separated by commas into the places from `start` to below `end`, and returns the place after the last. May stop
 * before other white space.
 */
function readNumbers(into: Float64Array, start: number, end: number): number {
  const { bytes } = json
  let { at } = json
  let byte = bytes[at]!
  for (let place = start; ;) {
    const before = at
    // Nearly all numbers have few digits and no exponent, so 32-bit integers are enough. The sign is computed (1 for minus, otherwise 0),
    // because it is unpredictable and a mispredicted branch is slow.
    const negative = ((byte ^ sign.minus) - 1) >>> 31
    at += negative
    byte = bytes[at]!
    const first = at
    let digits = 0
    while (byte >= sign.zero && byte <= sign.nine) {
      digits = (Math.imul(digits, 10) + byte - 0x30) | 0
      byte = bytes[++at]!
    }
    const whole = at - first
    let decimals = 0
    if (byte === 0x2e) {
      byte = bytes[++at]!
      const point = at
      while (byte >= sign.zero && byte <= sign.nine) {
        digits = (Math.imul(digits, 10) + byte - 0x30) | 0
        byte = bytes[++at]!
      }
      decimals = at - point
      if (decimals === 0) throw broken
    }
    const isPlain =
      whole + decimals <= maxExactDigits && (whole === 1 || (whole > 1 && bytes[first] !== sign.zero))
    if (isPlain && byte !== 0x65 && byte !== 0x45) {
      into[place++] = ((1 - 2 * negative) * digits) / powers[decimals]!
      json.at = at
    } else {
      // Another value follows the comma.
      if (place > start && !beginsNumber(bytes[before]!)) return place
      json.at = before
      into[place++] = readAnyNumber()
      at = json.at
      byte = bytes[at]!
    }
    if (place === end || byte !== sign.comma) return place
    byte = bytes[++at]!
    if (byte === 0x20) byte = bytes[++at]!
  }
}

/**
 * Reads a number of any form. The result is exact: digits up to 2⁵³ and powers of ten up to 22 are doubles themselves, so one operation
 * rounds once (W. Clinger, How to Read Floating Point Numbers Accurately, 1990). All other numbers go to Number.
 */
function readAnyNumber(): number {
  const { bytes } = json
  const start = json.at
  let at = start
  let byte = bytes[at]!
  const negative = byte === sign.minus
  if (negative) byte = bytes[++at]!
  let mantissa = 0
  let exponent = 0
  if (byte === sign.zero) byte = bytes[++at]!
  else {
    const first = at
    while (byte >= sign.zero && byte <= sign.nine) {
      mantissa = mantissa * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) throw broken
  }
  if (byte === 0x2e) {
    const first = ++at
    byte = bytes[at]!
    while (byte >= sign.zero && byte <= sign.nine) {
      mantissa = mantissa * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) throw broken
    exponent = first - at
  }
  if (byte === 0x65 || byte === 0x45) {
    byte = bytes[++at]!
    const down = byte === sign.minus
    if (down || byte === 0x2b) byte = bytes[++at]!
    const first = at
    let power = 0
    while (byte >= sign.zero && byte <= sign.nine) {
      power = power * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) throw broken
    exponent += down ? -power : power
  }
  json.at = at
  if (mantissa <= maxExact && exponent >= -22 && exponent <= 22) {
    const size = exponent < 0 ? mantissa / powers[-exponent]! : mantissa * powers[exponent]!
    return negative ? -size : size
  }
  return Number(bytes.toString('latin1', start, at))
}

/**
 * Short texts of earlier bodies with their bytes, by a hash of these, because names and categories repeat and a new text takes longer than
 * its bytes.
 */
const known = {
  texts: Array.from({ length: 1_024 }, () => ''),
  lengths: new Uint8Array(1_024),
  bytes: new Uint8Array(1_024 * 32),
}
const maxKnownLength = 32

/** Reads a text. */
export function readText(): string {
  const { bytes } = json
  if (bytes[json.at] !== sign.quote) throw broken
  const start = json.at + 1
  let hash = 0
  let at = start
  let byte = bytes[at]!
  while (byte !== sign.quote) {
    // Other texts have escapes, or more than a byte for a character.
    if (!(byte >= 0x20 && byte <= 0x7e && byte !== sign.backslash)) return readAnyText()
    hash = (Math.imul(hash, 31) + byte) | 0
    byte = bytes[++at]!
  }
  json.at = at + 1
  const length = at - start
  if (length > maxKnownLength) return bytes.toString('latin1', start, at)
  const place = (hash ^ (hash >>> 10)) & (known.lengths.length - 1)
  return isKnown(place, start, length) ? known.texts[place]! : keepText(place, start, length)
}

function isKnown(place: number, start: number, length: number): boolean {
  const { bytes } = json
  if (known.lengths[place] !== length) return false
  const from = place * maxKnownLength
  for (let i = 0; i < length; i++) if (known.bytes[from + i] !== bytes[start + i]) return false
  return true
}

function keepText(place: number, start: number, length: number): string {
  const { bytes } = json
  known.lengths[place] = length
  known.bytes.set(bytes.subarray(start, start + length), place * maxKnownLength)
  return (known.texts[place] = bytes.toString('latin1', start, start + length))
}

function readAnyText(): string {
  const { bytes, at } = json
  if (bytes[at] !== sign.quote) throw broken
  let end = at + 1
  while (bytes[end] !== sign.quote) {
    if (end >= bytes.byteLength) throw broken
    end += bytes[end] === sign.backslash ? 2 : 1
  }
  json.at = end + 1
  const text = bytes.subarray(at, end + 1)
  if (!isUtf8(text)) throw broken
  try {
    return JSON.parse(text.toString()) as string
  } catch {
    throw broken
  }
}

const words = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
])
const wordBytes = [...words].map(([word, value]) => ({ bytes: Buffer.from(word), value }))

/** Reads any value. A field of the name `doublesIn` that has a list of numbers gets them as doubles. */
export function readAny(doublesIn?: string): unknown {
  if (--json.valuesLeft < 0) throw broken
  const byte = peek()
  if (byte === sign.quote) return readText()
  if (beginsNumber(byte)) return readNumber()
  if (byte === sign.open) return readObject(doublesIn)
  if (byte === sign.openList) return readList(doublesIn)
  for (const { bytes, value } of wordBytes) if (takeBytes(bytes)) return value
  throw broken
}

function enter(): void {
  json.at++
  if (++json.depth > maxDepth) throw broken
}

function readObject(doublesIn: string | undefined): Record<string, unknown> {
  enter()
  const found: Record<string, unknown> = {}
  if (peek() !== sign.close)
    do {
      peek()
      const name = readText()
      expect(sign.colon)
      if (Object.hasOwn(found, name) || isDropped(name)) throw broken
      found[name] = name === doublesIn ? (readDoubles() ?? readAny(doublesIn)) : readAny(doublesIn)
    } while (take(sign.comma))
  expect(sign.close)
  json.depth--
  return found
}

function readList(doublesIn: string | undefined): unknown[] {
  enter()
  const found: unknown[] = []
  if (peek() !== sign.closeList)
    do {
      found.push(readAny(doublesIn))
    } while (take(sign.comma))
  expect(sign.closeList)
  json.depth--
  return found
}

/** Reads a list of numbers; undefined without moving for any other value. */
function readDoubles(): Float64Array | undefined {
  if (peek() !== sign.openList) return undefined
  const { at: before, doubleCount: start } = json
  json.at++
  let end = start
  do {
    if (!beginsNumber(peek())) {
      json.at = before
      return undefined
    }
    if (end === json.doubles.length) growDoubles()
    end = readNumbers(json.doubles, end, json.doubles.length)
  } while (take(sign.comma))
  expect(sign.closeList)
  json.doubleCount = end
  if ((json.valuesLeft -= end - start) < 0) throw broken
  return json.doubles.subarray(start, end)
}

/** Lists that were read before keep their memory. */
function growDoubles(): void {
  const { doubles } = json
  json.doubles = new Float64Array(2 * doubles.length)
  json.doubles.set(doubles)
}
