/**
 * Lowers the operators that rename, select and arrange the numbers of values with several dimensions, such as the tokens and heads of
 * attention. Most only change the list of places of a value.
 */
import { addConstant } from '../../../../network/row-program.ts'
import { addCopy } from '../../../../network/row-steps.ts'
import { arranged, inOrder, takesPlaces, transposed } from './arrangement.ts'
import { floatType, type Dim } from '../constants.ts'
import {
  axisOf,
  broadcastConstant,
  placesBy,
  repeatedStrides,
  reshaped,
  shaped,
  shapeOfRows,
  elementsIn,
  stridesOf,
  type RowShape,
} from './row-shape.ts'
import {
  finiteNumbers,
  givenList,
  maxRowWork,
  noBuffer,
  shortList,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'

/** Returns an input whose numbers are in memory and can be arranged. */
function movable(context: OperatorContext, input = 0): RowValue | undefined {
  const from = context.value(input)
  return from === undefined || from.type === 'text' || from.type === 'double' || from.buffer === noBuffer
    ? undefined
    : from
}

/** Returns the same numbers in another shape. */
function reshapedTo({ isLastUse }: OperatorContext, from: RowValue, shape: RowShape | undefined) {
  if (shape === undefined) return undefined
  return [{ ...from, isOwn: from.isOwn && isLastUse(0), dense: undefined, ...shaped(shape) }]
}

const transpose: RowOperator = (context) => {
  const from = movable(context)
  if (from === undefined) return undefined
  const shape = shapeOfRows(from)
  const { dims } = shape
  const given = context.attributes.longs('perm')
  const order = given.length > 0 ? [...given] : dims.map((_, at) => dims.length - 1 - at)
  if (order.length !== dims.length || new Set(order).size < order.length) return undefined
  if (!order.every((place) => axisOf(shape, place) === place) || !takesPlaces(context.program, from.width))
    return undefined
  return [transposed(from, shape, { order, isOwn: from.isOwn && context.isLastUse(0) })]
}

/** Returns the dimensions that an input lists. */
function dimsIn(context: OperatorContext, input: number): readonly Dim[] | undefined {
  const sizes = context.sizes(input)
  if (sizes !== undefined) return sizes.dims.length === 1 ? sizes.values : undefined
  const list = shortList(context.constant(input))
  return list && Array.from(list, (times) => ({ times, hasRows: false }))
}

const reshape: RowOperator = (context) => {
  const from = movable(context)
  const wanted = dimsIn(context, 1)
  if (from === undefined || wanted === undefined) return undefined
  const allowsZero = context.attributes.whole('allowzero') === 1
  return reshapedTo(context, from, reshaped(shapeOfRows(from), wanted, allowsZero))
}

const flatten: RowOperator = (context) => {
  const from = movable(context)
  const shape = from && shapeOfRows(from)
  if (shape?.axis !== 0 || (context.attributes.whole('axis') ?? 1) !== 1) return undefined
  const [first = 1] = shape.dims
  return reshapedTo(context, from!, { ...shape, dims: [first, from!.width / first] })
}

const squeeze: RowOperator = (context) => {
  const from = movable(context)
  const axes = givenList(context, 'axes', 1)
  if (from === undefined || axes === undefined || axes.length === 0) return undefined
  const shape = shapeOfRows(from)
  const places = new Set(Array.from(axes, (axis) => axisOf(shape, axis)))
  if ([...places].some((place) => place === undefined || place === shape.axis || shape.dims[place] !== 1))
    return undefined
  const dims = shape.dims.filter((_, at) => !places.has(at))
  const axis = shape.axis - [...places].filter((place) => place! < shape.axis).length
  return reshapedTo(context, from, { ...shape, dims, axis })
}

const unsqueeze: RowOperator = (context) => {
  const from = movable(context)
  const axes = givenList(context, 'axes', 1)
  if (from === undefined || axes === undefined || axes.length === 0 || axes.length > 4) return undefined
  const shape = shapeOfRows(from)
  const rank = shape.dims.length + axes.length
  const places = new Set(Array.from(axes, (axis) => (axis < 0 ? axis + rank : axis)))
  if (rank > 8 || places.size < axes.length || ![...places].every((place) => place >= 0 && place < rank))
    return undefined
  const dims: number[] = []
  let [axis, next] = [0, 0]
  for (let at = 0; at < rank; at++) {
    if (places.has(at)) dims.push(1)
    else {
      if (next === shape.axis) axis = at
      dims.push(shape.dims[next++]!)
    }
  }
  return reshapedTo(context, from, { ...shape, dims, axis })
}

/** Repeats numbers along dimensions; a constant is repeated for every row. */
const expand: RowOperator = (context) => {
  const { program } = context
  const wanted = dimsIn(context, 1)
  const from = movable(context) ?? constantValue(context, wanted)
  if (from === undefined || wanted === undefined) return undefined
  const shape = shapeOfRows(from)
  const rows = wanted.findIndex(({ hasRows }) => hasRows)
  const given = wanted.map(({ times, hasRows }) => (hasRows ? 1 : times))
  const full = broadcastConstant(shape, given)
  // The rows may only be listed at their own place.
  const isListed = rows < 0 || rows + (full?.dims.length ?? 0) - wanted.length === full?.axis
  if (full === undefined || !isListed || (rows >= 0 && wanted[rows]!.times !== full.dims[full.axis]))
    return undefined
  const width = elementsIn(full.dims)
  if (width === from.width) return reshapedTo(context, from, full)
  if (!takesPlaces(program, width)) return undefined
  return [arranged(from, full, placesBy(full.dims, repeatedStrides(shape.dims, full.dims.length)))]
}

/** Returns a constant as the same numbers of every row, for dimensions of which the first counts the rows. */
function constantValue(
  { program, constant }: OperatorContext,
  wanted: readonly Dim[] | undefined,
): RowValue | undefined {
  const given = constant(0)
  if (given?.type !== floatType || wanted?.[0]?.hasRows !== true || wanted[0].times !== 1) return undefined
  if (given.dims.length >= wanted.length && given.dims[0] !== 1) return undefined
  const values = given.dims.length <= wanted.length ? finiteNumbers(given, maxRowWork) : undefined
  if (values === undefined || values.length === 0) return undefined
  const dims = [...Array<number>(wanted.length - given.dims.length).fill(1), ...given.dims]
  const buffer = addConstant(program, Float32Array.from(values))
  const shape = shaped({ dims, axis: 0, before: 1 })
  return valueIn(buffer, values.length, { ...shape, isExact: true, isOwn: false })
}

/** Selects places along one dimension. */
function selected(
  { program }: OperatorContext,
  from: RowValue,
  { axis, chosen }: { axis: number; chosen: readonly number[] },
): RowValue | undefined {
  const shape = shapeOfRows(from)
  const width = (from.width / shape.dims[axis]!) * chosen.length
  if (!takesPlaces(program, width)) return undefined
  const strides = stridesOf(shape.dims)
  const inner = strides[axis]!
  const outer = from.width / (inner * shape.dims[axis]!)
  const places = new Int32Array(width)
  let filled = 0
  for (let block = 0; block < outer; block++)
    for (const place of chosen)
      for (let k = 0; k < inner; k++) places[filled++] = (block * shape.dims[axis]! + place) * inner + k
  return arranged(from, { ...shape, dims: shape.dims.toSpliced(axis, 1, chosen.length) }, places)
}

/** Returns an axis that does not count the rows. */
function ownAxis(from: RowValue, given: number): number | undefined {
  const shape = shapeOfRows(from)
  const axis = axisOf(shape, given)
  return axis === shape.axis ? undefined : axis
}

const slice: RowOperator = (context) => {
  const from = movable(context)
  const [starts, ends, axes, steps] = ['starts', 'ends', 'axes', 'steps'].map((name, at) =>
    givenList(context, name, at + 1),
  )
  if (from === undefined || starts?.length !== 1 || ends?.length !== 1 || axes?.length !== 1) return undefined
  const axis = ownAxis(from, axes[0]!)
  if (axis === undefined || steps === undefined || (steps[0] ?? 1) !== 1) return undefined
  const size = shapeOfRows(from).dims[axis]!
  const placeOf = (given: number): number => Math.min(size, Math.max(0, given < 0 ? given + size : given))
  const [first, end] = [placeOf(starts[0]!), placeOf(ends[0]!)]
  if (!(end > first)) return undefined
  const chosen = Array.from({ length: end - first }, (_, at) => first + at)
  const found = selected(context, from, { axis, chosen })
  return found && [found]
}

const split: RowOperator = (context) => {
  const { node, attributes } = context
  const from = movable(context)
  const axis = from && ownAxis(from, attributes.whole('axis') ?? 0)
  if (from === undefined || axis === undefined) return undefined
  const count = node.outputs.length
  const size = shapeOfRows(from).dims[axis]!
  const given = givenList(context, 'split', 1)
  if (given === undefined || (attributes.whole('num_outputs') ?? count) !== count || count > size)
    return undefined
  const sizes = given.length > 0 ? [...given] : Array.from({ length: count }, () => size / count)
  if (sizes.length !== count || !sizes.every((each) => Number.isInteger(each) && each > 0)) return undefined
  if (sizes.reduce((sum, each) => sum + each, 0) !== size) return undefined
  let first = 0
  return sizes.map((each) => {
    const chosen = Array.from({ length: each }, (_, at) => first + at)
    first += each
    return selected(context, from, { axis, chosen })
  })
}

const gather: RowOperator = (context) => {
  const from = movable(context)
  const indices = context.constant(1)
  const places = shortList(indices)
  const axis = from && ownAxis(from, context.attributes.whole('axis') ?? 0)
  if (from === undefined || axis === undefined || places === undefined || places.length === 0)
    return undefined
  const size = shapeOfRows(from).dims[axis]!
  const chosen = Array.from(places, (place) => (place < 0 ? place + size : place))
  if (indices!.dims.length > 1 || !chosen.every((place) => place >= 0 && place < size)) return undefined
  const found = selected(context, from, { axis, chosen })
  if (found === undefined || indices!.dims.length === 1) return found && [found]
  const shape = shapeOfRows(found)
  const dims = shape.dims.toSpliced(axis, 1)
  return [{ ...found, ...shaped({ ...shape, dims, axis: shape.axis - (axis < shape.axis ? 1 : 0) }) }]
}

/** Joins values along one dimension, which takes a copy of each. */
const concat: RowOperator = (context) => {
  const { node, attributes, program } = context
  const parts = node.inputs.map((_, input) => movable(context, input))
  const [first] = parts
  const axis = first && ownAxis(first, attributes.whole('axis') ?? NaN)
  if (first === undefined || axis === undefined) return undefined
  const shape = shapeOfRows(first)
  const isSame = (part: RowValue | undefined): part is RowValue => {
    if (part === undefined || part.type !== first.type || part.doubles !== undefined) return false
    const other = shapeOfRows(part)
    return (
      other.axis === shape.axis &&
      other.before === shape.before &&
      other.dims.length === shape.dims.length &&
      other.dims.every((dim, at) => at === axis || dim === shape.dims[at])
    )
  }
  if (!parts.every(isSame)) return undefined
  const total = parts.reduce((sum, part) => sum + shapeOfRows(part).dims[axis]!, 0)
  const dims = shape.dims.toSpliced(axis, 1, total)
  if (!takesPlaces(program, elementsIn(dims))) return undefined
  return joined(context, parts, { shape: { ...shape, dims }, axis })
}

/** Copies the parts one after the other; their numbers are then at other places than those of the joined value. */
function joined(
  { program }: OperatorContext,
  parts: readonly RowValue[],
  { shape, axis }: { shape: RowShape; axis: number },
): RowValue[] {
  const buffer = addCopy(
    program,
    parts.map((part) => inOrder(program, part)),
  )
  const outer = elementsIn(shape.dims.slice(0, axis))
  const places = new Int32Array(elementsIn(shape.dims))
  let filled = 0
  for (let block = 0; block < outer; block++) {
    let first = 0
    for (const part of parts) {
      const run = part.width / outer
      for (let k = 0; k < run; k++) places[filled++] = first + block * run + k
      first += part.width
    }
  }
  const isExact = parts.every((part) => part.isExact)
  const value = valueIn(buffer, places.length, { type: parts[0]!.type, isExact })
  return [arranged(value, shape, places, { isOwn: true })]
}

export const arrangingOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Transpose': transpose,
  'ai.onnx:Reshape': reshape,
  'ai.onnx:Flatten': flatten,
  'ai.onnx:Squeeze': squeeze,
  'ai.onnx:Unsqueeze': unsqueeze,
  'ai.onnx:Expand': expand,
  'ai.onnx:Concat': concat,
  'ai.onnx:Slice': slice,
  'ai.onnx:Split': split,
  'ai.onnx:Gather': gather,
}
