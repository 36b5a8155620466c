/**
 * Writes the bytes of a response into a buffer that all responses of the process reuse. Building a text and encoding it at the end would
 * take longer than the prediction.
 */

export interface ByteWriter {
  bytes: Buffer
  /** The position of the next byte; the bytes before it are the response. */
  at: number
  /** The length of the JSON before binary tensors; undefined when the whole response is JSON. */
  jsonBytes: number | undefined
}

export const createByteWriter = (): ByteWriter => ({
  bytes: Buffer.allocUnsafeSlow(65_536),
  at: 0,
  jsonBytes: undefined,
})

export function resetWriter(writer: ByteWriter): void {
  writer.at = 0
  writer.jsonBytes = undefined
}

/** Ensures space for this many more bytes. */
export function reserve(writer: ByteWriter, bytes: number): void {
  if (writer.at + bytes <= writer.bytes.byteLength) return
  const more = Buffer.allocUnsafeSlow(Math.max(writer.at + bytes, writer.bytes.byteLength * 2))
  more.set(writer.bytes.subarray(0, writer.at))
  writer.bytes = more
}

export function writeText(writer: ByteWriter, piece: Uint8Array): void {
  const { bytes } = writer
  let { at } = writer
  for (let i = 0; i < piece.length; i++) bytes[at++] = piece[i]!
  writer.at = at
}

const hexDigits = Buffer.from('0123456789abcdef')

/** Writes a UUID with its dashes. The last two of its sixteen bytes are `place`, the index of the instance. */
export function writeId(writer: ByteWriter, id: Uint8Array, place: number): void {
  const { bytes } = writer
  let { at } = writer
  for (let i = 0; i < 16; i++) {
    const byte = i < 14 ? id[i]! : i === 14 ? (place >> 8) & 255 : place & 255
    bytes[at] = hexDigits[byte >> 4]!
    bytes[at + 1] = hexDigits[byte & 15]!
    at += 2
    if (i === 3 || i === 5 || i === 7 || i === 9) bytes[at++] = 0x2d
  }
  writer.at = at
}

/** Writes an integer from 0 to 2³⁰. */
export function writeInteger(writer: ByteWriter, value: number): void {
  let digits = 1
  for (let bound = 10; value >= bound; bound *= 10) digits++
  putDigits(writer.bytes, writer.at, value, digits)
  writer.at += digits
}

function putDigits(bytes: Uint8Array, at: number, value: number, count: number): void {
  let rest = value | 0
  for (let i = at + count - 1; i >= at; i--) {
    const next = (rest / 10) | 0
    bytes[i] = 0x30 + rest - Math.imul(next, 10)
    rest = next
  }
}

/** The two digits of each number below one hundred. */
const pairs = Buffer.from(Array.from({ length: 100 }, (_, value) => String(value).padStart(2, '0')).join(''))

function putNine(bytes: Uint8Array, at: number, value: number): void {
  const eight = (value / 10) | 0
  const high = (eight / 10_000) | 0
  const low = eight - Math.imul(high, 10_000)
  const [a, c] = [(high / 100) | 0, (low / 100) | 0]
  const [b, d] = [high - Math.imul(a, 100), low - Math.imul(c, 100)]
  bytes[at] = pairs[a << 1]!
  bytes[at + 1] = pairs[(a << 1) + 1]!
  bytes[at + 2] = pairs[b << 1]!
  bytes[at + 3] = pairs[(b << 1) + 1]!
  bytes[at + 4] = pairs[c << 1]!
  bytes[at + 5] = pairs[(c << 1) + 1]!
  bytes[at + 6] = pairs[d << 1]!
  bytes[at + 7] = pairs[(d << 1) + 1]!
  bytes[at + 8] = 0x30 + value - Math.imul(eight, 10)
}

/** The maximum number of bytes that `writeFloat` writes. */
export const maxFloatBytes = 24

const powers = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))
const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

/** Writes finite 32-bit numbers, separated by commas. */
export function writeFloats(writer: ByteWriter, values: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    if (i > 0) writer.bytes[writer.at++] = 0x2c
    writeFloat(writer, values[i]!)
  }
}

/**
 * Writes a finite 32-bit number in eight digits, or in nine when eight do not read back to the same 32 bits; nine always do. JavaScript
 * would write the digits of the 64-bit number: twice as many, and most of the time of a response.
 */
export function writeFloat(writer: ByteWriter, value: number): void {
  const { bytes } = writer
  if (value === 0) {
    bytes[writer.at++] = 0x30
    return
  }
  if (value < 0) {
    bytes[writer.at++] = 0x2d
    value = -value
  }
  float[0] = value
  // log10 of a number is at most 0.302 above 0.301 × its power of two, so the estimate is exact or one too low.
  let tens = (((bits[0]! >>> 23) - 127) * 1_233) >> 12
  if (tens < -14 || tens > 14) return putRare(writer, value)
  if (value >= powerOf(tens + 1)) tens++
  if (tens < 0 && tens >= -7) return putSmall(writer, value, tens)
  let count = 8
  let digits = digitsOf(value, count - 1 - tens)
  if (digits < 0) digits = digitsOf(value, count++ - tens)
  if (digits < 0) return putRare(writer, value)
  for (;;) {
    const fewer = (digits / 10) | 0
    if (digits !== Math.imul(fewer, 10)) break
    digits = fewer
    count--
  }
  // When a number is rounded up to the next power of ten, its single digit moves one position to the left.
  putPlain(writer, digits, count <= 0 ? 1 : count, count <= 0 ? tens + 1 : tens)
}

/**
 * Writes a number below one, as most outputs are. Writes all nine digits and lets the next bytes overwrite trailing zeros, because a branch
 * takes longer than the writes.
 */
function putSmall(writer: ByteWriter, value: number, tens: number): void {
  const { bytes } = writer
  let { at } = writer
  const scale = powers[7 - tens]!
  let digits = (value * scale + 0.5) | 0
  let count = 8
  // Undoes rounding up to the next power of ten: no 32-bit number below it rounds up with nine digits.
  if (digits === 100_000_000) digits--
  if (Math.fround(digits / scale) === value) digits = Math.imul(digits, 10)
  else {
    digits = (value * powers[8 - tens]! + 0.5) | 0
    count = 9
  }
  bytes[at] = 0x30
  bytes[at + 1] = 0x2e
  bytes[at + 2] = bytes[at + 3] = bytes[at + 4] = bytes[at + 5] = bytes[at + 6] = bytes[at + 7] = 0x30
  at += 1 - tens
  putNine(bytes, at, digits)
  while (bytes[at + count - 1] === 0x30) count--
  writer.at = at + count
}

/** Shifts a number left by some decimal places and rounds it; -1 when the result does not read back to the same 32 bits. */
function digitsOf(value: number, places: number): number {
  if (places >= 0) {
    const scale = powers[places]!
    const digits = (value * scale + 0.5) | 0
    return Math.fround(digits / scale) === value ? digits : -1
  }
  const scale = powers[-places]!
  const digits = (value / scale + 0.5) | 0
  return Math.fround(digits * scale) === value ? digits : -1
}

const powerOf = (tens: number): number => (tens < 0 ? 1 / powers[-tens]! : powers[tens]!)

/** Writes `count` digits, of which the first is multiplied by 10 to the power of `tens`. */
function putPlain(writer: ByteWriter, digits: number, count: number, tens: number): void {
  const { bytes } = writer
  let { at } = writer
  if (tens < 0 || tens > 14) {
    putDigits(bytes, at + (count > 1 ? 1 : 0), digits, count)
    if (count > 1) {
      bytes[at] = bytes[at + 1]!
      bytes[at + 1] = 0x2e
      at += count + 1
    } else at++
    bytes[at++] = 0x65
    if (tens < 0) bytes[at++] = 0x2d
    writer.at = at
    return writeInteger(writer, Math.abs(tens))
  }
  const whole = tens + 1
  if (count <= whole) {
    putDigits(bytes, at, digits, count)
    at += count
    for (let zeros = whole - count; zeros > 0; zeros--) bytes[at++] = 0x30
    writer.at = at
    return
  }
  putDigits(bytes, at + 1, digits, count)
  for (let i = 0; i < whole; i++) bytes[at + i] = bytes[at + i + 1]!
  bytes[at + whole] = 0x2e
  writer.at = at + count + 1
}

/** Writes a very large or very small number, which are rare. */
function putRare(writer: ByteWriter, value: number): void {
  writer.at += writer.bytes.write(String(value), writer.at, 'latin1')
}
