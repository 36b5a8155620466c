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
