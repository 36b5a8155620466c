/** Reads the rows of a request from the bytes of the prediction log; `instance_of` does the same in Postgres, row by row. */
import type { FeatureFit, FeatureRow } from './features.ts'

const nullText = 0xff_ff_ff_ff

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
        const end = textAt + 4 + (length === nullText ? 0 : length)
        if (end > view.byteLength) return undefined
        row[name] = length === nullText ? null : utf8.decode(features.subarray(textAt + 4, end))
        textAt = end
      }
    }
    rows.push(row)
  }
  return rows
}

const utf8 = new TextDecoder()

/** The double with the fewest digits that rounds to this 32-bit number: 0.1 was sent, but 0.10000000149 is logged. */
function shortestDouble(value: number): number {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 24) return value
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return Number(value.toPrecision(9))
}
