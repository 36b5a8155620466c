/**
 * Folds the hashes of categories into one hash of 64 bits, as CatBoost does for combinations. A row folds thousands of elements, so this
 * keeps the words in variables and multiplies by a constant.
 */

/** The upper and lower halves of 0x4906ba494954cb65. */
const [factorHigh, factorLow] = [0x4906ba49, 0x4954cb65] as const
let high = 0
let low = 0

export const foldedHigh = (): number => high
export const foldedLow = (): number => low

/** Continues from a hash; by default from the beginning. */
export function startFolding(fromHigh = 0, fromLow = 0): void {
  high = fromHigh
  low = fromLow
}

/** Folds a hash of 32 bits. */
export function foldHash(hash: number): void {
  const [beforeHigh, beforeLow] = [high, low]
  multiplyByFactor(hash >> 31, hash | 0)
  addAndMultiply(beforeHigh, beforeLow)
}

/** Folds the answer to a test. */
export function foldTest(isTrue: boolean): void {
  if (isTrue) addAndMultiply(factorHigh, factorLow)
  else multiplyByFactor(high, low)
}

function addAndMultiply(otherHigh: number, otherLow: number): void {
  const sum = (low + otherLow) | 0
  const carry = sum >>> 0 < otherLow >>> 0 ? 1 : 0
  multiplyByFactor((high + otherHigh + carry) | 0, sum)
}

function multiplyByFactor(ofHigh: number, ofLow: number): void {
  // The product of the lower halves, from products of 16 bits.
  const first = ofLow & 0xffff
  const second = ofLow >>> 16
  const inner = Math.imul(first, factorLow >>> 16)
  const outer = Math.imul(second, factorLow & 0xffff)
  const middle = (Math.imul(first, factorLow & 0xffff) >>> 16) + (inner & 0xffff) + (outer & 0xffff)
  const upper = Math.imul(second, factorLow >>> 16) + (inner >>> 16) + (outer >>> 16) + (middle >>> 16)
  high = (upper + Math.imul(ofHigh, factorLow) + Math.imul(ofLow, factorHigh)) | 0
  low = Math.imul(ofLow, factorLow)
}
