/**
 * Checks the values of one row and writes them into the input buffer, both as sent and as the model reads them. No object is made for the
 * row: one with 10,000 fields takes several microseconds a value.
 */
import { writeHeld } from '@tenure/predictors/features'
import type { CategoryColumn, FeatureColumns, NumberColumn } from './feature-columns.ts'
import { writeTextValue, type InputBuffer } from './input-buffer.ts'
import type { FeatureCheck } from './row-reader.ts'
import { DomainError, quotedName } from '../../../domain/errors.ts'
import { scaled } from '../../../domain/model/preprocessing.ts'

export interface CellReader {
  /** The features as they are declared; of several wrong values, that of the first is reported. */
  names: readonly string[]
  /** Whether the value at each place may be missing. */
  fillable: readonly boolean[]
  /** The position of the value at each place in a row without names, which has the order of the model file; undefined for a computed one. */
  positions: readonly (number | undefined)[]
  /** Reads the row at an index. `valueAt` returns the value of a feature by its place in `names`. Throws the error of a wrong value. */
  read(valueAt: (place: number) => unknown, index: number, input: InputBuffer): void
}

/** Returns the reader of rows that have these columns. */
export function compileCells(columns: FeatureColumns, checks: ReadonlyMap<string, FeatureCheck>): CellReader {
  const byName = new Map(columns.all.map((column) => [column.name, column]))
  const cells = [...checks].map(([name, check]) => ({ check, column: byName.get(name)! }))
  // Written in the order of the columns, which may differ from that of the features.
  const texts: (string | null)[] = Array.from({ length: columns.texts }, () => null)
  const positions = new Map(columns.listed.map(({ name }, position) => [name, position]))
  return {
    names: [...checks.keys()],
    fillable: cells.map(({ column }) => column.fillable),
    positions: cells.map(({ column }) => positions.get(column.name)),
    read(valueAt, index, input) {
      if (!columns.numeric) input.input.fill(0, index * columns.width, (index + 1) * columns.width)
      for (let place = 0; place < cells.length; place++) {
        const { check, column } = cells[place]!
        const value = check(valueAt(place), index)
        if (column.kind === 'number') putNumber(column, columns, input, index, value as number | null)
        else {
          texts[column.slot] = value as string | null
          putCategory(column, columns, input, index, value as string | null)
        }
      }
      for (const text of texts) writeTextValue(input, text ?? undefined)
    },
  }
}

/** Writes a number, or one that is filled, as it was sent and as the model reads it. */
export function putNumber(
  { slot, start, mean, std, low, high, fill, unread }: NumberColumn,
  { numbers, width, computed }: FeatureColumns,
  input: InputBuffer,
  row: number,
  value: number | null,
): void {
  const isFilled = value === null || value < low || value > high
  input.numbers[row * numbers + slot] = value ?? NaN
  if (computed.length > 0) input.doubles[row * numbers + slot] = value ?? NaN
  if (!unread) input.input[row * width + start] = scaled(isFilled ? fill : value, mean, std)
}

/** Encodes a category as `compileEncoder` does. The inputs of the row are zeros before. Throws `wrong_type` for an image that the model does not take. */
export function putCategory(
  { name, encoding, start, other, places, reportsUnknown, held }: CategoryColumn,
  { width }: FeatureColumns,
  input: InputBuffer,
  row: number,
  value: string | null,
): void {
  const place = value === null ? undefined : places.get(value)
  if (place === undefined && value !== null && reportsUnknown) input.unknownTexts++
  const offset = row * width + start
  if (encoding === 'one-hot') input.input[offset + (place ?? other)] = 1
  else if (encoding === 'code') input.input[offset] = place ?? NaN
  else if (held !== undefined) {
    const issue = writeHeld(value, held, input.input, offset)
    if (issue !== undefined)
      throw new DomainError('wrong_type', `instance ${row}: feature ${quotedName(name)} ${issue}`)
  }
}
