/**
 * Arranges the numbers of a value in another order. An arrangement is a list of places, which takes no time until an operator needs
 * consecutive numbers; lists of lists become one list.
 */
import { addArrangement } from '../../../../network/arranged-steps.ts'
import type { RowProgram } from '../../../../network/row-program.ts'
import { placesBy, shaped, shapeOfRows, stridesOf, type RowShape } from './row-shape.ts'
import { maxRowWork, valueIn, type RowValue } from '../row-value.ts'

/** The maximum length of all lists of places of a program: 16 MB. */
export const maxPlaces = 4_000_000

/** Counts a list before memory is taken; false when the program may not have it. */
export function takesPlaces(program: RowProgram, count: number): boolean {
  if (!(count <= maxRowWork) || program.placeCount + count > maxPlaces) return false
  program.placeCount += count
  return true
}

/** Returns a value of the numbers at some places of another, in the order of the list. */
export function arranged(
  from: RowValue,
  shape: RowShape,
  places: Int32Array,
  { isOwn = false } = {},
): RowValue {
  const { buffer, column, type, isExact, isCoarse } = from
  const doubles = from.doubles && Array.from(places, (place) => from.doubles![place]!)
  const list = from.places === undefined ? places : places.map((place) => from.places![place]!)
  const value = { buffer, type, isExact, isCoarse, doubles, width: places.length, isOwn, ...shaped(shape) }
  const [first = 0] = list
  // Consecutive numbers need no list.
  return list.every((place, at) => place === first + at)
    ? { ...value, column: column + first }
    : { ...value, column, places: list }
}

/** Returns a value with its dimensions in another order. */
export function transposed(
  from: RowValue,
  { dims, axis, before }: RowShape,
  { order, isOwn = false }: { order: readonly number[]; isOwn?: boolean },
): RowValue {
  const strides = stridesOf(dims)
  const turned = { dims: order.map((place) => dims[place]!), axis: order.indexOf(axis), before }
  const places = placesBy(
    turned.dims,
    order.map((place) => strides[place]!),
  )
  return arranged(from, turned, places, { isOwn })
}

/** Returns a value with its numbers one after the other. */
export function inOrder(program: RowProgram, from: RowValue): RowValue {
  const { places, type, isExact, isCoarse, doubles, width } = from
  if (places === undefined) return from
  const more = { type, isExact, isCoarse, doubles, ...shaped(shapeOfRows(from)) }
  return valueIn(addArrangement(program, from, places), width, more)
}

/** Consecutive numbers of a value along its last dimension. */
interface ValueRuns {
  value: RowValue
  starts: Int32Array
  count: number
}

/** Returns where the numbers of the last dimension begin; undefined when they are not consecutive. */
function startsOf({ places, width }: RowValue, count: number): Int32Array | undefined {
  const starts = Int32Array.from({ length: width / count }, (_, run) => run * count)
  if (places === undefined) return starts
  for (let at = 0; at < width; at++)
    if (at % count > 0 && places[at] !== places[at - 1]! + 1) return undefined
  return starts.map((at) => places[at]!)
}

/** Returns runs along the last dimension, which may be read only. */
export function readableRuns(program: RowProgram, from: RowValue): ValueRuns {
  const count = shapeOfRows(from).dims.at(-1)!
  const starts = startsOf(from, count)
  if (starts !== undefined) return { value: from, starts, count }
  const value = inOrder(program, from)
  return { value, starts: startsOf(value, count)!, count }
}

/** Returns runs along the last dimension that may be changed in place: those of the value if no other operator reads it, else of a copy. */
export function inRuns(program: RowProgram, from: RowValue, { isFree }: { isFree: boolean }): ValueRuns {
  const count = shapeOfRows(from).dims.at(-1)!
  const starts = from.isOwn && isFree ? startsOf(from, count) : undefined
  const changed = { dense: undefined, doubles: undefined }
  if (starts !== undefined) return { value: { ...from, ...changed }, starts, count }
  const places = from.places ?? Int32Array.from({ length: from.width }, (_, at) => at)
  const value = { ...inOrder(program, { ...from, places }), ...changed }
  return { value, starts: startsOf(value, count)!, count }
}
