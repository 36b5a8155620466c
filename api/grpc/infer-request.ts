/**
 * Decodes `ModelInferRequest` of the Open Inference Protocol by hand. Packed floats are read as one block of memory; a generated decoder
 * would read them number by number.
 */
import { DomainError } from '../../domain/errors.ts'
import { maxIdLength } from '../inference/request-reader.ts'
import { maxReferenceLength, maxRoutingKeyLength } from '../serving/codec/caller-texts.ts'
import {
  maxDimensions,
  readTensor,
  textOrImage,
  valueLimit,
  type BinaryPart,
  type Tensor,
} from '../inference/tensors.ts'
import {
  countVarints,
  nextTag,
  openMessage,
  readBytes,
  readMessage,
  readSigned,
  readName,
  readVarint,
  skipField,
  type WireMessage,
} from './wire.ts'

export interface InferMessage {
  id: string | undefined
  /** The parameters `routing_key` and `reference`, unchecked. */
  texts: { routing_key?: string; reference?: string }
  /** The names of the requested outputs; empty requests all. */
  wanted: string[]
  inputs: InputMessage[]
  /** One buffer per input, in the same order, used instead of the input's contents. */
  raw: Buffer[]
}

interface InputMessage {
  name: string
  datatype: string
  shape: number[]
  contents: Buffer | undefined
}

/** Encodes a field number with its wire type. */
const field = { varint: (number: number) => number * 8, bytes: (number: number) => number * 8 + 2 }

/** The maximum length of the name of a model, and of a version, as in the commands of HTTP. */
const maxModelLength = 100

/** Reads only the model and the version, so that the request is authorised before the rest is read. */
export function peekModel(bytes: Buffer): { model: string; version: string | undefined } {
  const message = openMessage(bytes)
  let model = ''
  let version = ''
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message)) {
    if (tag === field.bytes(1)) model = readName(message, 'model_name', maxModelLength)
    else if (tag === field.bytes(2)) version = readName(message, 'model_version', maxModelLength)
    else skipField(message, tag)
  }
  return { model, version: version === '' ? undefined : version }
}

/**
 * How many parts of a kind a message may have beyond those that its model can use. Clients send parameters of other servers, and the error
 * of a few surplus parts names them.
 */
const surplus = 100

/** A tensor takes five fields, and one more for each parameter. */
const fieldsPerPart = 8

/**
 * Decodes a request to a model whose rows have at most `width` features. Parts are counted before they are read. Throws `invalid_request` for
 * more than such a request can use.
 */
export function decodeInfer(bytes: Buffer, width: number): InferMessage {
  const maxInputs = width + surplus
  const message = openMessage(bytes, fieldsPerPart * (maxInputs + surplus))
  const found: InferMessage = {
    id: undefined,
    texts: {},
    wanted: [],
    inputs: [],
    raw: [],
  }
  for (let tag = nextTag(message), parameters = 0; tag !== 0; tag = nextTag(message)) {
    if (tag === field.bytes(3)) found.id = readName(message, 'id', maxIdLength)
    else if (tag === field.bytes(4)) {
      requireFew(parameters++, surplus, 'parameters')
      readParameter(readMessage(message), found)
    } else if (tag === field.bytes(5)) {
      requireFew(found.inputs.length, maxInputs, 'inputs')
      found.inputs.push(decodeInput(readMessage(message)))
    } else if (tag === field.bytes(6)) {
      requireFew(found.wanted.length, surplus, 'outputs')
      found.wanted.push(nameIn(readMessage(message)))
    } else if (tag === field.bytes(7)) {
      requireFew(found.raw.length, maxInputs, 'raw_input_contents')
      found.raw.push(readBytes(message))
    } else skipField(message, tag)
  }
  return found
}

function requireFew(count: number, max: number, what: string): void {
  if (count >= max) throw new DomainError('invalid_request', `the message has more than ${max} ${what}`)
}

const maxTextLength = { routing_key: maxRoutingKeyLength, reference: maxReferenceLength }

/** Ignores unknown parameters, because clients send parameters of other servers. */
function readParameter(entry: WireMessage, found: InferMessage): void {
  let key = ''
  let value: WireMessage | undefined
  for (let tag = nextTag(entry); tag !== 0; tag = nextTag(entry)) {
    if (tag === field.bytes(1)) key = readName(entry, 'the key of a parameter')
    else if (tag === field.bytes(2)) value = readMessage(entry)
    else skipField(entry, tag)
  }
  if (key !== 'routing_key' && key !== 'reference') return
  if (value === undefined || nextTag(value) !== field.bytes(3))
    throw new DomainError('invalid_request', `the parameter "${key}" is not a string_param`)
  found.texts[key] = readName(value, key, maxTextLength[key])
}

function nameIn(message: WireMessage): string {
  let name = ''
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message)) {
    if (tag === field.bytes(1)) name = readName(message, 'the name of an output')
    else skipField(message, tag)
  }
  return name
}

function decodeInput(message: WireMessage): InputMessage {
  const found: InputMessage = { name: '', datatype: '', shape: [], contents: undefined }
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message)) {
    if (tag === field.bytes(1)) found.name = readName(message, 'the name of an input')
    else if (tag === field.bytes(2)) found.datatype = readName(message, 'datatype')
    else if (tag === field.bytes(3)) readSizes(readMessage(message), found.shape)
    else if (tag === field.varint(3)) found.shape.push(readSigned(message))
    else if (tag === field.bytes(5)) found.contents = readBytes(message)
    else skipField(message, tag)
  }
  return found
}

/** Reads one size more than a shape may have, so that it is refused. */
function readSizes(message: WireMessage, into: number[]): void {
  while (message.at < message.end && into.length <= maxDimensions) into.push(readSigned(message))
}

/** The field of `InferTensorContents` for each datatype. */
const contentsField: Readonly<Record<string, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
}

/** Reads the tensors of a message, with at most `maxValues` values. Throws the same errors as the HTTP protocol. */
export function tensorsOf({ inputs, raw }: InferMessage, maxValues: number): Tensor[] {
  if (inputs.length === 0) throw new DomainError('invalid_request', '"inputs" is not a list of tensors')
  if (raw.length > 0 && raw.length !== inputs.length)
    throw new DomainError(
      'invalid_request',
      `the message has ${inputs.length} inputs and ${raw.length} raw_input_contents`,
    )
  const expectModest = valueLimit(maxValues)
  const limits = { expectModest, expectPiece: valueLimit(maxValues) }
  return inputs.map((input, place) => {
    const { name, shape, datatype } = input
    const given = raw.length > 0 ? raw[place]! : contentsOf(input, place, limits)
    if (!Buffer.isBuffer(given)) return readTensor({ name, shape, datatype, data: given }, place, undefined)
    const count = floatCountOf(given, input)
    if (count !== undefined) {
      expectModest(count)
      return { name, shape, values: floatsOf(given, { datatype, count, isOnly: inputs.length === 1 }) }
    }
    const binary: BinaryPart = { take: () => given, expectModest, left: () => 0 }
    return readTensor(
      { name, shape, datatype, parameters: { binary_data_size: given.byteLength } },
      place,
      binary,
    )
  })
}

/** Each is called before a value, or a piece of bytes, is made; over all inputs. */
interface ContentLimits {
  expectModest: (values: number) => void
  expectPiece: (pieces: number) => void
}

/** Returns the contents as bytes in the format of `raw_input_contents`, or as a list of values. */
function contentsOf(
  { name, datatype, contents }: InputMessage,
  place: number,
  { expectModest, expectPiece }: ContentLimits,
): Buffer | Float64Array | (string | Buffer)[] {
  const number = contentsField[datatype] ?? 0
  const isRaw = datatype === 'FP32' || datatype === 'FP64' || datatype === 'BOOL'
  const pieces: Buffer[] = []
  const texts: (string | Buffer)[] = []
  const packed: WireMessage[] = []
  let integers = 0
  // Limited by the values of the request instead.
  const message = openMessage(contents ?? Buffer.alloc(0), Infinity)
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message)) {
    if (number === 0 || tag >>> 3 !== number || (tag & 7) !== 2)
      throw new DomainError(
        'invalid_request',
        `input ${place} (${JSON.stringify(name.slice(0, 60))}) of the datatype ${JSON.stringify(datatype.slice(0, 60))} has its values in the field ${tag >>> 3} of its contents`,
      )
    expectPiece(1)
    if (isRaw) {
      pieces.push(readBytes(message))
      continue
    }
    if (datatype === 'BYTES') {
      expectModest(1)
      texts.push(textOrImage(readBytes(message), place))
      continue
    }
    const part = readMessage(message)
    // A number has at most ten bytes, so a part that is far too long is refused before it is counted.
    const least = Math.floor((part.end - part.at) / 10)
    expectModest(least)
    const count = countVarints(part)
    expectModest(count - least)
    integers += count
    packed.push(part)
  }
  if (datatype === 'BYTES') return texts
  if (!isRaw) return integersOf(packed, integers, datatype.startsWith('U') ? readVarint : readSigned)
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}

/** Reads packed integers. A last one that is cut has not been counted, and is refused. */
function integersOf(
  packed: readonly WireMessage[],
  count: number,
  read: (part: WireMessage) => number,
): Float64Array {
  const integers = new Float64Array(count)
  let at = 0
  for (const part of packed) while (part.at < part.end) integers[at++] = read(part)
  return integers
}

/**
 * The floats of the last request with one input, reused because allocating an array per request costs more in garbage collection than
 * reading the rows.
 */
let lastFloats = new Float64Array(4_096)
const maxKept = 1_048_576

/** Returns how many floats of a valid shape these bytes are; undefined for a tensor that `readTensor` must read or refuse. */
function floatCountOf(bytes: Buffer, { name, datatype, shape }: InputMessage): number | undefined {
  const width = datatype === 'FP32' ? 4 : datatype === 'FP64' ? 8 : 0
  if (width === 0 || name === '' || shape.length > 2) return undefined
  const count = shape.reduce((product, size) => product * size, 1)
  if (count * width !== bytes.byteLength || shape.some((size) => size < 0)) return undefined
  return count
}

/** Reads floats as one block. When they are the only input, the array is reused by the next request. */
function floatsOf(
  bytes: Buffer,
  { datatype, count, isOnly }: { datatype: string; count: number; isOnly: boolean },
): Float64Array {
  const floats = isOnly ? floatsFor(count) : new Float64Array(count)
  if (datatype === 'FP64') new Uint8Array(floats.buffer, floats.byteOffset, bytes.byteLength).set(bytes)
  else floats.set(new Float32Array(...alignedAt(bytes, count)))
  return floats
}

function floatsFor(count: number): Float64Array {
  if (count > maxKept) return new Float64Array(count)
  if (count > lastFloats.length) lastFloats = new Float64Array(count)
  return lastFloats.subarray(0, count)
}

/** Returns the arguments of a Float32Array over these bytes, or over an aligned copy of them. */
function alignedAt(bytes: Buffer, count: number): [ArrayBufferLike, number, number] {
  if (bytes.byteOffset % 4 === 0) return [bytes.buffer, bytes.byteOffset, count]
  if (bytes.byteLength > alignedBytes.byteLength) alignedBytes = new Uint8Array(bytes.byteLength)
  alignedBytes.set(bytes)
  return [alignedBytes.buffer, 0, count]
}

let alignedBytes = new Uint8Array(16_384)
