/**
 * Reads tensors of the Open Inference Protocol (version 2), from JSON and from the binary extension, as lists of values. Checks every
 * declared type, shape and length, because bytes that are read with a wrong width would still be numbers.
 */
import { isUtf8 } from 'node:buffer'
import { DomainError, quotedName } from '../../domain/errors.ts'
import { isRawImage } from '../../domain/values/media.ts'

/** Bytes are those of an image, which is no text. */
export type Value = number | string | null | Buffer

export interface Tensor {
  name: string
  shape: readonly number[]
  /** Row by row, one value for each element of the shape. */
  values: ArrayLike<Value>
  /** Whether 1 and 0 are true and false, of the datatype BOOL. */
  isFlags?: boolean
}

interface Datatype {
  /** The size of a binary value; BYTES values state their own length. */
  bytes: number
  /** Converts a JSON value; undefined when it does not have this type. */
  fromJson: (value: unknown) => Value | undefined
  /** Reads binary values as one block, least significant byte first. Reading them one by one would take long for megabytes. */
  fromBytes: (bytes: ArrayBuffer) => ArrayLike<number>
}

const float = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)
/** Accepts integers from `least` to below `end`. The largest integer of 64 bits is not a double; it would be rounded up to `end`. */
const whole = (least: number, end: number) => (value: unknown) =>
  Number.isInteger(value) && Number(value) >= least && Number(value) < end ? Number(value) : undefined
const signed = (bits: number) => whole(-(2 ** (bits - 1)), 2 ** (bits - 1))
const unsigned = (bits: number) => whole(0, 2 ** bits)

const datatypes: Readonly<Record<string, Datatype>> = {
  BOOL: {
    bytes: 1,
    fromJson: (value) => (typeof value === 'boolean' ? Number(value) : undefined),
    fromBytes: (bytes) => new Uint8Array(bytes).map((byte) => Math.min(byte, 1)),
  },
  INT8: { bytes: 1, fromJson: signed(8), fromBytes: (bytes) => new Int8Array(bytes) },
  INT16: { bytes: 2, fromJson: signed(16), fromBytes: (bytes) => new Int16Array(bytes) },
  INT32: { bytes: 4, fromJson: signed(32), fromBytes: (bytes) => new Int32Array(bytes) },
  INT64: { bytes: 8, fromJson: signed(64), fromBytes: (bytes) => doublesOf(new BigInt64Array(bytes)) },
  UINT8: { bytes: 1, fromJson: unsigned(8), fromBytes: (bytes) => new Uint8Array(bytes) },
  UINT16: { bytes: 2, fromJson: unsigned(16), fromBytes: (bytes) => new Uint16Array(bytes) },
  UINT32: { bytes: 4, fromJson: unsigned(32), fromBytes: (bytes) => new Uint32Array(bytes) },
  UINT64: { bytes: 8, fromJson: unsigned(64), fromBytes: (bytes) => doublesOf(new BigUint64Array(bytes)) },
  // JSON can have more digits than the type stores; both formats must give the same number.
  FP32: {
    bytes: 4,
    fromJson: (value) => (typeof value === 'number' ? Math.fround(value) : undefined),
    fromBytes: (bytes) => new Float32Array(bytes),
  },
  FP64: { bytes: 8, fromJson: float, fromBytes: (bytes) => new Float64Array(bytes) },
  BYTES: {
    bytes: 4,
    // Bytes come from a binary protocol only.
    fromJson: (value) => (typeof value === 'string' || Buffer.isBuffer(value) ? value : undefined),
    fromBytes: () => [],
  },
}

export const datatypeNames = Object.keys(datatypes)

/**
 * Reads one entry of "inputs". Doubles of "data" are rounded in place. `binary` is the unread part of the bytes after the JSON; absent
 * without a binary part.
 */
export function readTensor(entry: unknown, place: number, binary: BinaryPart | undefined): Tensor {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) refuse(place, 'is not an object')
  const { name, shape, datatype, data, parameters } = entry as Record<string, unknown>
  if (typeof name !== 'string' || name === '') refuse(place, 'has no name')
  const own: (what: string) => never = (what) => refuse(place, `(${quotedName(name)}) ${what}`)
  const known = typeof datatype === 'string' && Object.hasOwn(datatypes, datatype)
  const type = known ? datatypes[datatype] : undefined
  if (type === undefined)
    own(`has the datatype ${quotedName(String(datatype))}, not one of ${datatypeNames.join(', ')}`)
  if (!isShape(shape)) own(`has no shape of at most ${maxDimensions} whole numbers`)
  const expected = shape.reduce((product: number, size: number) => product * size, 1)
  const requireCount = (count: number): void => {
    if (count !== expected) own(`has the shape [${shape.join(', ')}] and ${count} values`)
  }
  const size = sizeIn(parameters)
  if (size !== undefined) {
    if (data !== undefined && data !== null)
      own('has "data" and "binary_data_size": its values can stand in one place only')
    if (binary === undefined) own('says that it is binary; the request has no header length')
    const bytes = binary.take(size, place)
    requireCount(datatype === 'BYTES' ? countTexts(bytes, place) : countNumbers(bytes, type, place))
    binary.expectModest(expected)
    const values = datatype === 'BYTES' ? textsIn(bytes, place) : numbersIn(bytes, type)
    return { name, shape, values, isFlags: datatype === 'BOOL' }
  }
  const valueOf = (value: unknown, index: number): Value => {
    if (value === null) return null
    const read = type.fromJson(value)
    if (read !== undefined) return read
    const what = `holds at place ${index} what is not a value of ${String(datatype)}`
    throw new DomainError('wrong_type', `the input ${quotedName(name)} ${what}`)
  }
  if (data instanceof Float64Array) {
    requireCount(data.length)
    if (datatype === 'FP32') for (let i = 0; i < data.length; i++) data[i] = Math.fround(data[i]!)
    else if (datatype !== 'FP64') data.forEach(valueOf)
    return { name, shape, values: data }
  }
  if (!Array.isArray(data)) own('has no list "data"')
  const flat = data.some((each) => Array.isArray(each)) ? flatten(data, shape, place) : data
  requireCount(flat.length)
  return { name, shape, values: flat.map(valueOf), isFlags: datatype === 'BOOL' }
}

/** More dimensions than rows and columns are accepted only to report the complete shape. */
export const maxDimensions = 8

const isShape = (shape: unknown): shape is number[] =>
  Array.isArray(shape) &&
  shape.length <= maxDimensions &&
  shape.every((size) => Number.isInteger(size) && size >= 0)

/** The bytes after the JSON of a request, read in the order of the inputs. */
export interface BinaryPart {
  take(size: number, place: number): Buffer
  /** Throws `batch_too_large` when these values and those before them exceed the limit of a request. */
  expectModest(values: number): void
  left(): number
}

/** Returns a function that counts the values of a request's inputs. It throws `batch_too_large` above `maxValues`. */
export function valueLimit(maxValues: number): (more: number) => void {
  let values = 0
  return (more) => {
    values += more
    if (values > maxValues)
      throw new DomainError(
        'batch_too_large',
        `the inputs have more than the ${maxValues} values of the largest request`,
        { values: maxValues },
      )
  }
}

/**
 * Opens the binary part. The limit is checked first, because four megabytes can hold four million values of one byte, and checking each
 * would block the process.
 */
export function binaryPart(bytes: Buffer, maxValues: number): BinaryPart {
  let at = 0
  return {
    expectModest: valueLimit(maxValues),
    take(size, place) {
      if (at + size > bytes.byteLength)
        refuse(place, `needs ${size} bytes of the binary part, which has ${bytes.byteLength - at} left`)
      at += size
      return bytes.subarray(at - size, at)
    },
    left: () => bytes.byteLength - at,
  }
}

function sizeIn(parameters: unknown): number | undefined {
  if (typeof parameters !== 'object' || parameters === null) return undefined
  const size = (parameters as Record<string, unknown>)['binary_data_size']
  if (size === undefined) return undefined
  if (!Number.isInteger(size) || Number(size) < 0)
    throw new DomainError('invalid_request', '"binary_data_size" is not a whole number of bytes')
  return Number(size)
}

function countNumbers({ byteLength }: Buffer, { bytes: width }: Datatype, place: number): number {
  if (byteLength % width !== 0) refuse(place, `has ${byteLength} bytes, which is not a multiple of ${width}`)
  return byteLength / width
}

/** Copies the bytes, because a number has to begin at a multiple of its width. */
const numbersIn = (bytes: Buffer, { fromBytes }: Datatype): Float64Array =>
  new Float64Array(fromBytes(new Uint8Array(bytes).buffer))

function doublesOf(integers: BigInt64Array | BigUint64Array): Float64Array {
  const doubles = new Float64Array(integers.length)
  for (let i = 0; i < integers.length; i++) doubles[i] = Number(integers[i])
  return doubles
}

/** Counts the texts of a BYTES tensor. Each text has four bytes of length, least significant first, and UTF-8. */
function countTexts(bytes: Buffer, place: number): number {
  let count = 0
  for (let at = 0; at < bytes.byteLength; count++) {
    at = at + 4 > bytes.byteLength ? Infinity : at + 4 + bytes.readUInt32LE(at)
    if (at > bytes.byteLength) refuse(place, 'ends within one of its texts')
  }
  return count
}

/** Returns the text of an element of BYTES, or its bytes where they are an image. */
export function textOrImage(bytes: Buffer, place: number): string | Buffer {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  if (!isRawImage(bytes)) refuse(place, 'holds a text that is not UTF-8')
  return bytes
}

function textsIn(bytes: Buffer, place: number): (string | Buffer)[] {
  const texts: (string | Buffer)[] = []
  for (let at = 0; at < bytes.byteLength;) {
    const end = at + 4 + bytes.readUInt32LE(at)
    const text = bytes.subarray(at + 4, end)
    texts.push(textOrImage(text, place))
    at = end
  }
  return texts
}

/** Flattens nested lists. Throws unless their lengths equal the shape. */
function flatten(data: unknown[], shape: readonly number[], place: number): unknown[] {
  let level: unknown[] = [data]
  for (const size of shape) {
    level = level.flatMap((each) => {
      if (!Array.isArray(each) || each.length !== size)
        refuse(place, `holds lists that do not have the shape [${shape.join(', ')}]`)
      return each as unknown[]
    })
  }
  return level
}

function refuse(place: number, what: string): never {
  throw new DomainError('invalid_request', `input ${place} ${what}`)
}
