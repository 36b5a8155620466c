/** Reads and writes the rows of a request as the bytes of the prediction log; `instance_of` reads them in Postgres, row by row. */
import { type FeatureFit, noText } from '@tenure/predictors/features'
import type { FeatureRow } from './features.ts'

/**
 * The instances of a request in the order of their ids, read from the 32-bit numbers and the texts that follow them. Undefined when the
 * bytes are incomplete, as for a request whose inputs were removed.
 */
export function readLoggedRows(
  features: Uint8Array,
  fits: readonly FeatureFit[],
  instances: number,
): FeatureRow[] | undefined {
  const view = new DataView(features.buffer, features.byteOffset, features.byteLength)
  const numbers = fits.filter(({ kind }) => kind === 'number').length
  let numberAt = 0
  let textAt = instances * numbers * 4
  const rows: FeatureRow[] = []
  for (let instance = 0; instance < instances; instance++) {
    const row: FeatureRow = {}
    for (const { name, kind } of fits) {
      if (kind === 'number') {
        if (numberAt + 4 > view.byteLength) return undefined
        const value = view.getFloat32(numberAt, true)
        row[name] = Number.isFinite(value) ? shortestDouble(value) : null
        numberAt += 4
      } else {
        if (textAt + 4 > view.byteLength) return undefined
        const length = view.getUint32(textAt, true)
        const end = textAt + 4 + (length === noText ? 0 : length)
        if (end > view.byteLength) return undefined
        row[name] = length === noText ? null : utf8.decode(features.subarray(textAt + 4, end))
        textAt = end
      }
    }
    rows.push(row)
  }
  return rows
}

const utf8 = new TextDecoder()

/** The bytes of a request of one row. Only the numbers are rounded to 32 bits. */
export function loggedRowOf(row: FeatureRow, fits: readonly FeatureFit[]): Uint8Array {
  const numbers = fits.filter(({ kind }) => kind === 'number').map(({ name }) => row[name])
  const texts = fits
    .filter(({ kind }) => kind !== 'number')
    .map(({ name }) => (row[name] == null ? undefined : encoder.encode(String(row[name]))))
  const textBytes = texts.reduce((sum, text) => sum + 4 + (text?.byteLength ?? 0), 0)
  const bytes = new Uint8Array(numbers.length * 4 + textBytes)
  const view = new DataView(bytes.buffer)
  numbers.forEach((value, slot) => view.setFloat32(slot * 4, typeof value === 'number' ? value : NaN, true))
  let at = numbers.length * 4
  for (const text of texts) {
    view.setUint32(at, text?.byteLength ?? noText, true)
    if (text !== undefined) bytes.set(text, at + 4)
    at += 4 + (text?.byteLength ?? 0)
  }
  return bytes
}

const encoder = new TextEncoder()

/** The double with the fewest digits that rounds to this 32-bit number: 0.1 was sent, but 0.10000000149 is logged. */
function shortestDouble(value: number): number {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 24) return value
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return Number(value.toPrecision(9))
}
