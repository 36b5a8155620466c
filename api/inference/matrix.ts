/** Rows of numbers alone, straight into the arrays of a sheet: what most callers send most of the time. */
import { scaled } from '../../domain/preprocess.ts'
import type { Columns } from '../serving/columns.ts'
import type { Sheet } from '../serving/sheet.ts'
import type { Value } from './tensors.ts'

/** False when a value is no finite number, or the model has other features: row by row it is then said which. */
export function fillMatrix(
  values: ArrayLike<Value>,
  { numeric, width, means, stds }: Columns,
  rows: number,
  sheet: Sheet,
): boolean {
  if (!numeric) return false
  const { input, numbers } = sheet
  for (let row = 0, at = 0; row < rows; row++)
    for (let i = 0; i < width; i++, at++) {
      const value = values[at]
      if (typeof value !== 'number' || !Number.isFinite(value)) return false
      numbers[at] = value
      input[at] = scaled(value, means[i]!, stds[i]!)
    }
  return true
}
