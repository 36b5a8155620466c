/**
 * Computes with 64-bit numbers modulo 2^64, for the hashes of CatBoost. Numbers lie in registers of two 32-bit words, because BigInt
 * allocates and takes ten times as long.
 */

const registers = 24
/** The lower half of register r is word 2r, the upper half word 2r + 1. */
const words = new Int32Array(2 * registers)

export const lowOf = (register: number): number => words[2 * register]!
const highOf = (register: number): number => words[2 * register + 1]!

export function put(into: number, high: number, low: number): void {
  words[2 * into] = low
  words[2 * into + 1] = high
}

/** Puts an integer of 32 bits, with its sign. */
export const putNumber = (into: number, value: number): void => put(into, value >> 31, value)

/** Reads eight bytes, the lowest first. */
export const putBytes = (into: number, bytes: Uint8Array, at: number): void =>
  put(into, wordAt(bytes, at + 4), wordAt(bytes, at))

/** Reads four bytes, the lowest first. */
export const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)

export const copy = (into: number, from: number): void => put(into, highOf(from), lowOf(from))

export function addWide(into: number, a: number, b: number): void {
  const low = (lowOf(a) + lowOf(b)) | 0
  const carry = low >>> 0 < lowOf(a) >>> 0 ? 1 : 0
  put(into, (highOf(a) + highOf(b) + carry) | 0, low)
}

export function subtractWide(into: number, a: number, b: number): void {
  const borrow = lowOf(a) >>> 0 < lowOf(b) >>> 0 ? 1 : 0
  put(into, (highOf(a) - highOf(b) - borrow) | 0, (lowOf(a) - lowOf(b)) | 0)
}

export const xorWide = (into: number, a: number, b: number): void =>
  put(into, highOf(a) ^ highOf(b), lowOf(a) ^ lowOf(b))

export function multiplyWide(into: number, a: number, b: number): void {
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
export function rotateWide(into: number, from: number, by: number): void {
  const low = by < 32 ? lowOf(from) : highOf(from)
  const high = by < 32 ? highOf(from) : lowOf(from)
  const bits = by & 31
  if (bits === 0) put(into, high, low)
  else put(into, (high >>> bits) | (low << (32 - bits)), (low >>> bits) | (high << (32 - bits)))
}

/** Shifts to the left, by 1 to 31 bits. */
export function shiftWide(into: number, from: number, by: number): void {
  const low = lowOf(from)
  put(into, (highOf(from) << by) | (low >>> (32 - by)), low << by)
}

/** Mixes the upper 17 bits into the lower ones: `a ^ (a >> 47)`. */
export const mix = (into: number, from: number): void =>
  put(into, highOf(from), lowOf(from) ^ (highOf(from) >>> 15))
