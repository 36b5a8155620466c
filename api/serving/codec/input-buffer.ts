/**
 * Holds the input of one request in arrays that all requests of the process reuse. Allocating arrays per request would take longer than the
 * prediction, and garbage collection would pause responses.
 */
import { noText } from '@tenure/predictors/features'
import type { FeatureRow } from '../../../domain/model/features.ts'
import type { FeatureColumns } from './feature-columns.ts'

export interface InputBuffer {
  rows: number
  routingKey: string | undefined
  /** The caller's name of what the request is about, by which its outcomes may come. */
  reference: string | undefined
  /** The caller's id of the request, in protocols that return it. */
  callerId: string | undefined
  /** The requested outputs, in protocols that select them; undefined for all. */
  wanted: readonly WantedOutput[] | undefined
  /** The inputs of the model, row by row. Doubles, because trees compare with thresholds that 32 bits cannot represent. */
  input: Float64Array
  /** The numbers as sent, rounded to the 32 bits of the log, row by row; NaN for null. */
  numbers: Float32Array
  /** The numbers as sent, for a version with computed columns, row by row; NaN for null. */
  doubles: Float64Array
  /** The memory of `numbers`, as bytes. */
  numberBytes: Uint8Array
  /** The texts as sent, row by row: four bytes of length, little-endian, then UTF-8. For null, the length has all bits set. */
  texts: Buffer
  textBytes: number
  /** The number of texts that the version has not seen in training. */
  unknownTexts: number
}

export interface WantedOutput {
  name: string
  binary: boolean
}

/** The initial size. Arrays grow with their requests; each waiting request has its own, and most are small. */
const firstValues = 256

export function createInputBuffer(): InputBuffer {
  const numbers = new Float32Array(firstValues)
  return {
    rows: 0,
    routingKey: undefined,
    reference: undefined,
    callerId: undefined,
    wanted: undefined,
    input: new Float64Array(firstValues),
    numbers,
    doubles: new Float64Array(0),
    numberBytes: new Uint8Array(numbers.buffer),
    texts: Buffer.allocUnsafeSlow(firstValues),
    textBytes: 0,
    unknownTexts: 0,
  }
}

/** Clears the buffer and sizes it for this many rows of these columns. */
export function resetInput(input: InputBuffer, columns: FeatureColumns, rows: number): void {
  input.rows = rows
  input.routingKey = input.reference = input.callerId = input.wanted = undefined
  input.textBytes = input.unknownTexts = 0
  reserveRows(input, columns, rows)
}

/** Makes room for this many rows and keeps those that were written. Doubles the room, so that rows can be added one by one. */
export function reserveRows(
  input: InputBuffer,
  { width, numbers, computed }: FeatureColumns,
  rows: number,
): void {
  if (input.input.length < rows * width) {
    const before = input.input
    input.input = new Float64Array(Math.max(rows * width, 2 * before.length))
    input.input.set(before)
  }
  if (input.numbers.length < rows * numbers) {
    const before = input.numbers
    input.numbers = new Float32Array(Math.max(rows * numbers, 2 * before.length))
    input.numbers.set(before)
    input.numberBytes = new Uint8Array(input.numbers.buffer)
  }
  if (computed.length > 0 && input.doubles.length < rows * numbers) {
    const before = input.doubles
    input.doubles = new Float64Array(Math.max(rows * numbers, 2 * before.length))
    input.doubles.set(before)
  }
}

/** Whether a feature has this value, as sent, in every row. Reads the texts row by row, because their lengths differ. */
export function everyRowHas(
  input: InputBuffer,
  { all, numbers, texts }: FeatureColumns,
  { name, value }: { name: string; value: string | number },
): boolean {
  const column = all.find((each) => each.name === name)
  if (column === undefined) return false
  if (column.kind === 'number') {
    for (let row = 0; row < input.rows; row++)
      if (input.numbers[row * numbers + column.slot] !== Math.fround(Number(value))) return false
    return typeof value === 'number'
  }
  const wanted = Buffer.from(String(value))
  for (let row = 0, at = 0; row < input.rows; row++)
    for (let slot = 0; slot < texts; slot++) {
      const length = input.texts.readUInt32LE(at)
      const bytes = length === noText ? 0 : length
      const isSame = length !== noText && wanted.equals(input.texts.subarray(at + 4, at + 4 + bytes))
      if (slot === column.slot && !isSame) return false
      at += 4 + bytes
    }
  return true
}

/** The numbers and the texts of one row, as sent. */
export function rowAsSent(
  input: InputBuffer,
  { numbers, texts }: FeatureColumns,
  row: number,
): { numbers: Uint8Array; texts: Uint8Array } {
  const endOf = (places: number, from: number): number => {
    let at = from
    for (let place = 0; place < places; place++) {
      const length = input.texts.readUInt32LE(at)
      at += 4 + (length === noText ? 0 : length)
    }
    return at
  }
  const from = endOf(row * texts, 0)
  return {
    numbers: input.numberBytes.subarray(row * numbers * 4, (row + 1) * numbers * 4),
    texts: input.texts.subarray(from, endOf(texts, from)),
  }
}

/** Writes a row that was checked. */
export function writeRow(
  input: InputBuffer,
  { all, numbers }: FeatureColumns,
  row: FeatureRow,
  index: number,
): void {
  for (let i = 0; i < all.length; i++) {
    const column = all[i]!
    const value = row[column.name]
    if (column.kind === 'category') {
      writeTextValue(input, typeof value === 'string' ? value : undefined)
      if (typeof value === 'string' && column.reportsUnknown && !column.places.has(value))
        input.unknownTexts++
    } else input.numbers[index * numbers + column.slot] = typeof value === 'number' ? value : NaN
  }
}

export function writeTextValue(input: InputBuffer, text: string | undefined): void {
  const bytes = text === undefined ? 0 : Buffer.byteLength(text)
  const at = roomForText(input, bytes)
  input.texts.writeUInt32LE(text === undefined ? noText : bytes, at)
  if (text !== undefined) input.texts.write(text, at + 4)
  input.textBytes = at + 4 + bytes
}

export function writeTextBytes(input: InputBuffer, from: Uint8Array, start: number, end: number): void {
  const at = roomForText(input, end - start)
  const { texts } = input
  texts.writeUInt32LE(end - start, at)
  for (let i = start, to = at + 4; i < end; i++) texts[to++] = from[i]!
  input.textBytes = at + 4 + end - start
}

function roomForText(input: InputBuffer, bytes: number): number {
  const need = input.textBytes + 4 + bytes
  if (need > input.texts.byteLength) {
    const more = Buffer.allocUnsafeSlow(Math.max(need, input.texts.byteLength * 2))
    more.set(input.texts.subarray(0, input.textBytes))
    input.texts = more
  }
  return input.textBytes
}
