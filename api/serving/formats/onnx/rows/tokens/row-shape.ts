/**
 * Describes where the rows of a batch are among the dimensions of a value, such as heads of attention beside or merged with the rows. The
 * numbers of one row keep their order whatever the place of the rows, so that most changes of a shape take no time.
 */
import type { Dim } from '../constants.ts'

export interface RowShape {
  /** The dimensions for one row. */
  dims: readonly number[]
  /** The dimension that also counts the rows. */
  axis: number
  /** How many of the numbers of that dimension come before the rows change, in the order of the numbers. */
  before: number
}

/** The maximum number of dimensions. */
const maxRank = 8

/** The part of a value that says its shape: the dimensions after the rows, or all of them. */
interface Shaped {
  tail: readonly number[]
  shape?: RowShape
}

/** Returns the shape of a value, whose rows are the first dimension unless it says otherwise. */
export const shapeOfRows = ({ shape, tail }: Shaped): RowShape =>
  shape ?? { dims: [1, ...tail], axis: 0, before: 1 }

export const elementsIn = (dims: readonly number[]): number => dims.reduce((size, dim) => size * dim, 1)

const isOrdinary = ({ dims, axis }: RowShape): boolean => axis === 0 && dims[0] === 1

/** Returns the fields of a value with this shape. */
export const shaped = (shape: RowShape): Shaped =>
  isOrdinary(shape) ? { tail: shape.dims.slice(1), shape: undefined } : { tail: [], shape }

/** Whether the numbers of a row are consecutive and the rows are the first dimension, as most operators require. */
export const isOrdinaryRow = ({ shape, places }: Shaped & { places?: Int32Array }): boolean =>
  shape === undefined && places === undefined

/** Returns an axis counted from the first dimension; undefined when the value does not have it. */
export function axisOf({ dims }: RowShape, given: number): number | undefined {
  const axis = given < 0 ? given + dims.length : given
  return Number.isInteger(axis) && axis >= 0 && axis < dims.length ? axis : undefined
}

/** Returns the shape after a reshape; undefined when it would move numbers between rows, or fits one number of rows only. */
export function reshaped(from: RowShape, wanted: readonly Dim[], allowsZero: boolean): RowShape | undefined {
  if (wanted.length === 0 || wanted.length > maxRank) return undefined
  const isCopied = (dim: Dim): boolean => dim.times === 0 && !dim.hasRows
  if (allowsZero && wanted.some(isCopied)) return undefined
  const dims = wanted.map((dim, at) => (isCopied(dim) ? from.dims[at] : dim.times))
  const open = wanted.findIndex(({ times, hasRows }) => times === -1 && !hasRows)
  const named = wanted.findIndex((dim, at) => dim.hasRows || (isCopied(dim) && at === from.axis))
  const axis = named >= 0 ? named : open
  if (axis < 0 || wanted.filter(({ hasRows }) => hasRows).length > 1) return undefined
  const width = elementsIn(from.dims)
  if (open >= 0) dims[open] = -width / dims.reduce<number>((size, dim) => size * (dim ?? NaN), 1)
  if (!dims.every((dim): dim is number => Number.isInteger(dim) && dim! >= 1) || elementsIn(dims) !== width)
    return undefined
  const outer = elementsIn(from.dims.slice(0, from.axis)) * from.before
  const before = outer / elementsIn(dims.slice(0, axis))
  // The rows must stay at their place among the numbers.
  if (!Number.isInteger(before) || dims[axis]! % before !== 0) return undefined
  return { dims, axis, before }
}

/** Returns the shape of two values that are combined number by number; undefined when one would be repeated over rows. */
export function broadcast(a: RowShape, b: RowShape): RowShape | undefined {
  const rank = Math.max(a.dims.length, b.dims.length)
  const [left, right] = [withRank(a, rank), withRank(b, rank)]
  if (left.axis !== right.axis || left.before !== right.before || rank > maxRank) return undefined
  if (left.dims[left.axis] !== right.dims[left.axis]) return undefined
  const dims = broadcastDims(left.dims, right.dims)
  return dims && { ...left, dims }
}

/** Returns the shape of a value that is combined with a constant. */
export function broadcastConstant(value: RowShape, given: readonly number[]): RowShape | undefined {
  const rank = Math.max(value.dims.length, given.length)
  const left = withRank(value, rank)
  const right = [...Array<number>(rank - given.length).fill(1), ...given]
  if (right[left.axis] !== 1 || rank > maxRank) return undefined
  const dims = broadcastDims(left.dims, right)
  return dims && { ...left, dims }
}

/** Returns the shape with further dimensions of 1 in front. */
function withRank({ dims, axis, before }: RowShape, rank: number): RowShape {
  const more = rank - dims.length
  return { dims: [...Array<number>(more).fill(1), ...dims], axis: axis + more, before }
}

function broadcastDims(a: readonly number[], b: readonly number[]): number[] | undefined {
  const dims = a.map((dim, at) => (dim === 1 ? b[at]! : dim))
  return dims.every((dim, at) => dim >= 1 && (b[at] === 1 || b[at] === dim)) ? dims : undefined
}

/** Returns how far apart the numbers of each dimension are, when the numbers are consecutive. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = Array<number>(dims.length).fill(1)
  for (let at = dims.length - 2; at >= 0; at--) strides[at] = strides[at + 1]! * dims[at + 1]!
  return strides
}

/** Returns the strides of numbers that are repeated along every dimension in which they are 1, for a shape of this many dimensions. */
export function repeatedStrides(dims: readonly number[], rank: number): number[] {
  const strides = stridesOf(dims).map((stride, at) => (dims[at] === 1 ? 0 : stride))
  return [...Array<number>(rank - dims.length).fill(0), ...strides]
}

/** Returns the place of each number of a shape, in order, from the strides of its dimensions. */
export function placesBy(dims: readonly number[], strides: readonly number[], first = 0): Int32Array {
  const places = new Int32Array(elementsIn(dims))
  places[0] = first
  let filled = 1
  // The last dimension first: each further one repeats what is filled, shifted by its stride.
  for (let at = dims.length - 1; at >= 0; at--) {
    const size = filled
    for (let k = 1; k < dims[at]!; k++)
      for (let i = 0; i < size; i++) places[filled++] = places[i]! + k * strides[at]!
  }
  return places
}
