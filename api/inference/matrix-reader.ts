/** Reads rows of numbers directly into the input buffer, which is the most frequent kind of request. */
import { scaled } from '../../domain/model/preprocessing.ts'
import type { FeatureColumns } from '../serving/codec/feature-columns.ts'
import type { InputBuffer } from '../serving/codec/input-buffer.ts'
import type { Value } from './tensors.ts'

/** False when a value is not finite or the model has other features; the row reader then reports which, or imputes. */
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
  // A number less itself is zero, unless it is not finite: as a network reads it and the log keeps it, in 32 bits.
  let odd = 0
  for (let i = 0; i < width; i++) {
    const [mean, std] = [means[i]!, stds[i]!]
    // Each number is one input here; its place in a row is that of the model file.
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
