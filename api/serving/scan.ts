/**
 * Reads the plain JSON that programs send straight from its bytes: no text, no object, no second pass. It knows less than
 * JSON on purpose. Whatever is unusual (escapes, text beyond ASCII, odd numbers, anything wrong) makes it give up, and the
 * caller reads the body again with JSON.parse, which alone decides what is wrong and says so.
 */

/** A place in a body. The methods of reading move it on. */
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
/** So many digits are below 2⁵³, whichever they are. */
const exactDigits = 15

/** Skips white space and answers the byte there; 0 at the end. */
export function peek(cursor: Cursor): number {
  const { bytes } = cursor
  let byte = bytes[cursor.at] ?? 0
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++cursor.at] ?? 0
  return byte
}

/** Skips white space and this byte; false when something else stands there. */
export function take(cursor: Cursor, byte: number): boolean {
  if (peek(cursor) !== byte) return false
  cursor.at++
  return true
}

/**
 * Reads a number as JSON writes it; NaN when none stands there or it is not finite. Exact: digits below 2⁵³ and a power of
 * ten up to 22 are doubles themselves, so one operation rounds once (W. Clinger, How to Read Floating Point Numbers
 * Accurately, 1990); all else is left to Number.
 */
export function scanNumber(cursor: Cursor): number {
  const { bytes } = cursor
  const start = cursor.at
  let at = start
  let byte = bytes[at]!
  const negative = byte === code.minus
  if (negative) byte = bytes[++at]!
  let mantissa = 0
  let digits = 0
  let exponent = 0
  if (byte === 0x30) byte = bytes[++at]!
  else {
    const first = at
    while (byte >= 0x30 && byte <= 0x39) {
      mantissa = mantissa * 10 + (byte - 0x30)
      byte = bytes[++at]!
    }
    digits = at - first
    if (digits === 0) return NaN
  }
  if (byte === 0x2e) {
    const first = ++at
    byte = bytes[at]!
    while (byte >= 0x30 && byte <= 0x39) {
      mantissa = mantissa * 10 + (byte - 0x30)
      if (mantissa !== 0) digits++
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
  if (digits <= exactDigits && exponent >= -22 && exponent <= 22) {
    const size = exponent < 0 ? mantissa / powers[-exponent]! : mantissa * powers[exponent]!
    return negative ? -size : size
  }
  const value = Number(textOf(bytes, start, at))
  return Number.isFinite(value) ? value : NaN
}

/**
 * Reads a text of printable ASCII without escapes; its bytes then stand from the answer on and end before the quote that
 * `at` has just passed. -1 when it is not one.
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

/** Skips these bytes; false, and no step taken, when others stand there. */
export function takeBytes(cursor: Cursor, wanted: Uint8Array): boolean {
  const { bytes, at } = cursor
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  cursor.at = at + wanted.length
  return true
}

/** The ASCII text between two places. */
export const textOf = (bytes: Buffer, start: number, end: number): string =>
  bytes.toString('latin1', start, end)
