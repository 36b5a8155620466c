import type { FeatureFit } from '@tenure/predictors/features'
import { expect, it } from 'vitest'
import { readLoggedRows } from '../../../domain/model/logged-rows.ts'
import { rowLogger } from '../../../store/serving/log-policy.ts'

const fits: FeatureFit[] = [
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
  { name: 'colour', kind: 'category', vocabulary: [] },
  { name: 'age', kind: 'number', mean: 0, std: 1, fill: 0 },
]
const rows = [
  { size: 0.1, colour: 'röd', age: null },
  { size: -3, colour: null, age: 1234.567 },
  { size: 5, colour: '', age: 0 },
  { size: 1e-30, colour: 'blå', age: 16777216 },
]
const text = (value: string | null) => {
  const bytes = Buffer.from(value ?? '')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value === null ? 0xff_ff_ff_ff : bytes.length)
  return Buffer.concat([length, bytes])
}
const bytes = Buffer.concat([
  Buffer.from(Float32Array.from(rows.flatMap(({ size, age }) => [size, age ?? NaN])).buffer),
  ...rows.map(({ colour }) => text(colour)),
])

it('logged rows have the numbers that were sent, to seven digits, and their texts', () =>
  expect(readLoggedRows(bytes, fits, rows.length)).toEqual(rows))

it('a row that is written for the log is read again as it was', () =>
  expect(
    rows.flatMap((row) => readLoggedRows(rowLogger({ features: {}, preprocessing: fits })(row), fits, 1)),
  ).toEqual(rows))

it('inputs of which bytes are gone are not read', () => {
  for (let length = 0; length < bytes.length; length++)
    expect(readLoggedRows(bytes.subarray(0, length), fits, rows.length), `${length} bytes`).toBeUndefined()
})
