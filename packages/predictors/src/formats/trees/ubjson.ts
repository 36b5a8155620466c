/** Reads and writes UBJSON (draft 12), with the typed arrays of XGBoost. Refuses a value that runs beyond the bytes. */
import { refuse } from '../../errors.ts'
import { expectAtMost, forestLimits } from './forest.ts'

const deepest = 64

type NumberArray = Int8Array | Uint8Array | Int16Array | Int32Array | Float32Array | Float64Array

/** How the numbers of a type are read one by one, and the array for a list of them. */
interface NumberType {
  List: { new (count: number): NumberArray; readonly BYTES_PER_ELEMENT: number }
  read: (view: DataView, at: number) => number
}

/** Integers of 64 bits are exact to 2^53. */
const numberTypes: Readonly<Record<string, NumberType>> = {
  i: { List: Int8Array, read: (view, at) => view.getInt8(at) },
  U: { List: Uint8Array, read: (view, at) => view.getUint8(at) },
  I: { List: Int16Array, read: (view, at) => view.getInt16(at) },
  l: { List: Int32Array, read: (view, at) => view.getInt32(at) },
  L: { List: Float64Array, read: (view, at) => Number(view.getBigInt64(at)) },
  d: { List: Float32Array, read: (view, at) => view.getFloat32(at) },
  D: { List: Float64Array, read: (view, at) => view.getFloat64(at) },
}
const constants: ReadonlyMap<string, unknown> = new Map([
  ['T', true],
  ['F', false],
  ['Z', null],
])
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The bytes, the position in them, and how much has been read. */
interface Cursor {
  bytes: Uint8Array
  view: DataView
  at: number
  lists: number
  values: number
}

/** Whether a file begins as UBJSON: after "{" stands the type of a length. */
export const isUbjson = (head: string): boolean => /^\{[iUIlL$#]/.test(head)

/** Parses the bytes. Throws `artifact_invalid` for bytes that are not one complete value. */
export function readUbjson(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const cursor: Cursor = { bytes, view, at: 0, lists: 0, values: 0 }
  const read = readValue(cursor, readMarker(cursor), 0)
  if (cursor.at !== bytes.byteLength) refuse(`the UBJSON file goes on after its value, at byte ${cursor.at}`)
  return read
}

function readValue(cursor: Cursor, type: string, depth: number): unknown {
  if (depth > deepest) refuse(`the UBJSON file is nested more than ${deepest} levels deep`)
  if (type !== '[' && type !== '{') {
    expectAtMost(++cursor.values, forestLimits.looseValues, 'values')
    return readScalar(cursor, type)
  }
  expectAtMost(++cursor.lists, forestLimits.lists, 'lists and objects')
  return type === '[' ? readList(cursor, depth) : readObject(cursor, depth)
}

function readList(cursor: Cursor, depth: number): unknown[] | NumberArray {
  const { type, count } = readSizes(cursor)
  const numbers = type === undefined ? undefined : numberTypes[type]
  if (numbers !== undefined && count !== undefined) return readNumbers(cursor, numbers, count)
  // Items without bytes would let a few bytes fill the memory.
  if (type !== undefined && 'ZTF'.includes(type)) refuse(`the UBJSON file has a list of ${type}`)
  const items: unknown[] = []
  repeat(cursor, count, ']', () => items.push(readValue(cursor, type ?? readMarker(cursor), depth + 1)))
  return items
}

function readObject(cursor: Cursor, depth: number): Record<string, unknown> {
  const { type, count } = readSizes(cursor)
  const fields = new Map<string, unknown>()
  repeat(cursor, count, '}', () => {
    const name = readText(cursor)
    // A repeated name is refused, because readers interpret it differently.
    if (fields.has(name))
      refuse(`the UBJSON file has ${JSON.stringify(name.slice(0, 60))} twice in one object`)
    expectAtMost(fields.size + 1, forestLimits.names, 'names in one object')
    fields.set(name, readValue(cursor, type ?? readMarker(cursor), depth + 1))
  })
  return Object.fromEntries(fields)
}

/** Reads the items of a container: as many as it announces, or up to its end. */
function repeat(cursor: Cursor, count: number | undefined, end: string, readItem: () => void): void {
  if (count !== undefined) {
    for (let i = 0; i < count; i++) readItem()
    return
  }
  while (peek(cursor) !== end) readItem()
  take(cursor, 1)
}

/** Reads the optional type and count of a container. */
function readSizes(cursor: Cursor): { type?: string; count?: number } {
  let type: string | undefined
  if (peek(cursor) === '$') {
    take(cursor, 1)
    type = readMarker(cursor)
  }
  if (peek(cursor) !== '#') return {}
  take(cursor, 1)
  return { type, count: readLength(cursor) }
}

/** Reads a typed list of numbers, which takes only the memory of its bytes. */
function readNumbers(cursor: Cursor, { List, read }: NumberType, count: number): NumberArray {
  const from = take(cursor, count * List.BYTES_PER_ELEMENT)
  const all = new List(count)
  for (let i = 0; i < count; i++) all[i] = read(cursor.view, from + i * List.BYTES_PER_ELEMENT)
  return all
}

function readScalar(cursor: Cursor, type: string): unknown {
  const number = numberTypes[type]
  if (number !== undefined) return number.read(cursor.view, take(cursor, number.List.BYTES_PER_ELEMENT))
  if (constants.has(type)) return constants.get(type)
  if (type === 'C') return readMarker(cursor)
  if (type === 'S') return readText(cursor)
  return refuse(`the UBJSON file has the unknown type ${JSON.stringify(type)} at byte ${cursor.at}`)
}

function readText(cursor: Cursor): string {
  const count = readLength(cursor)
  const from = take(cursor, count)
  try {
    return utf8.decode(cursor.bytes.subarray(from, from + count))
  } catch {
    return refuse(`the UBJSON file has a text at byte ${from} that is not UTF-8`)
  }
}

function readLength(cursor: Cursor): number {
  const type = readMarker(cursor)
  const count = 'iUIlL'.includes(type) ? (readScalar(cursor, type) as number) : -1
  if (!(count >= 0 && count <= cursor.bytes.byteLength))
    refuse(`the UBJSON file has a length of ${count} at byte ${cursor.at}`)
  return count
}

const readMarker = (cursor: Cursor): string => String.fromCharCode(cursor.bytes[take(cursor, 1)]!)

const peek = ({ bytes, at }: Cursor): string => String.fromCharCode(bytes[at] ?? 0)

/** Moves the cursor past some bytes and returns where they begin. */
function take(cursor: Cursor, count: number): number {
  const from = cursor.at
  if (!(count >= 0 && from + count <= cursor.bytes.byteLength)) refuse('the UBJSON file is truncated')
  cursor.at += count
  return from
}

/**
 * Writes a value as XGBoost reads it: lengths in 8 bytes, lists number by number, a whole number in the fewest bytes, and others, and all of
 * a Float32Array, in 32 bits.
 */
export function writeUbjson(value: unknown): Uint8Array {
  let bytes = new Uint8Array(65_536)
  let view = new DataView(bytes.buffer)
  let end = 0
  /** Makes room, and returns where it begins. */
  const room = (count: number): number => {
    const from = end
    end += count
    if (end <= bytes.byteLength) return from
    const more = new Uint8Array(Math.max(end, bytes.byteLength * 2))
    more.set(bytes)
    bytes = more
    view = new DataView(bytes.buffer)
    return from
  }
  const mark = (marker: string): void => {
    const from = room(1)
    bytes[from] = marker.charCodeAt(0)
  }
  const text = (given: string): void => {
    const encoded = new TextEncoder().encode(given)
    mark('L')
    const from = room(8 + encoded.byteLength)
    view.setBigInt64(from, BigInt(encoded.byteLength))
    bytes.set(encoded, from + 8)
  }
  const single = (number: number): void => {
    mark('d')
    const from = room(4)
    view.setFloat32(from, number)
  }
  const whole = (number: number): void => {
    const size = number < 0 ? ~number : number
    const [marker, width] = (
      size < 2 ** 7 ? ['i', 1] : size < 2 ** 15 ? ['I', 2] : size < 2 ** 31 ? ['l', 4] : ['L', 8]
    ) as [string, number]
    mark(marker)
    const from = room(width)
    if (width === 1) view.setInt8(from, number)
    else if (width === 2) view.setInt16(from, number)
    else if (width === 4) view.setInt32(from, number)
    else view.setBigInt64(from, BigInt(number))
  }
  const write = (given: unknown): void => {
    if (typeof given === 'number') (Number.isInteger(given) ? whole : single)(given)
    else if (typeof given === 'string') {
      mark('S')
      text(given)
    } else if (typeof given === 'boolean') mark(given ? 'T' : 'F')
    else if (given === null) mark('Z')
    else if (given instanceof Float32Array) {
      mark('[')
      given.forEach(single)
      mark(']')
    } else if (Array.isArray(given) || ArrayBuffer.isView(given)) {
      mark('[')
      for (const each of given as unknown[]) write(each)
      mark(']')
    } else {
      mark('{')
      for (const [name, each] of Object.entries(given as object)) {
        text(name)
        write(each)
      }
      mark('}')
    }
  }
  write(value)
  return bytes.slice(0, end)
}
