/** Tests that the parts and texts of a message are counted before anything is made of them, for every field of every message. */
import { expect, it } from 'vitest'
import { decodeInfer, peekModel, tensorsOf } from '../../../api/grpc/infer-request.ts'
import {
  maxMessageFields,
  protoMessage,
  protoNumber,
  protoPacked,
  protoText,
} from '../../../api/grpc/wire.ts'

/** A model with four features, of which a request has at most 1,000 rows. */
const width = 4
const maxValues = 1_000 * width
const bytes = 1_048_576

/** Repeats a field until the message has a mebibyte. */
const filled = (unit: Buffer): Buffer => Buffer.alloc(bytes - (bytes % unit.byteLength), unit)
const input = (...parts: Buffer[]): Buffer => protoMessage(5, protoText(1, 'x'), ...parts)
const of = (datatype: string, contents: Buffer): Buffer =>
  input(protoText(2, datatype), protoPacked(3, [1]), protoMessage(5, contents))
const refusal = /more than (1632 fields|104 inputs|104 raw_input_contents|100 outputs|100 parameters)$/
const packed = Buffer.alloc(bytes, 1)

const numbers = Array.from({ length: 12 }, (_, at) => at + 1)
const units = numbers.flatMap((number) => [
  { what: `field ${number}, empty`, unit: Buffer.from([number * 8 + 2, 0]) },
  { what: `field ${number}, a number`, unit: protoNumber(number, 0) },
])

/** Decodes as a prediction does. */
const decode = (message: Buffer): unknown => tensorsOf(decodeInfer(message, width), maxValues)

it.each(units)('a message full of $what is refused by its count', ({ unit }) => {
  const message = filled(unit)
  expect(() => peekModel(message)).toThrow(`more than ${maxMessageFields} fields`)
  expect(() => decode(message)).toThrow(refusal)
})

it.each(units)('a nested message full of $what is refused by its count', ({ unit }) => {
  for (const outer of [4, 5, 6])
    expect(() => decode(protoMessage(outer, filled(unit))), `in field ${outer}`).toThrow(refusal)
})

it('a valid tensor, output or parameter more than a request can use is refused by its count', () => {
  const floats = protoMessage(7, Buffer.from(Float64Array.of(7).buffer))
  const parts = {
    inputs: { most: 104, part: of('FP64', floats) },
    outputs: { most: 100, part: protoMessage(6, protoText(1, 'label')) },
    parameters: {
      most: 100,
      part: protoMessage(4, protoText(1, 'priority'), protoMessage(2, protoNumber(2, 1))),
    },
    raw_input_contents: { most: 104, part: floats },
  }
  for (const [what, { most, part }] of Object.entries(parts)) {
    const message = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => part))
    expect(() => decodeInfer(message(most), width), what).not.toThrow()
    expect(() => decodeInfer(message(most + 1), width)).toThrow(`the message has more than ${most} ${what}`)
  }
})

it.each([
  { what: 'the model', max: 100, read: peekModel, message: (text: Buffer) => protoMessage(1, text) },
  { what: 'the version', max: 100, read: peekModel, message: (text: Buffer) => protoMessage(2, text) },
  { what: 'the id', max: 1_000, message: (text: Buffer) => protoMessage(3, text) },
  {
    what: 'the key of a parameter',
    max: 1_000,
    message: (text: Buffer) => protoMessage(4, protoMessage(1, text)),
  },
  ...['routing_key', 'reference'].map((key) => ({
    what: `the ${key}`,
    max: key === 'reference' ? 200 : 256,
    message: (text: Buffer) => protoMessage(4, protoText(1, key), protoMessage(2, protoMessage(3, text))),
  })),
  {
    what: 'the name of an input',
    max: 1_000,
    message: (text: Buffer) => protoMessage(5, protoMessage(1, text)),
  },
  {
    what: 'the datatype of an input',
    max: 1_000,
    message: (text: Buffer) => protoMessage(5, protoMessage(2, text)),
  },
  {
    what: 'the name of an output',
    max: 1_000,
    message: (text: Buffer) => protoMessage(6, protoMessage(1, text)),
  },
])(
  '$what has at most $max characters',
  ({ max, message, read = (sent: Buffer) => decodeInfer(sent, width) }) => {
    for (const letter of ['a', '€']) {
      expect(() => read(message(Buffer.from(letter.repeat(max))))).not.toThrow()
      expect(() => read(message(Buffer.from(letter.repeat(max + 1))))).toThrow(`of at most ${max} characters`)
    }
    for (const byte of [0x61, 0xff])
      expect(() => read(message(Buffer.alloc(bytes, byte)))).toThrow(`of at most ${max} characters`)
  },
)

it('no text of a mebibyte is decoded, in whichever field it is', () => {
  const long = Buffer.alloc(bytes, 'a')
  const parameter = (place: number) => (text: Buffer) =>
    protoMessage(4, protoText(1, 'routing_key'), protoMessage(2, protoMessage(place, text)))
  const places = numbers.flatMap((outer) => [
    (text: Buffer) => protoMessage(outer, text),
    ...numbers.map((inner) => (text: Buffer) => protoMessage(outer, protoMessage(inner, text))),
    parameter(outer),
  ])
  for (const [at, place] of places.entries())
    for (const read of [peekModel, (message: Buffer) => decodeInfer(message, width)]) {
      let found: unknown
      try {
        found = read(place(long))
      } catch (error) {
        found = (error as Error).message
      }
      expect(longestText(found), `place ${at}`).toBeLessThan(200)
    }
})

/** The length of the longest text in a value. */
function longestText(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return 0
  return Math.max(0, ...Object.values(value).map(longestText))
}

it.each(['BOOL', 'INT8', 'INT64', 'UINT8', 'UINT64', 'FP32', 'FP64', 'BYTES'])(
  'contents of %s with more values or pieces than a request may have are refused by their count',
  (datatype) => {
    const field = { BOOL: 1, INT8: 2, INT64: 3, UINT8: 4, UINT64: 5, FP32: 6, FP64: 7, BYTES: 8 }[datatype]!
    const tooMany = /^the inputs have more than the 4000 values of the largest request/
    expect(() => decode(of(datatype, filled(Buffer.from([field * 8 + 2, 0]))))).toThrow(tooMany)
    if (/INT/.test(datatype)) expect(() => decode(of(datatype, protoMessage(field, packed)))).toThrow(tooMany)
  },
)

it('a text that is not UTF-8 is refused, as in raw contents', () => {
  const text = Buffer.from([0xff])
  const isNoText = 'input 0 holds a text that is not UTF-8'
  expect(() => decode(of('BYTES', protoMessage(8, text)))).toThrow(isNoText)
  const raw = Buffer.concat([
    input(protoText(2, 'BYTES'), protoPacked(3, [1])),
    protoMessage(7, Buffer.from([1, 0, 0, 0]), text),
  ])
  expect(() => decode(raw)).toThrow(isNoText)
})

it('a shape of a million sizes is refused after nine', () => {
  const [tensor] = decodeInfer(input(protoText(2, 'FP64'), protoMessage(3, packed)), width).inputs
  expect(tensor!.shape).toHaveLength(9)
  expect(() => decode(input(protoText(2, 'FP64'), protoMessage(3, packed)))).toThrow(/no shape of at most 8/)
})

it('raw floats are counted before they are copied', () => {
  const message = Buffer.concat([
    input(protoText(2, 'FP64'), protoPacked(3, [bytes / 8, 1])),
    protoMessage(7, Buffer.alloc(bytes)),
  ])
  expect(() => decode(message)).toThrow(/more than the 4000 values/)
})

it('a tensor for each of the most columns that a model may have is read', () => {
  const described = input(protoText(2, 'FP64'), protoPacked(3, [1]))
  const floats = Buffer.from(Float64Array.of(7).buffer)
  const messages = [[of('FP64', protoMessage(7, floats))], [described, protoMessage(7, floats)]]
  for (const parts of messages) {
    const message = Buffer.concat(parts.flatMap((part) => Array.from({ length: 10_000 }, () => part)))
    peekModel(message)
    expect(tensorsOf(decodeInfer(message, 10_000), 10_000_000)).toHaveLength(10_000)
  }
})
