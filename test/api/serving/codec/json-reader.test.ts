/** Compares the reader of JSON with JSON.parse: the same values, and the same error for every broken text. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readAny, readJson } from '../../../../api/serving/codec/json-reader.ts'
import { parseJsonBody } from '../../../../domain/json-body.ts'
import { damage, damaged } from '../../../support/serving/damaged-bodies.ts'

const limits = { maxRows: 1, width: 1 }
const bytesOf = (text: string): Buffer => Buffer.from(text)
const outcomeOf = (read: () => unknown): unknown => {
  try {
    return read()
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return { code, message }
  }
}
const read = (bytes: Buffer, doublesIn?: string): unknown =>
  outcomeOf(() => readJson(bytes, limits, () => readAny(doublesIn)))
const parsed = (bytes: Buffer): unknown => outcomeOf(() => parseJsonBody(bytes, { maxValues: 65_540 }))

const texts = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', '"', '\\', '\0', '\ud800', 'a b', 'é', ' ', 'x'.repeat(33)),
)
/** V8 of Node 20 reads the name `"` as `\\` where an object before had that name. */
const names = texts.filter((text) => !text.includes('\\'))
const document = fc
  .tuple(
    fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        texts,
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer(),
        fc.constantFrom(true, false, null, [], {}),
        fc.array(tie('any'), { maxLength: 4 }),
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 6 }),
        fc.dictionary(names, tie('any'), { maxKeys: 4 }),
      ),
    })).any,
    fc.constantFrom(undefined, 1, '\t'),
    damage,
  )
  .map(([value, indent, changes]) => damaged(JSON.stringify(value, null, indent), changes))

describe('any text is read as by JSON.parse', () => {
  it('as a value or with its error', () => {
    fc.assert(
      fc.property(document, (bytes) => {
        expect(read(bytes)).toEqual(parsed(bytes))
      }),
      { numRuns: 5_000 },
    )
  })

  it.each([
    ['nothing', ''],
    ['white space', ' \n\t\r'],
    ['a byte order mark', '\ufeff1'],
    ['64 levels', '['.repeat(64) + ']'.repeat(64)],
    ['65 levels', '['.repeat(65) + ']'.repeat(65)],
    ['a million levels', '['.repeat(1_000_000)],
    ['as many values as the limit', `[${'0,'.repeat(65_538)}0]`],
    ['more values than the limit', `[${'0,'.repeat(65_540)}0]`],
    ['a million empty objects', `[${'{},'.repeat(1_000_000)}{}]`],
    ['a key twice', '{"a":1,"b":{"a":1,"\\u0061":2}}'],
    ['a key named __proto__', '{"a":[{"__proto__":1}]}'],
    ['a key named __proto__ twice', '{"__proto__":1,"__proto__":2}'],
    ['something behind', '{} 1'],
    ['a comma too many', '[1,2,]'],
    ['a comma too many behind a field', '{"a":1,}'],
    ['a comma alone', '[,1]'],
    ['half a word', '[tru]'],
    ['a control character in a text', '"\n"'],
  ])('for %s', (_name, text) => {
    const wanted = parsed(bytesOf(text)) as { message?: string }
    const found = read(bytesOf(text)) as { code?: string; message?: string }
    if (wanted.message?.includes('more than 65540 values') === true)
      expect(found.code).toBe('batch_too_large')
    else expect(found).toStrictEqual(wanted)
  })

  it('for bytes that are not UTF-8', () => {
    for (const byte of [0x80, 0xc0, 0xff])
      for (const text of [[0x22, byte, 0x22], [byte], [0x31, byte]])
        expect(read(Buffer.from(text))).toStrictEqual(parsed(Buffer.from(text)))
  })
})

it('numbers are read as by JSON.parse', () => {
  const digits = fc.stringMatching(/^(0|[1-9]\d{0,24})$/)
  const number = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.option(fc.stringMatching(/^\d{1,25}$/)),
      fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-', 'E-'), fc.nat({ max: 340 }))),
    )
    .map(
      ([sign, whole, part, exponent]) =>
        sign + whole + (part === null ? '' : `.${part}`) + (exponent?.join('') ?? ''),
    )
  fc.assert(
    fc.property(number, (written) => {
      expect(read(bytesOf(written))).toBe(JSON.parse(written))
    }),
    { numRuns: 10_000 },
  )
})

describe('lists of numbers in the named field', () => {
  const numbers = fc.array(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer()), {
    minLength: 1,
    maxLength: 20,
  })

  it('are doubles, several in one body', () => {
    const body = fc.tuple(fc.array(numbers, { maxLength: 4 }), fc.constantFrom(undefined, 1, '\t'))
    fc.assert(
      fc.property(body, ([lists, indent]) => {
        const text = JSON.stringify(
          lists.map((data) => ({ data, other: [1] })),
          null,
          indent,
        )
        const wanted = (JSON.parse(text) as { data: number[] }[]).map(({ data }) => ({
          data: Float64Array.from(data),
          other: [1],
        }))
        expect(read(bytesOf(text), 'data')).toStrictEqual(wanted)
      }),
    )
  })

  it('are doubles when they are longer than the lists before, or than are kept', () => {
    for (const count of [10_000, 3, 60_000]) {
      const values = Array.from({ length: count }, (_, at) => at / 8)
      expect(read(bytesOf(JSON.stringify([{ data: [7] }, { data: values }])), 'data')).toStrictEqual([
        { data: Float64Array.of(7) },
        { data: Float64Array.from(values) },
      ])
    }
  })

  it.each(['[]', '[1,null]', '[1,"2"]', '[[1],[2]]', 'null', '{"data":1}', '[1,true,3]'])(
    'stay values where they are %s',
    (data) => {
      const text = `{"data":${data}}`
      expect(read(bytesOf(text), 'data')).toStrictEqual(JSON.parse(text))
    },
  )

  it.each(['[1,]', '[1 2]', '[1,.5]', '[-]', '[1,2', '[01]', '[1.]', '[1e]'])('are refused as %s', (data) => {
    const bytes = bytesOf(`{"data":${data}}`)
    expect(read(bytes, 'data')).toStrictEqual(parsed(bytes))
  })
})
