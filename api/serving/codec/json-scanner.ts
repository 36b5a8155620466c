/**
 * Reads the plain JSON that programs send directly from its bytes, without texts, objects or a second pass. Stops at escapes, non-ASCII
 * texts, unusual numbers and errors; the caller then parses the body with JSON.parse, which decides what is wrong.
 */

/** A position in a body, which the readers advance. */
export interface Cursor {
  bytes: Buffer
  at: number
}

export const code = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  minus: 0x2d,
  open: 0x7b,
  close: 0x7d,
  openList: 0x5b,
  closeList: 0x5d,
  backslash: 0x5c,
  n: 0x6e,
} as const

/** Powers of ten that a double holds exactly. */
const powers = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))
/** Up to here, every integer is a double. */
const maxExact = 2 ** 53
/** An integer with this many digits is always below 2³¹. */
const maxExactDigits = 9

/** Skips white space and returns the next byte; 0 at the end. */
export function peek(cursor: Cursor): number {
  const byte = cursor.bytes[cursor.at] ?? 0
  return byte > 0x20 ? byte : peekFurther(cursor)
}

function peekFurther(cursor: Cursor): number {
  const { bytes } = cursor
  let byte = bytes[cursor.at] ?? 0
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++cursor.at] ?? 0
  return byte
}

/** Skips white space and this byte. Returns false when another byte is next. */
export function take(cursor: Cursor, byte: number): boolean {
  if (peek(cursor) !== byte) return false
  cursor.at++
  return true
}

/** Reads a JSON number. Returns NaN when there is no finite number. */
export function scanNumber(cursor: Cursor): number {
  const { bytes } = cursor
  let { at } = cursor
  // Nearly all numbers have few digits and no exponent, so 32-bit integers are enough. The sign is computed (1 for minus, otherwise 0),
  // because it is unpredictable and a mispredicted branch is slow.
  const negative = ((bytes[at]! ^ code.minus) - 1) >>> 31
  at += negative
  let byte = bytes[at]!
  const first = at
  let digits = 0
  while (byte >= 0x30 && byte <= 0x39) {
    digits = (Math.imul(digits, 10) + byte - 0x30) | 0
    byte = bytes[++at]!
  }
  const whole = at - first
  let decimals = 0
  if (byte === 0x2e) {
    byte = bytes[++at]!
    const point = at
    while (byte >= 0x30 && byte <= 0x39) {
      digits = (Math.imul(digits, 10) + byte - 0x30) | 0
      byte = bytes[++at]!
    }
    decimals = at - point
    if (decimals === 0) return NaN
  }
  const isPlain = whole + decimals <= maxExactDigits && (whole === 1 || (whole > 1 && bytes[first] !== 0x30))
  if (!isPlain || byte === 0x65 || byte === 0x45) return scanAnyNumber(cursor)
  cursor.at = at
  return ((1 - 2 * negative) * digits) / powers[decimals]!
}

/**
 * Reads any JSON number. The result is exact: digits up to 2⁵³ and powers of ten up to 22 are doubles themselves, so one operation rounds
 * once (W. Clinger, How to Read Floating Point Numbers Accurately, 1990). All other numbers go to Number.
 */
function scanAnyNumber(cursor: Cursor): number {
  const { bytes } = cursor
  const start = cursor.at
  let at = start
  let byte = bytes[at]!
  const negative = byte === code.minus
  if (negative) byte = bytes[++at]!
  let mantissa = 0
  let exponent = 0
  if (byte === 0x30) byte = bytes[++at]!
  else {
    const first = at
    while (byte >= 0x30 && byte <= 0x39) {
      mantissa = mantissa * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) return NaN
  }
  if (byte === 0x2e) {
    const first = ++at
    byte = bytes[at]!
    while (byte >= 0x30 && byte <= 0x39) {
      mantissa = mantissa * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) return NaN
    exponent = first - at
  }
  if (byte === 0x65 || byte === 0x45) {
    byte = bytes[++at]!
    const down = byte === code.minus
    if (down || byte === 0x2b) byte = bytes[++at]!
    const first = at
    let power = 0
    while (byte >= 0x30 && byte <= 0x39) {
      power = power * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    if (at === first) return NaN
    exponent += down ? -power : power
  }
  cursor.at = at
  if (mantissa <= maxExact && exponent >= -22 && exponent <= 22) {
    const size = exponent < 0 ? mantissa / powers[-exponent]! : mantissa * powers[exponent]!
    return negative ? -size : size
  }
  const value = Number(asciiText(bytes, start, at))
  return Number.isFinite(value) ? value : NaN
}

/**
 * Reads a text of printable ASCII without escapes. Returns its start; it ends before the quote that `at` has just passed. Returns -1 for
 * any other text.
 */
export function scanText(cursor: Cursor): number {
  const { bytes } = cursor
  if (bytes[cursor.at] !== code.quote) return -1
  const start = cursor.at + 1
  let at = start
  for (;;) {
    const byte = bytes[at] ?? 0
    if (byte === code.quote) break
    if (byte < 0x20 || byte > 0x7e || byte === code.backslash) return -1
    at++
  }
  cursor.at = at + 1
  return start
}

/** Skips these bytes. Returns false without moving when other bytes follow. */
export function takeBytes(cursor: Cursor, wanted: Uint8Array): boolean {
  const { bytes, at } = cursor
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  cursor.at = at + wanted.length
  return true
}

export const asciiText = (bytes: Buffer, start: number, end: number): string =>
  bytes.toString('latin1', start, end)
