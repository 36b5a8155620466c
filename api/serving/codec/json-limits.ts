/**
 * How much a JSON text holds, seen in its bytes before it is parsed. JSON.parse is quick for what callers mean to send and slow
 * for what they do not: eight megabytes of empty objects, or of brackets in brackets, hold the process up for seconds, and with
 * it everybody else who asks. A look at the bytes takes a few milliseconds of the largest body.
 */
import { DomainError } from '../../../domain/errors.ts'

/** Levels of nesting that anything here may have. */
export const deepest = 64

export type Excess = 'depth' | 'values'

/** What the text has too much of; nothing when it has not. Values are counted by the commas and brackets outside of texts. */
export function excessOf(bytes: Uint8Array, maxValues = Infinity): Excess | undefined {
  let depth = 0
  let values = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === 0x22) inText = !inText
    else if (inText) {
      // What is escaped is no end.
      if (byte === 0x5c) i++
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > deepest) return 'depth'
      values++
    } else if (byte === 0x5d || byte === 0x7d) depth--
    else if (byte === 0x2c) values++
    if (values > maxValues) return 'values'
  }
  return undefined
}

/** Beside the values of the rows: names, shapes, and enough to say of most bodies what else is wrong with them. */
const roomForMore = 65_536

/** Throws `invalid_request` or `batch_too_large` for a body that no request of so many rows can be, each with so many values. */
export function expectModest(body: Uint8Array, maxRows: number, width: number): void {
  // In lists of lists each value has its own brackets.
  const maxValues = 4 * maxRows * (width + 1) + roomForMore
  const excess = excessOf(body, maxValues)
  if (excess === 'depth')
    throw new DomainError('invalid_request', `the body is nested more than ${deepest} levels deep`)
  if (excess === 'values')
    throw new DomainError(
      'batch_too_large',
      `the body has more than ${maxValues} values, and a request has at most ${maxRows} rows`,
      { limit: maxRows },
    )
}
