/** Reads UBJSON (draft 12), with the typed arrays that XGBoost writes. Refuses a value that runs beyond the bytes. */
import { refuse } from '../../network/layers-model.ts'
import { expectAtMost, forestLimits } from './forest.ts'

const deepest = 64

type NumberArray = Int8Array | Uint8Array | Int16Array | Int32Array | Float32Array | Float64Array
/** The array type for the numbers of a type. Integers of 64 bits are exact to 2^53. */
const numberArrays: Readonly<
  Record<string, { new (count: number): NumberArray; readonly BYTES_PER_ELEMENT: number }>
> = {
  i: Int8Array,
  U: Uint8Array,
  I: Int16Array,
  l: Int32Array,
  L: Float64Array,
  d: Float32Array,
  D: Float64Array,
}

/** Parses the bytes. Throws `artifact_invalid` for bytes that are not one complete value. */
export function readUbjson(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = new TextDecoder('utf-8', { fatal: true })
  let at = 0
  const take = (count: number): number => {
    const from = at
    if (!(count >= 0 && from + count <= bytes.byteLength)) refuse('the UBJSON file is truncated')
    at += count
    return from
  }
  const marker = (): string => String.fromCharCode(bytes[take(1)]!)
  const peek = (): string => String.fromCharCode(bytes[at] ?? 0)
  const scalar = (type: string): unknown => {
    switch (type) {
      case 'i':
        return view.getInt8(take(1))
      case 'U':
        return view.getUint8(take(1))
      case 'I':
        return view.getInt16(take(2))
      case 'l':
        return view.getInt32(take(4))
      case 'L':
        return Number(view.getBigInt64(take(8)))
      case 'd':
        return view.getFloat32(take(4))
      case 'D':
        return view.getFloat64(take(8))
      case 'T':
        return true
      case 'F':
        return false
      case 'Z':
        return null
      case 'C':
        return marker()
      case 'S':
        return string()
      default:
        return refuse(`the UBJSON file has the unknown type ${JSON.stringify(type)} at byte ${at}`)
    }
  }
  const length = (): number => {
    const type = marker()
    const count = 'iUIlL'.includes(type) ? (scalar(type) as number) : -1
    if (!(count >= 0 && count <= bytes.byteLength))
      refuse(`the UBJSON file has a length of ${count} at byte ${at}`)
    return count
  }
  const string = (): string => {
    const count = length()
    const from = take(count)
    try {
      return text.decode(bytes.subarray(from, from + count))
    } catch {
      return refuse(`the UBJSON file has a text at byte ${from} that is not UTF-8`)
    }
  }
  /** Reads the optional type and count of a container. */
  const sizes = (): { type?: string; count?: number } => {
    let type: string | undefined
    if (peek() === '$') {
      take(1)
      type = marker()
    }
    if (peek() !== '#') return {}
    take(1)
    return { type, count: length() }
  }
  let [lists, values] = [0, 0]
  const value = (type: string, depth: number): unknown => {
    if (depth > deepest) refuse(`the UBJSON file is nested more than ${deepest} levels deep`)
    if (type !== '[' && type !== '{') {
      expectAtMost(++values, forestLimits.looseValues, 'values')
      return scalar(type)
    }
    expectAtMost(++lists, forestLimits.lists, 'lists and objects')
    return type === '[' ? list(depth) : object(depth)
  }
  /** Reads a typed list of numbers, which takes only the memory of its bytes. */
  const numbers = (type: string, count: number): NumberArray | undefined => {
    const of = numberArrays[type]
    if (of === undefined) return undefined
    if (at + count * of.BYTES_PER_ELEMENT > bytes.byteLength) refuse('the UBJSON file is truncated')
    const all = new of(count)
    for (let i = 0; i < count; i++) all[i] = scalar(type) as number
    return all
  }
  const list = (depth: number): unknown[] | NumberArray => {
    const { type, count } = sizes()
    const typed = type !== undefined && count !== undefined ? numbers(type, count) : undefined
    if (typed !== undefined) return typed
    // Items without bytes would let a few bytes fill the memory.
    if (type !== undefined && 'ZTF'.includes(type)) refuse(`the UBJSON file has a list of ${type}`)
    const items: unknown[] = []
    if (count !== undefined) for (let i = 0; i < count; i++) items.push(value(type ?? marker(), depth + 1))
    else {
      while (peek() !== ']') items.push(value(marker(), depth + 1))
      take(1)
    }
    return items
  }
  const object = (depth: number): Record<string, unknown> => {
    const { type, count } = sizes()
    const fields = new Map<string, unknown>()
    const field = () => {
      const name = string()
      // A repeated name is refused, because readers interpret it differently.
      if (fields.has(name))
        refuse(`the UBJSON file has ${JSON.stringify(name.slice(0, 60))} twice in one object`)
      expectAtMost(fields.size + 1, forestLimits.names, 'names in one object')
      fields.set(name, value(type ?? marker(), depth + 1))
    }
    if (count !== undefined) for (let i = 0; i < count; i++) field()
    else {
      while (peek() !== '}') field()
      take(1)
    }
    return Object.fromEntries(fields)
  }
  const read = value(marker(), 0)
  if (at !== bytes.byteLength) refuse(`the UBJSON file goes on after its value, at byte ${at}`)
  return read
}
