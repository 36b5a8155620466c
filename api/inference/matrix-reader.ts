/** Reads rows of numbers directly into the input buffer. This is the most frequent kind of request. */
import { scaled } from '../../domain/model/preprocessing.ts'
import type { FeatureColumns } from '../serving/codec/feature-columns.ts'
import type { InputBuffer } from '../serving/codec/input-buffer.ts'
import type { Value } from './tensors.ts'

/**
 * Returns false when a value is not finite or the model needs other features. The row reader then imputes the value, or reports which
 * feature is wrong.
 */
export function fillMatrix(
  values: ArrayLike<Value>,
  columns: FeatureColumns,
  rows: number,
  input: InputBuffer,
): boolean {
  if (!columns.numeric || columns.guarded) return false
  const count = rows * columns.width
  if (values instanceof Float64Array) return fillFloats(values, count, columns, input)
  const floats = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const value = values[i]
    if (typeof value !== 'number') return false
    floats[i] = value
  }
  return fillFloats(floats, count, columns, input)
}

function fillFloats(
  values: Float64Array,
  count: number,
  { width, places, means, stds }: FeatureColumns,
  { input, numbers }: InputBuffer,
): boolean {
  // A number minus itself is 0 unless it is not finite. Both values are rounded to 32 bits, as the network and the log store them.
  let odd = 0
  for (let i = 0; i < width; i++) {
    const [mean, std] = [means[i]!, stds[i]!]
    // Copies one feature of all rows. The values of a row are in the order of the model file, and `places` maps to it.
    for (let at = i, from = places[i]!; at < count; at += width, from += width) {
      const fed = scaled(values[from]!, mean, std)
      const kept = Math.fround(values[from]!)
      const sum = kept + Math.fround(fed)
      numbers[at] = kept
      input[at] = fed
      odd += sum - sum
    }
  }
  return odd === 0
}
