/**
 * Measures the nesting and the number of values of a JSON text before it is parsed. JSON.parse is slow for eight megabytes of empty objects
 * or nested brackets and would block the process for seconds; this check takes a few milliseconds of the largest body.
 */
import { DomainError } from '../../../domain/errors.ts'

/** Maximum levels of nesting. */
export const maxDepth = 64

export type Excess = 'depth' | 'values'

/** What exceeds its limit; absent when nothing does. Values are counted by commas and brackets outside of texts. */
export function excessOf(bytes: Uint8Array, maxValues = Infinity): Excess | undefined {
  let depth = 0
  let values = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === 0x22) inText = !inText
    else if (inText) {
      // An escaped quote does not end the text.
      if (byte === 0x5c) i++
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) return 'depth'
      values++
    } else if (byte === 0x5d || byte === 0x7d) depth--
    else if (byte === 0x2c) values++
    if (values > maxValues) return 'values'
  }
  return undefined
}

/** Values beside those of the rows: names, shapes, and enough for the parser to report the exact error. */
const extraValues = 65_536

/** Throws `invalid_request` or `batch_too_large` for a body that exceeds `maxRows` rows of `width` values. */
export function requireModest(body: Uint8Array, maxRows: number, width: number): void {
  // In nested lists each value may have its own brackets.
  const maxValues = 4 * maxRows * (width + 1) + extraValues
  const excess = excessOf(body, maxValues)
  if (excess === 'depth')
    throw new DomainError('invalid_request', `the body is nested more than ${maxDepth} levels deep`)
  if (excess === 'values')
    throw new DomainError(
      'batch_too_large',
      `the body has more than ${maxValues} values, and a request has at most ${maxRows} rows`,
      { limit: maxRows },
    )
}
