/** Tests that the parts of a message are counted before anything is made of them, for every field of every message. */
import { expect, it } from 'vitest'
import { decodeInfer, peekModel, tensorsOf } from '../../../api/grpc/infer-request.ts'
import {
  maxMessageFields,
  protoMessage,
  protoNumber,
  protoPacked,
  protoText,
} from '../../../api/grpc/wire.ts'

const maxValues = 4_000
const bytes = 1_048_576

/** Repeats a field until the message has a mebibyte. */
const filled = (unit: Buffer): Buffer => Buffer.alloc(bytes - (bytes % unit.byteLength), unit)
const input = (...parts: Buffer[]): Buffer => protoMessage(5, protoText(1, 'x'), ...parts)
const of = (datatype: string, contents: Buffer): Buffer =>
  input(protoText(2, datatype), protoPacked(3, [1]), protoMessage(5, contents))
const refusal = new RegExp(`more than ${maxMessageFields} fields`)
const packed = Buffer.alloc(bytes, 1)

const numbers = Array.from({ length: 12 }, (_, at) => at + 1)
const units = numbers.flatMap((number) => [
  { what: `field ${number}, empty`, unit: Buffer.from([number * 8 + 2, 0]) },
  { what: `field ${number}, a number`, unit: protoNumber(number, 0) },
])

/** Decodes as a prediction of a model with four features does. */
const decode = (message: Buffer): unknown => tensorsOf(decodeInfer(message), maxValues)

it.each(units)('a message full of $what is refused by its count', ({ unit }) => {
  const message = filled(unit)
  expect(() => peekModel(message)).toThrow(refusal)
  expect(() => decode(message)).toThrow(refusal)
})

it.each(units)('a nested message full of $what is refused by its count', ({ unit }) => {
  for (const outer of [4, 5, 6])
    expect(() => decode(protoMessage(outer, filled(unit))), `in field ${outer}`).toThrow(refusal)
})

it.each(['BOOL', 'INT8', 'INT64', 'UINT8', 'UINT64', 'FP32', 'FP64', 'BYTES'])(
  'contents of %s with more values or pieces than a request may have are refused by their count',
  (datatype) => {
    const field = { BOOL: 1, INT8: 2, INT64: 3, UINT8: 4, UINT64: 5, FP32: 6, FP64: 7, BYTES: 8 }[datatype]!
    const tooMany = /^the inputs have more than the 4000 values of the largest request/
    expect(() => decode(of(datatype, filled(Buffer.from([field * 8 + 2, 0]))))).toThrow(tooMany)
    if (/INT/.test(datatype)) expect(() => decode(of(datatype, protoMessage(field, packed)))).toThrow(tooMany)
  },
)

it('a shape of a million sizes is refused after nine', () => {
  const [tensor] = decodeInfer(input(protoText(2, 'FP64'), protoMessage(3, packed))).inputs
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
  const tensor = of('FP64', protoMessage(7, Buffer.from(Float64Array.of(7).buffer)))
  const read = tensorsOf(decodeInfer(Buffer.concat(Array.from({ length: 10_000 }, () => tensor))), 10_000_000)
  expect(read).toHaveLength(10_000)
})
