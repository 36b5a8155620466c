/** Lowers the operators that rename, select and arrange the columns of a row. Operators that do not move numbers take no time. */
import { addConstant, type RowView } from '../../../network/row-program.ts'
import { addCopy, type RowFunction } from '../../../network/row-steps.ts'
import { constantOfNode, floatType } from './constants.ts'
import { doublesIn, inMemory, valueOfDoubles } from './doubles/double-operators.ts'
import { embedding } from './embedding-operators.ts'
import { replaced } from './replacement.ts'
import {
  givenList,
  isRowOfFloats,
  noBuffer,
  shortList,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Returns the same numbers under another name. */
function renamed(
  { isLastUse }: OperatorContext,
  from: RowValue,
  more: Partial<RowValue> = {},
): readonly [RowValue] {
  return [isLastUse(0) ? { ...from, ...more } : { ...from, isOwn: false, dense: undefined, ...more }]
}

const identity: RowOperator = (context) => {
  const from = context.value(0)
  return from && renamed(context, from)
}

const [toFloat, toInt64, toBool, toDouble] = [1, 7, 9, 11]

const [leastWhole, wholeLimit] = [-(2 ** 63), 2 ** 63]
const cutOff: RowFunction = (values, offset, count) => {
  for (let i = offset; i < offset + count; i++) {
    const x = values[i]!
    values[i] = Math.abs(x) < wholeLimit ? Math.trunc(x) : leastWhole
  }
}

const cast: RowOperator = (context) => {
  const from = context.value(0)
  const to = context.attributes.whole('to')
  if (from === undefined || from.type === 'text') return undefined
  if (to === toFloat)
    return renamed(context, inMemory(context.program, from), {
      type: 'float',
      doubles: undefined,
      stored: undefined,
    })
  // Integer columns, which scikit-learn encodes as categories.
  if (to === toInt64 && from.type === 'whole') return renamed(context, from)
  if (to === toBool && from.type === 'bool') return renamed(context, from)
  // Cut off as the processor does, which turns what has no whole number of 64 bits into the least one. Only what is exact keeps its whole number.
  if (to === toInt64 && from.type === 'float' && from.isExact)
    return replaced(context, from, { apply: cutOff, isExact: true }).map((cut) => ({ ...cut, type: 'whole' }))
  if (to !== toDouble || from.type === 'bool') return undefined
  if (from.type === 'double') return renamed(context, from)
  return renamed(context, from, { type: 'double', doubles: from.doubles ?? doublesIn(from) })
}

const flatten: RowOperator = (context) => {
  const from = context.value(0)
  if (from === undefined || (context.attributes.whole('axis') ?? 1) !== 1) return undefined
  return renamed(context, from, { tail: [from.width] })
}

/** Reshapes a value that keeps its number of rows. */
const reshape: RowOperator = (context) => {
  const from = context.value(0)
  const shape = shortList(context.constant(1))
  if (from === undefined || shape === undefined || shape.length === 0 || shape.length > 4) return undefined
  if (context.attributes.whole('allowzero') === 1) return undefined
  const [rows, ...given] = shape
  // A 0 after the rows keeps the dimension at its position.
  const tail = given.map((dim, at) => (dim === 0 ? (from.tail[at] ?? 0) : dim))
  const open = tail.indexOf(-1)
  if (rows === 0 && open >= 0) tail[open] = -from.width / tail.reduce((size, dim) => size * dim, 1)
  else if (rows !== -1 && rows !== 0) return undefined
  if (
    tail.reduce((size, dim) => size * dim, 1) !== from.width ||
    tail.some((dim) => !(Number.isInteger(dim) && dim >= 1))
  )
    return undefined
  return renamed(context, from, { tail })
}

function axesOf(context: OperatorContext): number[] | undefined {
  const axes = givenList(context, 'axes', 1)
  return axes === undefined || axes.length === 0 ? undefined : [...axes]
}

const squeeze: RowOperator = (context) => {
  const from = context.value(0)
  const axes = axesOf(context)
  if (from === undefined || axes === undefined) return undefined
  const rank = from.tail.length + 1
  const places = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)))
  if ([...places].some((place) => from.tail[place - 1] !== 1)) return undefined
  return renamed(context, from, { tail: from.tail.filter((_, at) => !places.has(at + 1)) })
}

const unsqueeze: RowOperator = (context) => {
  const from = context.value(0)
  const axes = axesOf(context)
  if (from?.tail.length !== 0 || axes?.length !== 1 || (axes[0] !== 1 && axes[0] !== -1)) return undefined
  return renamed(context, from, { tail: [1] })
}

/** Whether this is the last dimension of a value, and the only one with more than one number. */
function isLastAxis({ tail }: RowValue, axis: number | undefined): boolean {
  const isLast = axis === -1 || axis === tail.length
  return isLast && tail.length > 0 && tail.slice(0, -1).every((dim) => dim === 1)
}

const concat: RowOperator = ({ node, attributes, value, program }) => {
  const parts = node.inputs.map((_, input) => value(input))
  const axis = attributes.whole('axis')
  const [first] = parts
  if (first === undefined || first.type === 'text') return undefined
  const isSame = (part: RowValue | undefined): part is RowValue =>
    part?.type === first.type && part.tail.length === first.tail.length && isLastAxis(part, axis)
  if (!parts.every(isSame)) return undefined
  const width = parts.reduce((sum, part) => sum + part.width, 0)
  const more = {
    type: first.type,
    tail: [...first.tail.slice(0, -1), width],
    isExact: parts.every(({ isExact }) => isExact),
    doubles: first.type === 'float' ? undefined : parts.flatMap((part) => part.doubles ?? doublesIn(part)),
  }
  if (more.doubles !== undefined && parts.some(({ buffer }) => buffer === noBuffer))
    return [valueOfDoubles(more.doubles, more)]
  const joined = joinedViews(parts)
  const [only] = joined
  if (only !== undefined && joined.length === 1)
    return [{ ...valueIn(only.buffer, width, more), column: only.column, isOwn: false }]
  return [valueIn(addCopy(program, joined), width, more)]
}

/** Merges columns that are already adjacent into one view. */
function joinedViews(parts: readonly RowView[]): RowView[] {
  const joined: RowView[] = []
  for (const { buffer, column, width } of parts) {
    const last = joined.at(-1)
    if (last?.buffer === buffer && last.column + last.width === column) last.width += width
    else joined.push({ buffer, column, width })
  }
  return joined
}

/** Selects columns of a value, in any order. Undefined for several texts. */
function chosen(
  program: OperatorContext['program'],
  from: RowValue,
  places: readonly number[],
): RowValue | undefined {
  if (from.width === 1 && places.length === 1) return partOf(from, 0, 1)
  if (from.type === 'text') return undefined
  const more = {
    type: from.type,
    tail: [...from.tail.slice(0, -1), places.length],
    isExact: from.isExact,
    doubles: from.doubles && places.map((place) => from.doubles![place]!),
  }
  if (more.doubles !== undefined && from.buffer === noBuffer) return valueOfDoubles(more.doubles, more)
  const views = places.map((place) => ({
    buffer: from.buffer,
    column: from.column + place,
    width: 1,
  }))
  const joined = joinedViews(views)
  const [only] = joined
  const width = places.length
  if (only !== undefined && joined.length === 1)
    return { ...valueIn(only.buffer, width, more), column: only.column, isOwn: false }
  return valueIn(addCopy(program, joined), width, more)
}

/** Returns column indices; negative ones count from the last column. Undefined when a column does not exist. */
function placesOf(given: ArrayLike<number> | undefined, width: number): number[] | undefined {
  if (given === undefined || given.length === 0) return undefined
  const places = Array.from(given, (place) => (place < 0 ? place + width : place))
  return places.every((place) => place >= 0 && place < width) ? places : undefined
}

const gather: RowOperator = (context) => {
  const { attributes, value, constant, program } = context
  const [from, indices] = [value(0), constant(1)]
  if (from === undefined) return embedding(context)
  if (indices === undefined || indices.dims.length > 1) return undefined
  if (!isLastAxis(from, attributes.whole('axis') ?? 0)) return undefined
  const places = placesOf(shortList(indices), from.width)
  const found = places && chosen(program, from, places)
  if (found === undefined) return undefined
  return [indices.dims.length === 1 ? found : { ...found, tail: from.tail.slice(0, -1) }]
}

const arrayFeatureExtractor: RowOperator = ({ value, constant, program }) => {
  const [from, indices] = [value(0), constant(1)]
  if (from?.tail.length !== 1) return undefined
  const places = shortList(indices)
  const known = places?.every((place) => place >= 0) === true ? placesOf(places, from.width) : undefined
  const found = known && chosen(program, from, known)
  return found && [found]
}

const slice: RowOperator = (context) => {
  const from = context.value(0)
  if (from === undefined || from.type === 'text') return undefined
  const [starts, ends, axes, steps] = ['starts', 'ends', 'axes', 'steps'].map((name, at) =>
    givenList(context, name, at + 1),
  )
  if (starts?.length !== 1 || ends?.length !== 1 || axes?.length !== 1 || steps === undefined)
    return undefined
  if (!isLastAxis(from, axes[0]!) || (steps[0] ?? 1) !== 1) return undefined
  const { width } = from
  const placeOf = (given: number): number => Math.min(width, Math.max(0, given < 0 ? given + width : given))
  const [first, end] = [placeOf(starts[0]!), placeOf(ends[0]!)]
  return end > first ? [partOf(from, first, end - first)] : undefined
}

const partOf = (from: RowValue, first: number, width: number): RowValue => ({
  ...from,
  column: from.column + first,
  width,
  tail: [...from.tail.slice(0, -1), width],
  isOwn: false,
  dense: undefined,
  doubles: from.doubles?.slice(first, first + width),
  stored: undefined,
})

const split: RowOperator = (context) => {
  const { node, attributes, value } = context
  const from = value(0)
  if (from === undefined || from.type === 'text' || !isLastAxis(from, attributes.whole('axis') ?? 0))
    return undefined
  const count = node.outputs.length
  const given = givenList(context, 'split', 1)
  if (given === undefined || (attributes.whole('num_outputs') ?? count) !== count) return undefined
  const sizes = given.length > 0 ? [...given] : Array.from({ length: count }, () => from.width / count)
  if (sizes.length !== count || !sizes.every((size) => Number.isInteger(size) && size > 0)) return undefined
  if (sizes.reduce((sum, size) => sum + size, 0) !== from.width) return undefined
  let first = 0
  return sizes.map((size) => {
    first += size
    return partOf(from, first - size, size)
  })
}

/** Makes a list of equal numbers for each row, of the shape of another value. */
const constantOfShape: RowOperator = ({ node, attributes, sizes, program }) => {
  const [rows, columns, ...others] = sizes(0)?.values ?? []
  if (rows?.hasRows !== true || rows.times !== 1 || columns === undefined || others.length > 0)
    return undefined
  const width = columns.times
  if (columns.hasRows || !(width >= 1 && width <= maxEqual)) return undefined
  const given = constantOfNode(attributes, node.attributes.get('value'))
  if (!(given === undefined || (given.type === floatType && given.size === 1))) return undefined
  const number = given?.values()?.[0] ?? 0
  const buffer = addConstant(program, new Float32Array(width).fill(number))
  return [valueIn(buffer, width, { isExact: true, isOwn: false })]
}
const maxEqual = 10_000

export const shapeOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Identity': identity,
  // Dropout does nothing outside training.
  'ai.onnx:Dropout': (context) =>
    (context.node.inputs[2] ?? '') === '' && isRowOfFloats(context.value(0)) ? identity(context) : undefined,
  'ai.onnx:Cast': cast,
  'ai.onnx:Flatten': flatten,
  'ai.onnx:Reshape': reshape,
  'ai.onnx:Squeeze': squeeze,
  'ai.onnx:Unsqueeze': unsqueeze,
  'ai.onnx:Concat': concat,
  'ai.onnx:Slice': slice,
  'ai.onnx:Split': split,
  'ai.onnx:Gather': gather,
  'ai.onnx:ConstantOfShape': constantOfShape,
  'ai.onnx.ml:ArrayFeatureExtractor': arrayFeatureExtractor,
}
