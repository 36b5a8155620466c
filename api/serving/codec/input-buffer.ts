/**
 * What one request asks, as numbers in arrays that every request of the process fills anew. Arrays of its own would cost
 * each request more than its prediction, and the collector's pauses are what callers see as slow answers.
 */
import type { Row } from '../../../domain/model/features.ts'
import type { Columns } from './feature-columns.ts'

export interface Sheet {
  rows: number
  routingKey: string | undefined
  /** The caller's name for the request, in protocols that give it back. */
  callerId: string | undefined
  /** The outputs that are wanted, in protocols that can ask for some of them; all when absent. */
  wanted: readonly WantedOutput[] | undefined
  /** What the network is fed with, row by row. */
  input: Float32Array
  /** The numbers as they were sent, row by row; NaN where null was. */
  numbers: Float32Array
  /** The same memory, byte by byte. */
  numberBytes: Uint8Array
  /** The texts as they were sent, row by row: four bytes of length, least first, then UTF-8; all ones where null was. */
  texts: Buffer
  textBytes: number
}

export interface WantedOutput {
  name: string
  binary: boolean
}

/** The length that says null. */
export const noText = 0xffff_ffff

export function createSheet(): Sheet {
  const numbers = new Float32Array(4_096)
  return {
    rows: 0,
    routingKey: undefined,
    callerId: undefined,
    wanted: undefined,
    input: new Float32Array(4_096),
    numbers,
    numberBytes: new Uint8Array(numbers.buffer),
    texts: Buffer.allocUnsafeSlow(4_096),
    textBytes: 0,
  }
}

/** Empties the sheet for so many rows of these columns. */
export function beginSheet(sheet: Sheet, columns: Columns, rows: number): void {
  sheet.rows = rows
  sheet.routingKey = sheet.callerId = sheet.wanted = undefined
  sheet.textBytes = 0
  if (sheet.input.length < rows * columns.width) sheet.input = new Float32Array(rows * columns.width)
  if (sheet.numbers.length < rows * columns.numbers) {
    sheet.numbers = new Float32Array(rows * columns.numbers)
    sheet.numberBytes = new Uint8Array(sheet.numbers.buffer)
  }
}

/** Writes down what a checked row said. */
export function keepRow(sheet: Sheet, { all, numbers }: Columns, row: Row, index: number): void {
  for (let i = 0; i < all.length; i++) {
    const column = all[i]!
    const value = row[column.name]
    if (column.kind === 'category') keepText(sheet, typeof value === 'string' ? value : undefined)
    else sheet.numbers[index * numbers + column.slot] = typeof value === 'number' ? value : NaN
  }
}

export function keepText(sheet: Sheet, text: string | undefined): void {
  const bytes = text === undefined ? 0 : Buffer.byteLength(text)
  const at = roomForText(sheet, bytes)
  sheet.texts.writeUInt32LE(text === undefined ? noText : bytes, at)
  if (text !== undefined) sheet.texts.write(text, at + 4)
  sheet.textBytes = at + 4 + bytes
}

/** The same from bytes that are text already. */
export function keepTextBytes(sheet: Sheet, from: Uint8Array, start: number, end: number): void {
  const at = roomForText(sheet, end - start)
  const { texts } = sheet
  texts.writeUInt32LE(end - start, at)
  for (let i = start, to = at + 4; i < end; i++) texts[to++] = from[i]!
  sheet.textBytes = at + 4 + end - start
}

function roomForText(sheet: Sheet, bytes: number): number {
  const need = sheet.textBytes + 4 + bytes
  if (need > sheet.texts.byteLength) {
    const more = Buffer.allocUnsafeSlow(Math.max(need, sheet.texts.byteLength * 2))
    more.set(sheet.texts.subarray(0, sheet.textBytes))
    sheet.texts = more
  }
  return sheet.textBytes
}
