/** Tests that raw tensors are read at any position of a message, and that tensors of one request do not share memory. */
import { expect, it } from 'vitest'
import { decodeInfer, tensorsOf } from '../../../api/grpc/infer-request.ts'
import { protoMessage, protoPacked, protoText } from '../../../api/grpc/wire.ts'

const input = (name: string, datatype: string, shape: number[]): Buffer =>
  protoMessage(5, protoText(1, name), protoText(2, datatype), protoPacked(3, shape))
const valuesOf = (message: Buffer): number[][] =>
  tensorsOf(decodeInfer(message, 4), 1_000).map(({ values }) => Array.from(values as ArrayLike<number>))

it.each([0, 1, 2, 3])('floats that begin %i bytes after a multiple of four are read', (offset) => {
  const floats = Float32Array.of(1.5, -2, 0.25, 3)
  const message = Buffer.concat([input('x', 'FP32', [2, 2]), protoMessage(7, Buffer.from(floats.buffer))])
  const placed = Buffer.from(new ArrayBuffer(message.byteLength + 8), 0)
  const start = (4 - ((message.byteLength - 16) % 4)) % 4
  message.copy(placed, start + offset)
  const bytes = placed.subarray(start + offset, start + offset + message.byteLength)
  expect((bytes.byteOffset + message.byteLength - 16) % 4).toBe(offset)
  expect(valuesOf(bytes)).toEqual([[...floats]])
  // A shorter request that follows contains no values of this one.
  const short = Buffer.concat([
    input('x', 'FP64', [1]),
    protoMessage(7, Buffer.from(Float64Array.of(7).buffer)),
  ])
  expect(valuesOf(short)).toEqual([[7]])
})

it('each of two inputs has its own values', () => {
  const raw = (value: number) => protoMessage(7, Buffer.from(Float32Array.of(value, value).buffer))
  const message = Buffer.concat([input('x', 'FP32', [2]), input('y', 'FP32', [2]), raw(1), raw(2)])
  expect(valuesOf(message)).toEqual([
    [1, 1],
    [2, 2],
  ])
})

const bigOf = (write: 'setBigInt64' | 'setBigUint64') => (view: DataView, at: number, value: number) =>
  view[write](at, BigInt(value), true)

it.each([
  { datatype: 'INT8', field: 2, width: 1, values: [-128, 0, 127], write: 'setInt8' as const },
  { datatype: 'INT16', field: 2, width: 2, values: [-32_768, 3, 32_767], write: 'setInt16' as const },
  { datatype: 'INT32', field: 2, width: 4, values: [-(2 ** 31), 3, 2 ** 31 - 1], write: 'setInt32' as const },
  { datatype: 'INT64', field: 3, width: 8, values: [-(2 ** 63), -1, 2 ** 53], write: bigOf('setBigInt64') },
  { datatype: 'UINT8', field: 4, width: 1, values: [0, 128, 255], write: 'setUint8' as const },
  { datatype: 'UINT16', field: 4, width: 2, values: [0, 3, 65_535], write: 'setUint16' as const },
  { datatype: 'UINT32', field: 4, width: 4, values: [0, 3, 2 ** 32 - 1], write: 'setUint32' as const },
  { datatype: 'UINT64', field: 5, width: 8, values: [0, 3, 2 ** 63], write: bigOf('setBigUint64') },
])(
  'integers of $datatype are read from contents, in parts too, and at any position of raw contents',
  (each) => {
    const { datatype, field, width, values, write } = each
    const raw = Buffer.alloc(values.length * width)
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
    for (const [place, value] of values.entries())
      if (typeof write === 'string') view[write](place * width, value, true)
      else write(view, place * width, value)
    for (let shift = 0; shift < 8; shift++) {
      const id = protoText(3, 'a'.repeat(shift + 1))
      expect(valuesOf(Buffer.concat([id, input('x', datatype, [3]), protoMessage(7, raw)]))).toEqual([values])
    }
    const described = [protoText(1, 'x'), protoText(2, datatype), protoPacked(3, [3])]
    const contents = Buffer.concat([
      protoPacked(field, values.slice(0, 1)),
      protoPacked(field, values.slice(1)),
    ])
    expect(valuesOf(protoMessage(5, ...described, protoMessage(5, contents)))).toEqual([values])
    const cut = protoMessage(5, protoMessage(field, Buffer.from([1, 1, 1, 255])))
    expect(() => valuesOf(protoMessage(5, ...described, cut))).toThrow('it ends within a number')
  },
)
