/**
 * Reads the wire format of Protocol Buffers. Fields are visited in place, so that a file of any size takes no memory before it is known to
 * be within the limits. Groups, and fields that run beyond their message, are refused.
 */

/** A part of a file: one message, one text, or one list of packed numbers. */
export interface WireSpan {
  bytes: Uint8Array
  from: number
  to: number
}

export interface Field {
  number: number
  /** The wire type: 0 varint, 1 eight bytes, 2 a span, 5 four bytes. */
  wire: number
  /** The value of a varint, as a signed 64-bit number; exact to 2^53. */
  value: number
  /** The position of the content for other wire types. */
  from: number
  to: number
}

/** The wire type of one number of a list. */
type NumberWire = 0 | 1 | 5
type NumberArray = Int32Array | Float32Array | Float64Array

const sizes: Readonly<Record<number, number>> = { 0: 0, 1: 8, 5: 4 }

/** Returns the functions that visit and read fields. They call `fail` with what is wrong, such as `it ends within a field`. */
export function wireReader(fail: (issue: string) => never) {
  /** Visits the fields of a message in order. A field is valid only during its visit. */
  function eachField({ bytes, from, to }: WireSpan, visit: (field: Field) => void): void {
    const cursor = { at: from }
    const field: Field = { number: 0, wire: 0, value: 0, from: 0, to: 0 }
    while (cursor.at < to) {
      // Most tags and numbers are one byte.
      const tag = bytes[cursor.at]! < 128 ? bytes[cursor.at++]! : varint(bytes, cursor, to)
      if (!(tag >= 8 && tag < 2 ** 31)) fail(`it has a field with the tag ${tag}`)
      field.number = tag >>> 3
      field.wire = tag & 7
      if (field.wire !== 0) field.value = NaN
      else if (cursor.at < to && bytes[cursor.at]! < 128) field.value = bytes[cursor.at++]!
      else field.value = varint(bytes, cursor, to)
      const size = field.wire === 2 ? varint(bytes, cursor, to) : sizes[field.wire]
      if (size === undefined) return fail(`it has a field of the wire type ${field.wire}`)
      field.from = cursor.at
      field.to = cursor.at + size
      if (!(size >= 0 && field.to <= to)) fail('it ends within a field')
      cursor.at = field.to
      visit(field)
    }
  }

  function varint(bytes: Uint8Array, cursor: { at: number }, to: number): number {
    let low = 0
    let high = 0
    for (let i = 0; i < 10; i++) {
      if (cursor.at >= to) break
      const byte = bytes[cursor.at++]!
      // Each byte has seven bits: four bytes fill 28 bits of the lower half, and the fifth is split.
      if (i < 4) low |= (byte & 127) << (7 * i)
      else if (i === 4) {
        low |= (byte & 15) << 28
        high = (byte & 127) >>> 4
      } else if (i < 9) high |= (byte & 127) << (7 * i - 32)
      else high |= (byte & 1) << 31
      if (byte < 128) return (high | 0) * 4_294_967_296 + (low >>> 0)
    }
    return fail('it ends within a number')
  }

  /** Returns how many numbers a repeated field has, packed or single. `wire` is the wire type of one number. */
  function countNumbers(message: WireSpan, number: number, wire: NumberWire): number {
    let count = 0
    eachField(message, (field) => {
      if (field.number === number) count += countIn(message.bytes, field, wire)
    })
    return count
  }

  /** Returns how many numbers one occurrence of a repeated field has. */
  function countIn(bytes: Uint8Array, field: Field, wire: NumberWire): number {
    if (field.wire === wire) return 1
    if (field.wire !== 2) fail('it has a number of another wire type')
    let count = 0
    if (wire === 0) for (let at = field.from; at < field.to; at++) if (bytes[at]! < 128) count++
    if (wire !== 0) count = (field.to - field.from) / sizes[wire]!
    return Number.isInteger(count) ? count : fail('it ends within a number')
  }

  /** Reads the numbers of a repeated field. The caller must count them first if there may be too many. */
  function numbersOf(message: WireSpan, number: number, wire: NumberWire): Float64Array {
    const numbers = new Float64Array(countNumbers(message, number, wire))
    readNumbers(message, number, wire, numbers)
    return numbers
  }

  /** Fills an array whose length is the result of `countNumbers`. */
  function readNumbers(message: WireSpan, number: number, wire: NumberWire, into: NumberArray): void {
    const { bytes } = message
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const isShort = into instanceof Int32Array
    let place = 0
    const keep = (value: number): void => {
      if (isShort && (value | 0) !== value) fail(`it has the number ${value} beyond 32 bits`)
      into[place++] = value
    }
    eachField(message, (field) => {
      if (field.number !== number) return
      if (field.wire === 0) keep(field.value)
      else if (wire === 0) {
        const cursor = { at: field.from }
        while (cursor.at < field.to) keep(varint(bytes, cursor, field.to))
      } else
        for (let at = field.from; at < field.to; at += sizes[wire]!)
          into[place++] = wire === 1 ? view.getFloat64(at, true) : view.getFloat32(at, true)
    })
  }

  return { eachField, countNumbers, countIn, numbersOf, readNumbers }
}

/** Returns the content of a field that is a message, a text or a list; empty for a number. */
export const spanOf = (bytes: Uint8Array, { wire, from, to }: Field): WireSpan =>
  wire === 2 ? { bytes, from, to } : { bytes, from, to: from }

/** Keeps a byte order mark, which is part of a text. */
const text = new TextDecoder('utf-8', { ignoreBOM: true })

export const wireText = ({ bytes, from, to }: WireSpan): string => text.decode(bytes.subarray(from, to))
