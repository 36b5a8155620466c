/**
 * Writes the requests and reads the answers of the Open Inference Protocol by gRPC, as the objects that its JSON has. The numbers of the fields are those of
 * https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto.
 */
import { predictorError } from '../../errors.ts'
import { spanOf, wireReader, wireText, type WireSpan } from '../wire.ts'

/** The method that answers rows. */
export const inferPath = '/inference.GRPCInferenceService/ModelInfer'

type Parameters = Readonly<Record<string, string>>

export interface InferQuestion {
  id: string
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
  { id, inputs, outputs, parameters }: InferQuestion,
): Buffer {
  const body = Buffer.concat([
    textField(1, model),
    ...(revision === undefined ? [] : [textField(2, revision)]),
    textField(3, id),
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

const { eachField, numbersOf } = wireReader((issue) => {
  throw new Error(issue)
})

/** Returns the answer of one frame as JSON has it. Throws with what is wrong with it. */
export function decodeInfer(frame: Uint8Array): object {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  if (bytes.byteLength < frameBytes || bytes.readUInt32BE(1) !== bytes.byteLength - frameBytes)
    throw new Error('it is not one message of gRPC')
  if (bytes[0] !== 0) throw new Error('it is compressed, and is not read')
  let version: string | undefined
  let id: string | undefined
  const raw: Buffer[] = []
  const outputs: Tensor[] = []
  eachField({ bytes, from: frameBytes, to: bytes.byteLength }, (field) => {
    const content = spanOf(bytes, field)
    if (field.number === 2) version = wireText(content)
    else if (field.number === 3) id = wireText(content)
    else if (field.number === 5) outputs.push(readTensor(content))
    else if (field.number === 6) raw.push(bytes.subarray(content.from, content.to))
  })
  return {
    model_version: version,
    id,
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
  contents: number[]
}

function readTensor(tensor: WireSpan): Tensor {
  const found: Tensor = { name: '', datatype: '', shape: [...numbersOf(tensor, 3, 0)], contents: [] }
  eachField(tensor, (field) => {
    const content = spanOf(tensor.bytes, field)
    if (field.number === 1) found.name = wireText(content)
    else if (field.number === 2) found.datatype = wireText(content)
    else if (field.number === 5) found.contents = readContents(content)
  })
  return found
}

/** The fields of `InferTensorContents`: 1 to 5 are integers, 6 and 7 floats of four and eight bytes, 8 are texts. */
const readContents = (contents: WireSpan): number[] =>
  ([0, 0, 0, 0, 0, 5, 1] as const).flatMap((wire, at) => [...numbersOf(contents, at + 1, wire)])

/** Reads a number of FP16, as IEEE 754 defines it. */
function readHalf(from: Buffer, at: number): number {
  const bits = from.readUInt16LE(at)
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** Reads a number of BF16, the upper half of one of FP32. */
function readUpperHalf(from: Buffer, at: number): number {
  const whole = Buffer.alloc(4)
  from.copy(whole, 2, at, at + 2)
  return whole.readFloatLE(0)
}

const sizes: Readonly<Record<string, [bytes: number, read: (from: Buffer, at: number) => number]>> = {
  FP16: [2, readHalf],
  BF16: [2, readUpperHalf],
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

function valuesOf(datatype: string, contents: Buffer | number[], shape: readonly number[]): unknown[] {
  const known = sizes[datatype]
  if (known !== undefined && Buffer.isBuffer(contents)) {
    const [size, read] = known
    if (contents.length % size !== 0) throw new Error(`it ends within a number of ${datatype}`)
    return Array.from({ length: contents.length / size }, (_, at) => read(contents, at * size))
  }
  if (known !== undefined || (!Buffer.isBuffer(contents) && contents.length > 0)) return [...contents]
  // Texts are not read: no output is one.
  const values = shape.reduce((product, size) => product * size, 1)
  return Array.from({ length: Math.min(values, 10_000) }, () => datatype)
}
