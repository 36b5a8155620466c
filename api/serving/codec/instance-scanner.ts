/**
 * Reads `{"instances":[{…}],"routing_key"?,"reference"?}` in one pass from its bytes into the input buffer. Stops at anything unusual or wrong, which
 * request-parser.ts then reads or refuses. Both must read the same numbers, which a test checks.
 */
import { fitsSingle, scaled } from '../../../domain/model/preprocessing.ts'
import type { CategoryColumn, FeatureColumn, FeatureColumns, NumberColumn } from './feature-columns.ts'
import { code, peek, scanNumber, scanText, take, takeBytes, asciiText, type Cursor } from './json-scanner.ts'
import { maxReferenceLength, maxRoutingKeyLength } from './request-parser.ts'
import { reserveRows, resetInput, writeTextValue, writeTextBytes, type InputBuffer } from './input-buffer.ts'

/**
 * Fills the buffer and returns true. Returns false when the body must be parsed instead. A filled feature may be absent. Skips a field for
 * which `ignores` is true, then and in all later requests.
 */
export type InstanceScanner = (
  body: Buffer,
  input: InputBuffer,
  maxInstances: number,
  ignores?: (field: string) => boolean,
) => boolean

const instancesKey = Buffer.from('"instances"')
const routingKeyKey = Buffer.from('"routing_key"')
const referenceKey = Buffer.from('"reference"')
const nullBytes = Buffer.from('null')
const trueBytes = Buffer.from('true')
const falseBytes = Buffer.from('false')
const space = 0x20

interface Field {
  name: string
  /** Undefined for a field that is ignored. */
  column: FeatureColumn | undefined
  /** The bytes `"name":` of a compact body; and without the colon, for white space before it. */
  prefix: Buffer
  key: Buffer
}

function fieldOf(name: string, column: FeatureColumn | undefined): Field {
  const key = JSON.stringify(name)
  return { name, column, prefix: Buffer.from(`${key}:`), key: Buffer.from(key) }
}

export function compileScanner(columns: FeatureColumns): InstanceScanner {
  // First the fields of the current row, in its order, then those that it has not had yet; clients usually keep their order.
  const order = columns.all.map((column) => fieldOf(column.name, column))
  const wholeRowBytes = order.reduce((sum, { key }) => sum + key.byteLength + 3, 2)
  const cursor: Cursor = { bytes: Buffer.alloc(0), at: 0 }
  let isIgnored = (_name: string): boolean => false
  // The positions of the current row's texts, by text column, because features may come in any order.
  const texts: TextPlaces = { starts: new Float64Array(columns.texts), ends: new Float64Array(columns.texts) }

  /** Returns the field whose name is next, and skips its colon. Returns undefined for a field twice, and for one that is unknown. */
  const fieldHere = (position: number): Field | undefined => {
    const expected = order[position]
    if (cursor.bytes[cursor.at] === space) cursor.at++
    if (expected !== undefined && takeBytes(cursor, expected.prefix)) return expected
    return peek(cursor) === code.quote ? otherField(position) : undefined
  }
  /** Returns a field that comes earlier than in the last row, or that is new, and updates the order. */
  const otherField = (position: number): Field | undefined => {
    let found = position
    while (found < order.length && !takeBytes(cursor, order[found]!.key)) found++
    const field = order[found] ?? ignoredHere()
    if (field === undefined || !take(cursor, code.colon)) return undefined
    if (found === order.length) order.push(field)
    order.copyWithin(position + 1, position, found)
    order[position] = field
    return field
  }
  const ignoredHere = (): Field | undefined => {
    const start = scanText(cursor)
    if (start < 0) return undefined
    const field = fieldOf(asciiText(cursor.bytes, start, cursor.at - 1), undefined)
    return isIgnored(field.name) && order.every(({ name }) => name !== field.name) ? field : undefined
  }
  /** Fills the features that a row lacks. Returns false when one is needed. */
  const fillAbsent = (count: number, input: InputBuffer, numbersOffset: number, offset: number): boolean => {
    for (let at = count; at < order.length; at++) {
      const { column } = order[at]!
      if (column === undefined) continue
      if (!column.omittable) return false
      if (column.kind === 'number') fillNumber(column, input, numbersOffset, offset)
      else fillCategory(column, input, offset, texts)
    }
    return true
  }
  const scanRow = (input: InputBuffer, row: number, most: number): boolean => {
    if (!take(cursor, code.open)) return false
    const offset = row * columns.width
    const numbersOffset = row * columns.numbers
    if (!columns.numeric) input.input.fill(0, offset, offset + columns.width)
    let count = 0
    do {
      const field = fieldHere(count++)
      if (field === undefined) return false
      const { column } = field
      const isRead =
        column === undefined
          ? skipValue(cursor)
          : column.kind === 'number'
            ? scanValue(cursor, column, input, numbersOffset, offset)
            : scanCategory(cursor, column, input, offset, texts)
      if (!isRead) return false
    } while (take(cursor, code.comma))
    if (count < order.length) {
      if (!fillAbsent(count, input, numbersOffset, offset)) return false
      // The rest may be more rows than was expected of whole rows.
      const rest = Math.ceil((cursor.bytes.byteLength - cursor.at) / wholeRowBytes)
      reserveRows(input, columns, Math.min(most, row + 1 + rest))
    }
    for (let i = 0; i < columns.texts; i++)
      if (texts.starts[i]! < 0) writeTextValue(input, undefined)
      else writeTextBytes(input, cursor.bytes, texts.starts[i]!, texts.ends[i]!)
    return take(cursor, code.close)
  }
  const scanRows = (input: InputBuffer, most: number): boolean => {
    if (!take(cursor, code.openList)) return false
    let rows = 0
    do {
      if (rows === most || !scanRow(input, rows, most)) return false
      rows++
    } while (take(cursor, code.comma))
    input.rows = rows
    return take(cursor, code.closeList)
  }
  /** Returns the text, or undefined for one that is missing, empty or too long. */
  const scanCallerText = (maxLength: number): string | undefined => {
    if (peek(cursor) !== code.quote) return undefined
    const start = scanText(cursor)
    const length = cursor.at - 1 - start
    if (start < 0 || length < 1 || length > maxLength) return undefined
    return asciiText(cursor.bytes, start, cursor.at - 1)
  }
  const scanField = (input: InputBuffer, most: number): boolean => {
    if (takeBytes(cursor, instancesKey))
      return take(cursor, code.colon) && input.rows === 0 && scanRows(input, most)
    if (takeBytes(cursor, routingKeyKey)) {
      if (!take(cursor, code.colon) || input.routingKey !== undefined) return false
      input.routingKey = scanCallerText(maxRoutingKeyLength)
      return input.routingKey !== undefined
    }
    if (!takeBytes(cursor, referenceKey) || !take(cursor, code.colon)) return false
    if (input.reference !== undefined) return false
    input.reference = scanCallerText(maxReferenceLength)
    return input.reference !== undefined
  }

  return (body, input, most, ignores = () => false) => {
    isIgnored = ignores
    cursor.bytes = body
    cursor.at = 0
    resetInput(input, columns, Math.min(most, Math.ceil(body.byteLength / wholeRowBytes)))
    input.rows = 0
    if (!take(cursor, code.open)) return false
    do {
      if (peek(cursor) !== code.quote || !scanField(input, most)) return false
    } while (take(cursor, code.comma))
    if (!take(cursor, code.close) || input.rows === 0) return false
    peek(cursor)
    return cursor.at === body.byteLength
  }
}

interface TextPlaces {
  /** The start of each text; -1 for null. */
  starts: Float64Array
  ends: Float64Array
}

function scanValue(
  cursor: Cursor,
  column: NumberColumn,
  input: InputBuffer,
  numbersOffset: number,
  offset: number,
): boolean {
  if (peek(cursor) === code.n) {
    if (!column.fillable || !takeBytes(cursor, nullBytes)) return false
    fillNumber(column, input, numbersOffset, offset)
    return true
  }
  const to = numbersOffset + column.slot
  const value = scanNumber(cursor)
  const fed = scaled(value, column.mean, column.std)
  const isOutside = value < column.low || value > column.high
  input.numbers[to] = value
  input.input[offset + column.start] = isOutside ? scaled(column.fill, column.mean, column.std) : fed
  // The network and the log store 32 bits.
  return fitsSingle(fed) && fitsSingle(value)
}

function scanCategory(
  cursor: Cursor,
  column: CategoryColumn,
  input: InputBuffer,
  offset: number,
  texts: TextPlaces,
): boolean {
  const { slot, places, values, fillable } = column
  if (peek(cursor) === code.n) {
    if (!fillable || !takeBytes(cursor, nullBytes)) return false
    fillCategory(column, input, offset, texts)
    return true
  }
  const from = scanText(cursor)
  if (from < 0) return false
  const value = asciiText(cursor.bytes, from, cursor.at - 1)
  if (values !== undefined && !values.has(value)) return false
  texts.starts[slot] = from
  texts.ends[slot] = cursor.at - 1
  const place = places.get(value)
  if (place === undefined && column.reportsUnknown) input.unknownTexts++
  encodeCategory(column, place, input.input, offset)
  return true
}

function fillNumber(column: NumberColumn, input: InputBuffer, numbersOffset: number, offset: number): void {
  input.numbers[numbersOffset + column.slot] = NaN
  input.input[offset + column.start] = scaled(column.fill, column.mean, column.std)
}

function fillCategory(column: CategoryColumn, input: InputBuffer, offset: number, texts: TextPlaces): void {
  texts.starts[column.slot] = -1
  encodeCategory(column, undefined, input.input, offset)
}

/** Skips a number, a text, true, false or null. */
function skipValue(cursor: Cursor): boolean {
  const byte = peek(cursor)
  if (byte === code.quote) return scanText(cursor) >= 0
  if (byte === code.n) return takeBytes(cursor, nullBytes)
  return takeBytes(cursor, trueBytes) || takeBytes(cursor, falseBytes) || !Number.isNaN(scanNumber(cursor))
}

/** Encodes a category as `compileEncoder` does. The inputs of the row are zeros before. */
function encodeCategory(
  { encoding, start, other }: CategoryColumn,
  place: number | undefined,
  into: Float64Array,
  offset: number,
): void {
  if (encoding === 'one-hot') into[offset + start + (place ?? other)] = 1
  else if (encoding === 'code') into[offset + start] = place ?? NaN
}
