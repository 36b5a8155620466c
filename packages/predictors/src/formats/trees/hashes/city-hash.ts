/**
 * Hashes texts as CatBoost hashes categories: CityHash64 of version 1.0 (Geoff Pike and Jyrki Alakuijala, 2011) over the UTF-8 bytes, of
 * which the lower 32 bits remain.
 */

// Computes with 64-bit numbers modulo 2^64, for the hashes of CatBoost. Numbers lie in registers of two 32-bit words, because BigInt
// allocates and takes ten times as long.

const registers = 24
/** The lower half of register r is word 2r, the upper half word 2r + 1. */
const words = new Int32Array(2 * registers)

const lowOf = (register: number): number => words[2 * register]!
const highOf = (register: number): number => words[2 * register + 1]!

function put(into: number, high: number, low: number): void {
  words[2 * into] = low
  words[2 * into + 1] = high
}

/** Puts an integer of 32 bits, with its sign. */
const putNumber = (into: number, value: number): void => put(into, value >> 31, value)

/** Reads eight bytes, the lowest first. */
const putBytes = (into: number, bytes: Uint8Array, at: number): void =>
  put(into, wordAt(bytes, at + 4), wordAt(bytes, at))

/** Reads four bytes, the lowest first. */
const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)

const copy = (into: number, from: number): void => put(into, highOf(from), lowOf(from))

function addWide(into: number, a: number, b: number): void {
  const low = (lowOf(a) + lowOf(b)) | 0
  const carry = low >>> 0 < lowOf(a) >>> 0 ? 1 : 0
  put(into, (highOf(a) + highOf(b) + carry) | 0, low)
}

function subtractWide(into: number, a: number, b: number): void {
  const borrow = lowOf(a) >>> 0 < lowOf(b) >>> 0 ? 1 : 0
  put(into, (highOf(a) - highOf(b) - borrow) | 0, (lowOf(a) - lowOf(b)) | 0)
}

const xorWide = (into: number, a: number, b: number): void =>
  put(into, highOf(a) ^ highOf(b), lowOf(a) ^ lowOf(b))

function multiplyWide(into: number, a: number, b: number): void {
  const low = lowOf(a)
  const otherLow = lowOf(b)
  // The product of the lower halves, from products of 16 bits.
  const first = low & 0xffff
  const second = low >>> 16
  const third = otherLow & 0xffff
  const fourth = otherLow >>> 16
  const inner = Math.imul(first, fourth)
  const outer = Math.imul(second, third)
  const middle = (Math.imul(first, third) >>> 16) + (inner & 0xffff) + (outer & 0xffff)
  const upper = Math.imul(second, fourth) + (inner >>> 16) + (outer >>> 16) + (middle >>> 16)
  const crossed = Math.imul(highOf(a), otherLow) + Math.imul(low, highOf(b))
  put(into, (upper + crossed) | 0, Math.imul(low, otherLow))
}

/** Rotates to the right, by 1 to 63 bits. */
function rotateWide(into: number, from: number, by: number): void {
  const low = by < 32 ? lowOf(from) : highOf(from)
  const high = by < 32 ? highOf(from) : lowOf(from)
  const bits = by & 31
  if (bits === 0) put(into, high, low)
  else put(into, (high >>> bits) | (low << (32 - bits)), (low >>> bits) | (high << (32 - bits)))
}

/** Shifts to the left, by 1 to 31 bits. */
function shiftWide(into: number, from: number, by: number): void {
  const low = lowOf(from)
  put(into, (highOf(from) << by) | (low >>> (32 - by)), low << by)
}

/** Mixes the upper 17 bits into the lower ones: `a ^ (a >> 47)`. */
const mix = (into: number, from: number): void => put(into, highOf(from), lowOf(from) ^ (highOf(from) >>> 15))

// Registers of constants. Other users of the registers keep below the first one.
const [prime0, prime1, prime2, prime3, factor] = [19, 20, 21, 22, 23] as const
put(prime0, 0xc3a5c85c, 0x97cb3127)
put(prime1, 0xb492b66f, 0xbe98f273)
put(prime2, 0x9ae16a3b, 0x2f90404f)
put(prime3, 0xc949d7c7, 0x509e6557)
put(factor, 0x9ddfea08, 0xeb382d69)

const [a, b, c, d, e] = [0, 1, 2, 3, 4] as const
const [x, y, z, v, vNext, w, wNext] = [5, 6, 7, 8, 9, 10, 11] as const
const [t, size] = [12, 13] as const

/** Returns the hash of the bytes from `from` to `to`, as a signed number of 32 bits. */
export function hashOfBytes(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from
  putNumber(size, length)
  if (length > 64) hashLong(bytes, from, length)
  else if (length > 32) hashUpTo64(bytes, from, to)
  else if (length > 16) hashUpTo32(bytes, from, to)
  else hashUpTo16(bytes, from, to)
  return lowOf(a)
}

export const hashOfText = (text: string): number => {
  const bytes = Buffer.from(text)
  return hashOfBytes(bytes, 0, bytes.length)
}

/** Joins two numbers into one. */
function join(into: number, first: number, second: number): void {
  xorWide(t, first, second)
  multiplyWide(t, t, factor)
  mix(t, t)
  xorWide(t, second, t)
  multiplyWide(t, t, factor)
  mix(t, t)
  multiplyWide(into, t, factor)
}

function hashUpTo16(bytes: Uint8Array, from: number, to: number): void {
  const length = to - from
  if (length > 8) {
    putBytes(a, bytes, from)
    putBytes(b, bytes, to - 8)
    addWide(c, b, size)
    rotateWide(c, c, length)
    join(a, a, c)
    xorWide(a, a, b)
  } else if (length >= 4) {
    put(a, 0, wordAt(bytes, from))
    shiftWide(a, a, 3)
    addWide(a, a, size)
    put(b, 0, wordAt(bytes, to - 4))
    join(a, a, b)
  } else if (length > 0) {
    put(a, 0, bytes[from]! + (bytes[from + (length >> 1)]! << 8))
    put(b, 0, length + (bytes[to - 1]! << 2))
    multiplyWide(a, a, prime2)
    multiplyWide(b, b, prime3)
    xorWide(a, a, b)
    mix(a, a)
    multiplyWide(a, a, prime2)
  } else copy(a, prime2)
}

function hashUpTo32(bytes: Uint8Array, from: number, to: number): void {
  putBytes(a, bytes, from)
  multiplyWide(a, a, prime1)
  putBytes(b, bytes, from + 8)
  putBytes(c, bytes, to - 8)
  multiplyWide(c, c, prime2)
  putBytes(d, bytes, to - 16)
  multiplyWide(d, d, prime0)
  subtractWide(e, a, b)
  rotateWide(e, e, 43)
  addWide(d, d, e)
  rotateWide(e, c, 30)
  addWide(d, d, e)
  xorWide(b, b, prime3)
  rotateWide(b, b, 20)
  addWide(a, a, b)
  subtractWide(a, a, c)
  addWide(a, a, size)
  join(a, d, a)
}

function hashUpTo64(bytes: Uint8Array, from: number, to: number): void {
  putBytes(a, bytes, to - 16)
  addWide(a, a, size)
  multiplyWide(a, a, prime0)
  putBytes(b, bytes, from)
  addWide(a, a, b)
  putBytes(z, bytes, from + 24)
  mixHalf(v, bytes, from)
  putBytes(a, bytes, from + 16)
  putBytes(b, bytes, to - 32)
  addWide(a, a, b)
  putBytes(z, bytes, to - 8)
  mixHalf(w, bytes, to - 32)
  addWide(a, v, wNext)
  multiplyWide(a, a, prime2)
  addWide(b, w, vNext)
  multiplyWide(b, b, prime0)
  addWide(a, a, b)
  mix(a, a)
  multiplyWide(a, a, prime0)
  addWide(a, a, vNext)
  mix(a, a)
  multiplyWide(a, a, prime2)
}

/** Mixes `a` and `z` with the bytes at `at + 8` and `at + 16` into a pair of registers. */
function mixHalf(into: number, bytes: Uint8Array, at: number): void {
  addWide(b, a, z)
  rotateWide(b, b, 52)
  rotateWide(c, a, 37)
  putBytes(d, bytes, at + 8)
  addWide(a, a, d)
  rotateWide(d, a, 7)
  addWide(c, c, d)
  putBytes(d, bytes, at + 16)
  addWide(a, a, d)
  addWide(into, a, z)
  rotateWide(a, a, 31)
  addWide(b, b, a)
  addWide(into + 1, b, c)
}

/** Mixes 32 bytes and two numbers, which it changes, into a pair of registers. */
function mixBytes(
  into: number,
  bytes: Uint8Array,
  at: number,
  [first, second]: readonly [number, number],
): void {
  putBytes(d, bytes, at)
  addWide(first, first, d)
  putBytes(e, bytes, at + 24)
  addWide(second, second, first)
  addWide(second, second, e)
  rotateWide(second, second, 21)
  copy(c, first)
  putBytes(d, bytes, at + 8)
  addWide(first, first, d)
  putBytes(d, bytes, at + 16)
  addWide(first, first, d)
  rotateWide(d, first, 44)
  addWide(second, second, d)
  addWide(into, first, e)
  addWide(into + 1, second, c)
}
const changed = [a, b] as const

function hashLong(bytes: Uint8Array, from: number, length: number): void {
  const to = from + length
  putBytes(x, bytes, from)
  putBytes(y, bytes, to - 16)
  xorWide(y, y, prime1)
  putBytes(z, bytes, to - 56)
  xorWide(z, z, prime0)
  copy(a, size)
  copy(b, y)
  mixBytes(v, bytes, to - 64, changed)
  multiplyWide(a, size, prime1)
  copy(b, prime0)
  mixBytes(w, bytes, to - 32, changed)
  mix(a, vNext)
  multiplyWide(a, a, prime1)
  addWide(z, z, a)
  addWide(x, z, x)
  rotateWide(x, x, 39)
  multiplyWide(x, x, prime1)
  rotateWide(y, y, 33)
  multiplyWide(y, y, prime1)
  for (let at = from; at < from + ((length - 1) & ~63); at += 64) {
    addWide(x, x, y)
    addWide(x, x, v)
    putBytes(a, bytes, at + 16)
    addWide(x, x, a)
    rotateWide(x, x, 37)
    multiplyWide(x, x, prime1)
    addWide(y, y, vNext)
    putBytes(a, bytes, at + 48)
    addWide(y, y, a)
    rotateWide(y, y, 42)
    multiplyWide(y, y, prime1)
    xorWide(x, x, wNext)
    xorWide(y, y, v)
    xorWide(z, z, w)
    rotateWide(z, z, 33)
    multiplyWide(a, vNext, prime1)
    addWide(b, x, w)
    mixBytes(v, bytes, at, changed)
    addWide(a, z, wNext)
    copy(b, y)
    mixBytes(w, bytes, at + 32, changed)
    copy(a, z)
    copy(z, x)
    copy(x, a)
  }
  join(a, v, w)
  mix(b, y)
  multiplyWide(b, b, prime1)
  addWide(a, a, b)
  addWide(a, a, z)
  join(b, vNext, wNext)
  addWide(b, b, x)
  join(a, a, b)
}
