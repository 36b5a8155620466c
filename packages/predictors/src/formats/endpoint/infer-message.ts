/**
 * Writes the requests and reads the answers of the Open Inference Protocol by gRPC, as the objects that its JSON has. The numbers of the fields are those of
 * https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto.
 */
import { predictorError } from '../../errors.ts'

/** The method that answers rows. */
export const inferPath = '/inference.GRPCInferenceService/ModelInfer'

type Parameters = Readonly<Record<string, string>>

export interface InferQuestion {
  inputs: readonly {
    name: string
    shape: readonly number[]
    datatype: string
    data: readonly (number | string | null)[]
    parameters?: Parameters
  }[]
  outputs: readonly { name: string }[]
  parameters?: Parameters
}

const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 }

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}
const bytesField = (field: number, value: Buffer): Buffer =>
  Buffer.concat([varint(field * 8 + wire.bytes), varint(value.byteLength), value])
const textField = (field: number, value: string): Buffer => bytesField(field, Buffer.from(value))
const message = (field: number, ...parts: Buffer[]): Buffer => bytesField(field, Buffer.concat(parts))
/** A map from texts to `InferParameter`. */
const parametersField = (given: Parameters = {}): Buffer[] =>
  Object.entries(given).map(([key, value]) => message(4, textField(1, key), message(2, textField(3, value))))

/** Returns one frame with a `ModelInferRequest`. Throws `wrong_type` for a missing text. */
export function encodeInfer(
  { model, revision }: { model: string; revision?: string },
  { inputs, outputs, parameters }: InferQuestion,
): Buffer {
  const body = Buffer.concat([
    textField(1, model),
    ...(revision === undefined ? [] : [textField(2, revision)]),
    ...parametersField(parameters),
    ...inputs.map(({ name, datatype, shape, data, parameters: own }) =>
      message(
        5,
        textField(1, name),
        textField(2, datatype),
        message(3, ...shape.map(varint)),
        ...parametersField(own),
        message(5, ...contentsOf(datatype, data)),
      ),
    ),
    ...outputs.map(({ name }) => message(6, textField(1, name))),
  ])
  const frame = Buffer.alloc(frameBytes + body.byteLength)
  frame.writeUInt32BE(body.byteLength, 1)
  body.copy(frame, frameBytes)
  return frame
}

function contentsOf(datatype: string, data: readonly (number | string | null)[]): Buffer[] {
  if (datatype === 'BYTES')
    return data.map((text) => {
      if (text === null) throw predictorError('wrong_type', 'gRPC cannot send a missing text')
      return textField(8, String(text))
    })
  // A missing number is NaN.
  const numbers = data.map((value) => (value === null ? NaN : Number(value)))
  const [field, values] =
    datatype === 'FP32' ? [6, Float32Array.from(numbers)] : [7, Float64Array.from(numbers)]
  return [bytesField(field, Buffer.from(values.buffer))]
}

/** Before each message: whether it is compressed, and its length. */
const frameBytes = 5

/** Returns the answer of one frame as JSON has it. Throws with what is wrong with it. */
export function decodeInfer(frame: Uint8Array): object {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  if (bytes.byteLength < frameBytes || bytes.readUInt32BE(1) !== bytes.byteLength - frameBytes)
    throw new Error('it is not one message of gRPC')
  if (bytes[0] !== 0) throw new Error('it is compressed, and is not read')
  let version: string | undefined
  const raw: Buffer[] = []
  const outputs: Tensor[] = []
  for (const [field, value] of fieldsOf(bytes.subarray(frameBytes)))
    if (field === 2) version = bytesOf(value).toString()
    else if (field === 5) outputs.push(readTensor(bytesOf(value)))
    else if (field === 6) raw.push(bytesOf(value))
  return {
    model_version: version,
    outputs: outputs.map(({ name, datatype, shape, contents }, at) => ({
      name,
      shape,
      datatype,
      data: valuesOf(datatype, raw[at] ?? contents, shape),
    })),
  }
}

interface Tensor {
  name: string
  datatype: string
  shape: number[]
  /** Numbers as they are, or the bytes of those of a fixed size. */
  contents: Buffer | number[]
}

function readTensor(bytes: Buffer): Tensor {
  const tensor: Tensor = { name: '', datatype: '', shape: [], contents: [] }
  for (const [field, value] of fieldsOf(bytes))
    if (field === 1) tensor.name = bytesOf(value).toString()
    else if (field === 2) tensor.datatype = bytesOf(value).toString()
    else if (field === 3) tensor.shape.push(...integersOf(value))
    else if (field === 5) tensor.contents = readContents(bytesOf(value))
  return tensor
}

/** The fields of `InferTensorContents`: 1 to 5 are integers, 6 and 7 floats of a fixed size, 8 are texts. */
function readContents(bytes: Buffer): Tensor['contents'] {
  const numbers: number[] = []
  const fixed: Buffer[] = []
  for (const [field, value] of fieldsOf(bytes))
    if (field >= 1 && field <= 5) for (const each of integersOf(value)) numbers.push(each)
    else if (field === 6 || field === 7) fixed.push(bytesOf(value))
  return fixed.length > 0 ? Buffer.concat(fixed) : numbers
}

const sizes: Readonly<Record<string, [bytes: number, read: (from: Buffer, at: number) => number]>> = {
  FP32: [4, (from, at) => from.readFloatLE(at)],
  FP64: [8, (from, at) => from.readDoubleLE(at)],
  INT8: [1, (from, at) => from.readInt8(at)],
  INT16: [2, (from, at) => from.readInt16LE(at)],
  INT32: [4, (from, at) => from.readInt32LE(at)],
  INT64: [8, (from, at) => Number(from.readBigInt64LE(at))],
  UINT8: [1, (from, at) => from.readUInt8(at)],
  UINT16: [2, (from, at) => from.readUInt16LE(at)],
  UINT32: [4, (from, at) => from.readUInt32LE(at)],
  UINT64: [8, (from, at) => Number(from.readBigUInt64LE(at))],
  BOOL: [1, (from, at) => from.readUInt8(at)],
}

/** Texts are not read: no output is one. */
function valuesOf(datatype: string, contents: Buffer | number[], shape: readonly number[]): unknown[] {
  if (!Buffer.isBuffer(contents) && contents.length > 0) return contents
  const known = sizes[datatype]
  if (known === undefined) return Array.from({ length: Math.min(shape[0] ?? 0, 10_000) }, () => datatype)
  const [size, read] = known
  const bytes = Buffer.isBuffer(contents) ? contents : Buffer.alloc(0)
  if (bytes.byteLength % size !== 0) throw new Error(`it ends within a number of ${datatype}`)
  return Array.from({ length: bytes.byteLength / size }, (_, at) => read(bytes, at * size))
}

type Value = Buffer | bigint

/** Reads the fields of a message. Throws where it ends within one. */
function* fieldsOf(bytes: Buffer): Generator<[field: number, value: Value]> {
  let at = 0
  const take = (length: number): Buffer => {
    if (length > bytes.byteLength - at) throw new Error('it ends within a field')
    at += length
    return bytes.subarray(at - length, at)
  }
  const number = (): bigint => {
    const [value, next] = readVarint(bytes, at)
    at = next
    return value
  }
  while (at < bytes.byteLength) {
    const tag = Number(number())
    const [field, type] = [Math.floor(tag / 8), tag % 8]
    if (type === wire.varint) yield [field, number()]
    else if (type === wire.bytes) yield [field, take(Number(number()))]
    else if (type === wire.fixed64) yield [field, take(8)]
    else if (type === wire.fixed32) yield [field, take(4)]
    else throw new Error(`it has a field of the wire type ${type}`)
  }
}

function readVarint(bytes: Buffer, from: number): [value: bigint, next: number] {
  let value = 0n
  for (let at = from; at < Math.min(from + 10, bytes.byteLength); at++) {
    value |= BigInt(bytes[at]! & 127) << BigInt(7 * (at - from))
    if (bytes[at]! < 128) return [value, at + 1]
  }
  throw new Error('it ends within a number')
}

function bytesOf(value: Value): Buffer {
  if (typeof value === 'bigint') throw new Error('it has a number in place of bytes')
  return value
}

/** Integers stand alone, or packed one after the other. */
function* integersOf(value: Value): Generator<number> {
  if (typeof value === 'bigint') return yield Number(BigInt.asIntN(64, value))
  for (let at = 0; at < value.byteLength;) {
    const [each, next] = readVarint(value, at)
    at = next
    yield Number(BigInt.asIntN(64, each))
  }
}
