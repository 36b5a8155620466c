/** Checks the limits on the bytes of a body before parsing, and that no valid request exceeds them. */
import { describe, expect, it } from 'vitest'
import { maxDepth, excessOf, requireModest } from '../../../../api/serving/codec/json-limits.ts'
import { parsePredict } from '../../../../api/serving/codec/request-parser.ts'

const bytesOf = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

describe('the excess of a JSON text', () => {
  it('is its depth if brackets are nested too deeply', () => {
    expect(excessOf(bytesOf(nested(maxDepth)))).toBeUndefined()
    expect(excessOf(bytesOf(nested(maxDepth + 1)))).toBe('depth')
    expect(excessOf(bytesOf('{"a":'.repeat(maxDepth + 1)))).toBe('depth')
    expect(excessOf(bytesOf(Array.from({ length: 500 }, () => [[]])))).toBeUndefined()
  })

  it('is its number of values if commas and brackets are too many', () => {
    expect(excessOf(bytesOf([1, 2, 3]), 3)).toBeUndefined()
    expect(excessOf(bytesOf([1, 2, 3, 4]), 3)).toBe('values')
    expect(excessOf(bytesOf([{}, {}]), 3)).toBe('values')
  })

  it('ignores brackets and commas within strings', () => {
    expect(excessOf(bytesOf({ a: nested(100), b: `"${nested(100)}\\` }), 2)).toBeUndefined()
    expect(excessOf(bytesOf(['"', nested(0), '\\', ','.repeat(50)]), 4)).toBeUndefined()
    expect(excessOf(bytesOf(`["\\\\",${nested(maxDepth)}]`))).toBe('depth')
  })
})

describe('a body', () => {
  it('is within the limits for the largest batch in any formatting', () => {
    const [rows, width] = [1_000, 200]
    const values = Array.from({ length: width }, (_, i) => i)
    const inLists = values.map((value) => ({ name: 'x', data: Array.from({ length: rows }, () => [value]) }))
    for (const body of [{ instances: Array.from({ length: rows }, () => values) }, { inputs: inLists }])
      expect(() => requireModest(bytesOf(body), rows, width)).not.toThrow()
  })

  it.each([
    ['brackets in brackets', 'invalid_request', /more than 64 levels/, `{"instances":${nested(1_000_000)}}`],
    ['objects without end', 'batch_too_large', /values/, `{"instances":[${'{},'.repeat(1_000_000)}{}]}`],
    ['a million names', 'batch_too_large', /values/, `{${'"a":1,'.repeat(1_000_000)}"a":1}`],
  ])('of %s is not parsed', (_name, code, message, text) => {
    const parse = JSON.parse
    JSON.parse = () => expect.fail('it was parsed')
    try {
      expect(() => parsePredict(Buffer.from(text), 1_000, 4)).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
      )
    } finally {
      JSON.parse = parse
    }
  })
})
