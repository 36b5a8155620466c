/** Tests that no valid prediction request exceeds the limits, and that a request that does is not parsed. */
import { describe, expect, it } from 'vitest'
import { readInstances } from '../../../../api/serving/codec/instances.ts'
import { parseJson, readAny, readJson } from '../../../../api/serving/codec/json-reader.ts'

const form = { takesLists: false, none: 'none', rows: 'instances' }
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

describe('a body', () => {
  it('is within the limits for the largest batch in any formatting', () => {
    const [rows, width] = [1_000, 200]
    const values = Array.from({ length: width }, (_, i) => i)
    const inLists = values.map((value) => ({ name: 'x', data: Array.from({ length: rows }, () => [value]) }))
    for (const body of [{ instances: Array.from({ length: rows }, () => values) }, { inputs: inLists }]) {
      const size = { maxRows: rows, width }
      expect(parseJson(bytesOf(body), size)).toEqual(body)
      expect(readJson(bytesOf(body), size, () => readAny())).toEqual(body)
    }
  })

  it.each([
    ['brackets in brackets', 'invalid_request', /more than 64 levels/, `{"instances":${nested(1_000_000)}}`],
    [
      'objects without end',
      'batch_too_large',
      /more than 1000 instances/,
      `{"instances":[${'{},'.repeat(1_000_000)}{}]}`,
    ],
    ['a million names', 'batch_too_large', /values/, `{${'"a":1,'.repeat(1_000_000)}"a":1}`],
  ])('of %s is not parsed', (_name, code, message, text) => {
    const parse = JSON.parse
    JSON.parse = () => expect.fail('it was parsed')
    try {
      expect(() => readInstances(Buffer.from(text), { maxRows: 1_000, width: 4 }, form)).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
      )
    } finally {
      JSON.parse = parse
    }
  })
})
