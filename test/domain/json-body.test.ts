/** Tests the limits that a JSON text must meet before it is parsed, and the refusal of ambiguous texts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maxDepth, measureJson } from '@tenure/predictors/json'
import { parseJsonBody } from '../../domain/json-body.ts'

const bytesOf = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
const excessOf = (bytes: Uint8Array, maxValues?: number) => measureJson(bytes, maxValues).excess
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const parse = (text: string | Uint8Array, maxValues = 1_000): unknown =>
  parseJsonBody(typeof text === 'string' ? bytesOf(text) : text, { maxValues })

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

describe('a JSON body', () => {
  it('is parsed as JSON.parse parses it', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (text) => {
        fc.pre(!text.includes('__proto__'))
        const value = JSON.parse(text) as unknown
        // A generated text may repeat a key, which JSON.parse has already resolved.
        expect(parse(JSON.stringify(value), Infinity)).toEqual(value)
      }),
    )
    expect(parse('{"constructor": {"prototype": 1}, "toString": 2}')).toEqual({
      constructor: { prototype: 1 },
      toString: 2,
    })
  })

  it.each([
    [
      'nested too deeply',
      '['.repeat(5_000),
      'invalid_request',
      'the body is nested more than 64 levels deep',
    ],
    [
      'of too many values',
      `[${'0,'.repeat(1_001)}0]`,
      'invalid_request',
      'the body has more than 1000 values',
    ],
    ['of other bytes than UTF-8', Uint8Array.of(0x22, 0xfc, 0x22), 'body_not_json', 'the body is not UTF-8'],
    [
      'with a byte order mark',
      '\ufeff{}',
      'body_not_json',
      'the body begins with a byte order mark; send UTF-8 without one',
    ],
    ['that is cut', '{"a":', 'body_not_json', 'the body does not parse: Unexpected end of JSON input'],
    [
      'with a key twice',
      '{"b":{"a":1},"c":[{"a":1},{"a":1,"d":{}}],"b":2}',
      'invalid_request',
      'the body has the key "b" twice in one object',
    ],
    [
      'with a key twice, once with escapes',
      '{"x": {"a\\"b": 1, "c": "{,:", "a\\u0022b" : 2}}',
      'invalid_request',
      'the body has the key "a\\"b" twice in one object',
    ],
    [
      'with a name that sets a prototype',
      '{"a":[{"__proto__":5}]}',
      'invalid_request',
      'the body has the key "__proto__", which no field can have',
    ],
    [
      'with such a name in escapes',
      String.raw`{"a":{"\u005f_proto__":{}}}`,
      'invalid_request',
      'the body has the key "__proto__", which no field can have',
    ],
  ])('%s is refused by name', (_, text, code, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code, message }))
  })
})

describe('a whole number of a command', () => {
  const parseExact = (text: string) =>
    parseJsonBody(new TextEncoder().encode(text), { maxValues: 1_000, isExact: true })

  it.each(['1152921504606846977', '1152921504606846976', '-9007199254740993', '100000000000000000000'])(
    'of %s is refused by its field, because it would become another one',
    (number) => {
      expect(() => parseExact(`{"seed":1,"hyperparameters":{"a":["x"],"big":${number}}}`)).toThrow(
        expect.objectContaining({
          code: 'invalid_request',
          message: `hyperparameters.big is ${number}, which is not kept exactly: send a whole number up to 9007199254740991, or a text`,
        }) as Error,
      )
    },
  )

  it.each([
    '9007199254740991',
    '-9007199254740991',
    '1e20',
    '0.12345678901234567890',
    '"1152921504606846977"',
    '"\\"1152921504606846977"',
  ])('of %s is taken', (number) => {
    expect(parseExact(`{"big":${number}}`)).toEqual({ big: JSON.parse(number) as unknown })
  })
})
