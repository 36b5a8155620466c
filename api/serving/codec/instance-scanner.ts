/**
 * Reads `{"instances":[{…}],"routing_key"?}` in one pass from its bytes into the input buffer. Stops at anything unusual or wrong, which
 * request-parser.ts then reads or refuses. Both must read the same numbers, which a test checks.
 */
import { fitsSingle, scaled } from '../../../domain/model/preprocessing.ts'
import type { CategoryColumn, FeatureColumn, FeatureColumns, NumberColumn } from './feature-columns.ts'
import { code, peek, scanNumber, scanText, take, takeBytes, asciiText, type Cursor } from './json-scanner.ts'
import { resetInput, writeTextValue, writeTextBytes, type InputBuffer } from './input-buffer.ts'

/** Fills the buffer and returns true. Returns false when the body must be parsed instead. */
export type InstanceScanner = (body: Buffer, input: InputBuffer, maxInstances: number) => boolean

const instancesKey = Buffer.from('"instances"')
const routingKeyKey = Buffer.from('"routing_key"')
const nullBytes = Buffer.from('null')
const longestRoutingKey = 256
const space = 0x20

interface Field {
  column: FeatureColumn
  /** The bytes `"name":` of a compact body; and without the colon, for white space before it. */
  prefix: Buffer
  key: Buffer
  place: number
}

export function compileScanner(columns: FeatureColumns): InstanceScanner {
  const fields = columns.all.map((column, place): Field => {
    const key = JSON.stringify(column.name)
    return { column, prefix: Buffer.from(`${key}:`), key: Buffer.from(key), place }
  })
  const count = fields.length
  // The order of the features in the last request; clients usually keep their order.
  const order = fields.slice()
  // The last row in which each feature was set, numbered over all requests.
  const seen = new Float64Array(count)
  let rowsSeen = 0
  const leastRowBytes = fields.reduce((sum, { key }) => sum + key.byteLength + 3, 2)
  const cursor: Cursor = { bytes: Buffer.alloc(0), at: 0 }
  // The positions of the current row's texts, by text column, because features may come in any order.
  const texts: TextPlaces = { starts: new Float64Array(columns.texts), ends: new Float64Array(columns.texts) }

  /** Returns the feature whose name is next, skips its colon and updates the order. */
  const fieldHere = (position: number): Field | undefined => {
    const expected = order[position]!
    if (cursor.bytes[cursor.at] === space) cursor.at++
    if (takeBytes(cursor, expected.prefix)) return expected
    if (peek(cursor) !== code.quote) return undefined
    const found = order.findIndex(({ key }) => takeBytes(cursor, key))
    const field = order[found]
    if (field === undefined || !take(cursor, code.colon)) return undefined
    order[found] = expected
    order[position] = field
    return field
  }
  const scanRow = (input: InputBuffer, row: number): boolean => {
    if (!take(cursor, code.open)) return false
    rowsSeen++
    const offset = row * columns.width
    if (!columns.numeric) input.input.fill(0, offset, offset + columns.width)
    for (let position = 0; position < count; position++) {
      if (position > 0 && !take(cursor, code.comma)) return false
      const field = fieldHere(position)
      if (field === undefined) return false
      if (seen[field.place] === rowsSeen) return false
      seen[field.place] = rowsSeen
      const { column } = field
      const isRead =
        column.kind === 'number'
          ? scanValue(cursor, column, input, row * columns.numbers, offset)
          : scanCategory(cursor, column, input, offset, texts)
      if (!isRead) return false
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
      if (rows === most || !scanRow(input, rows)) return false
      rows++
    } while (take(cursor, code.comma))
    input.rows = rows
    return take(cursor, code.closeList)
  }
  const scanRoutingKey = (input: InputBuffer): boolean => {
    if (peek(cursor) !== code.quote) return false
    const start = scanText(cursor)
    const length = cursor.at - 1 - start
    if (start < 0 || length < 1 || length > longestRoutingKey) return false
    input.routingKey = asciiText(cursor.bytes, start, cursor.at - 1)
    return true
  }

  return (body, input, most) => {
    cursor.bytes = body
    cursor.at = 0
    resetInput(input, columns, Math.min(most, Math.ceil(body.byteLength / leastRowBytes)))
    input.rows = 0
    if (!take(cursor, code.open)) return false
    do {
      if (peek(cursor) !== code.quote) return false
      const isInstances = takeBytes(cursor, instancesKey)
      if (!isInstances && !takeBytes(cursor, routingKeyKey)) return false
      if (!take(cursor, code.colon)) return false
      if (isInstances ? input.rows > 0 : input.routingKey !== undefined) return false
      if (!(isInstances ? scanRows(input, most) : scanRoutingKey(input))) return false
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
  const to = numbersOffset + column.slot
  const byte = peek(cursor)
  if (byte === code.n) {
    if (!column.fillable || !takeBytes(cursor, nullBytes)) return false
    input.numbers[to] = NaN
    input.input[offset + column.start] = scaled(column.fill, column.mean, column.std)
    return true
  }
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
    texts.starts[slot] = -1
    encodeCategory(column, undefined, input.input, offset)
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
