/**
 * Reads the simplest request of the Open Inference Protocol in one pass over its bytes: one matrix of floats as JSON, with or without an
 * id. request-parser.ts reads all other requests; both must read the same numbers.
 */
import type { FeatureColumns } from '../serving/codec/feature-columns.ts'
import {
  code,
  peek,
  scanNumber,
  scanNumbers,
  scanText,
  take,
  takeBytes,
  asciiText,
  type Cursor,
} from '../serving/codec/json-scanner.ts'
import { resetInput, type InputBuffer } from '../serving/codec/input-buffer.ts'
import { fillMatrix } from './matrix-reader.ts'

const cursor: Cursor = { bytes: Buffer.alloc(0), at: 0 }
let values = new Float64Array(4_096)
const bytesOf = (text: string): Buffer => Buffer.from(JSON.stringify(text))
const keys = {
  id: bytesOf('id'),
  inputs: bytesOf('inputs'),
  name: bytesOf('name'),
  shape: bytesOf('shape'),
  datatype: bytesOf('datatype'),
  data: bytesOf('data'),
}
const fp32 = bytesOf('FP32')
const fp64 = bytesOf('FP64')
const longestId = 1_000

/** Fills the buffer and returns true. Returns false when the body must be parsed instead. */
export function scanMatrix(body: Buffer, columns: FeatureColumns, input: InputBuffer, most: number): boolean {
  if (!columns.numeric) return false
  cursor.bytes = body
  cursor.at = 0
  input.rows = 0
  let id: string | undefined
  if (!take(cursor, code.open)) return false
  do {
    if (takeKey(keys.id)) {
      if (id !== undefined || (id = scanId()) === undefined) return false
    } else if (takeKey(keys.inputs)) {
      if (input.rows > 0 || !scanInputs(columns, input, most)) return false
    } else return false
  } while (take(cursor, code.comma))
  if (!take(cursor, code.close) || input.rows === 0) return false
  input.callerId = id
  peek(cursor)
  return cursor.at === body.byteLength
}

/** Skips this key and its colon. Returns false when other bytes follow. */
function takeKey(key: Uint8Array): boolean {
  peek(cursor)
  return takeBytes(cursor, key) && take(cursor, code.colon)
}

function scanId(): string | undefined {
  peek(cursor)
  const start = scanText(cursor)
  if (start < 0 || cursor.at - 1 - start > longestId) return undefined
  return asciiText(cursor.bytes, start, cursor.at - 1)
}

function scanInputs(columns: FeatureColumns, input: InputBuffer, most: number): boolean {
  if (!take(cursor, code.openList) || !take(cursor, code.open)) return false
  let isNamed = false
  let rows = 0
  let isDouble: boolean | undefined
  let isFull = false
  do {
    if (!isNamed && takeKey(keys.name)) {
      peek(cursor)
      const start = scanText(cursor)
      if (start < 0 || cursor.at - 1 === start) return false
      isNamed = true
    } else if (rows === 0 && takeKey(keys.shape)) {
      rows = scanShape(columns.width)
      if (rows < 1 || rows > most) return false
    } else if (isDouble === undefined && takeKey(keys.datatype)) {
      peek(cursor)
      isDouble = takeBytes(cursor, fp64)
      if (!isDouble && !takeBytes(cursor, fp32)) return false
    } else if (!isFull && rows > 0 && isDouble !== undefined && takeKey(keys.data)) {
      resetInput(input, columns, rows)
      isFull = scanData(columns, input, isDouble)
      if (!isFull) return false
    } else return false
  } while (take(cursor, code.comma))
  return isNamed && isFull && take(cursor, code.close) && take(cursor, code.closeList)
}

/** Reads `[rows, width]` and returns the rows; -1 for any other shape. */
function scanShape(width: number): number {
  if (!take(cursor, code.openList)) return -1
  peek(cursor)
  const rows = scanNumber(cursor)
  if (!take(cursor, code.comma)) return -1
  peek(cursor)
  if (scanNumber(cursor) !== width || !take(cursor, code.closeList)) return -1
  return Number.isInteger(rows) ? rows : -1
}

function scanData(columns: FeatureColumns, input: InputBuffer, isDouble: boolean): boolean {
  if (!take(cursor, code.openList)) return false
  const count = input.rows * columns.width
  if (values.length < count) values = new Float64Array(count)
  if (!scanNumbers(cursor, count, values) || !take(cursor, code.closeList)) return false
  if (!isDouble) for (let i = 0; i < count; i++) values[i] = Math.fround(values[i]!)
  return fillMatrix(values, columns, input.rows, input)
}
