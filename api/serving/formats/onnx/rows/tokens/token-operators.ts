/**
 * Lowers the operators that compute numbers of values with several dimensions: pairs whose sides are repeated along dimensions, and functions
 * of the numbers along one dimension.
 */
import {
  addRunFunction,
  addRunPairs,
  addRunReduction,
  addSoftmaxes,
  type PairName,
} from '../../../../network/arranged-steps.ts'
import { padded } from '../../../../network/dense-kernel.ts'
import { softmaxes } from '../../../../network/exponentials.ts'
import { addConstant, type RowView } from '../../../../network/row-program.ts'
import { exponentialWork, type RowReduction } from '../../../../network/row-steps.ts'
import { vectorFunctions, type VectorFunction } from '../../../../network/vector-functions.ts'
import { addVectors } from '../../../../network/vector-steps.ts'
import { inRuns, readableRuns, takesPlaces, transposed } from './arrangement.ts'
import { floatType } from '../constants.ts'
import { layerNormalizationOf, reductions } from '../reduction-operators.ts'
import { replaced } from '../replacement.ts'
import {
  axisOf,
  broadcast,
  broadcastConstant,
  placesBy,
  repeatedStrides,
  shaped,
  shapeOfRows,
  elementsIn,
  type RowShape,
} from './row-shape.ts'
import {
  finiteNumbers,
  givenList,
  maxRowWork,
  operatorsOf,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'

/** A side of a pair: numbers, with the dimensions by which they are repeated. */
interface Side {
  value: RowValue
  dims: readonly number[]
}

const pair =
  (name: PairName): RowOperator =>
  (context) => {
    const biased = name === 'add' ? withBias(context) : undefined
    if (biased !== undefined) return biased
    const values = [0, 1].map((input) => context.value(input))
    if (context.node.inputs.length !== 2 || values.some((value) => value && value.type !== 'float'))
      return undefined
    const [a, b] = values
    const scaled = byNumber(context, name)
    if (scaled !== undefined) return scaled
    const shape = a && b ? broadcast(shapeOfRows(a), shapeOfRows(b)) : constantShape(context, a ?? b)
    if (shape === undefined || elementsIn(shape.dims) > maxRowWork) return undefined
    const sides = values.map((value, input) =>
      value === undefined ? constantSide(context, input) : { value, dims: shapeOfRows(value).dims },
    )
    const [left, right] = sides
    if (left === undefined || right === undefined) return undefined
    return paired(context, [left, right], { name, shape })
  }

/** Combines the numbers of a value with one constant number, at their places. */
function byNumber(context: OperatorContext, name: PairName): RowValue[] | undefined {
  const [from, constant] = [context.value(0), context.roundedConstant(1)]
  const isOfFloats = from?.type === 'float' && constant?.type === floatType
  if (!isOfFloats || constant.size !== 1 || constant.dims.length > shapeOfRows(from).dims.length)
    return undefined
  const number = finiteNumbers(constant, 1)?.[0]
  if (number === undefined || name === 'least' || name === 'most') return undefined
  const apply = { of: pairFunctions[name], constants: [number] }
  return replaced(context, from, { apply, isExact: constant.isRounded !== true })
}

const pairFunctions: Readonly<Record<PairName, VectorFunction>> = {
  add: vectorFunctions.sum,
  subtract: vectorFunctions.difference,
  multiply: vectorFunctions.product,
  divide: vectorFunctions.quotient,
  least: vectorFunctions.minimum,
  most: vectorFunctions.maximum,
}

function constantShape(context: OperatorContext, value: RowValue | undefined): RowShape | undefined {
  const constant = context.roundedConstant(0) ?? context.roundedConstant(1)
  return value && constant && broadcastConstant(shapeOfRows(value), constant.dims)
}

function constantSide({ program, roundedConstant }: OperatorContext, input: number): Side | undefined {
  const constant = roundedConstant(input)
  if (constant?.type !== floatType) return undefined
  const values = finiteNumbers(constant, maxRowWork)
  if (values === undefined || values.length === 0) return undefined
  const buffer = addConstant(program, Float32Array.from(values))
  const isExact = constant.isRounded !== true
  return { value: valueIn(buffer, values.length, { isExact, isOwn: false }), dims: constant.dims }
}

function paired(
  { program }: OperatorContext,
  sides: readonly [Side, Side],
  { name, shape }: { name: PairName; shape: RowShape },
): RowValue[] | undefined {
  const { dims } = shape
  const count = dims.at(-1)!
  const outer = dims.slice(0, -1)
  const runs = elementsIn(outer)
  if (!takesPlaces(program, runs * 2)) return undefined
  const [a, b] = sides.map((side) => {
    const last = side.dims.at(-1) ?? 1
    // Consecutive numbers along the last dimension, and where those of each run begin.
    const { value, starts } = readableRuns(program, { ...side.value, ...runShape(side) })
    const own = side.dims.slice(0, -1)
    const places = placesBy(outer, repeatedStrides(own, outer.length))
    return {
      view: value,
      starts: places.map((place) => starts[place]!),
      step: last === 1 ? (0 as const) : (1 as const),
      isExact: side.value.isExact,
    }
  })
  const [left, right] = [a!, b!]
  const isWhole = [left, right].every(
    ({ starts, step }) =>
      (step === 1 || count === 1) && starts.every((start, run) => start === starts[0]! + run * count),
  )
  const wholeView = ({ view, starts }: typeof left): RowView => ({
    buffer: view.buffer,
    column: view.column + starts[0]!,
    width: runs * count,
  })
  const buffer = isWhole
    ? addVectors(program, [wholeView(left), wholeView(right)], { of: pairFunctions[name], work: 1 })
    : addRunPairs(program, [left, right], { name, count })
  return [valueIn(buffer, runs * count, { ...shaped(shape), isExact: left.isExact && right.isExact })]
}

/** The dimensions of a side, for finding its runs. A constant has no rows. */
const runShape = ({ value, dims }: Side): Pick<RowValue, 'shape'> => ({
  shape: value.shape ?? { dims: dims.length === 0 ? [1] : dims, axis: 0, before: 1 },
})

/** Adds a constant to the bias of a dense layer. */
function withBias({ value, roundedConstant, isLastUse }: OperatorContext): RowValue[] | undefined {
  const [sums, bias] = value(0) === undefined ? [1, 0] : [0, 1]
  const [from, constant] = [value(sums), roundedConstant(bias)]
  if (from?.dense === undefined || constant?.type !== floatType || !isLastUse(sums)) return undefined
  const { units } = from.dense
  const isForUnits = constant.dims.length === 1 && constant.size === units
  const numbers =
    isForUnits && shapeOfRows(from).dims.at(-1) === units ? finiteNumbers(constant, units) : undefined
  if (numbers === undefined || from.dense.bias.some((each) => each !== 0)) return undefined
  from.dense.bias.set(numbers)
  return [from]
}

/** Returns whether an axis is given, and the last dimension. Versions differ in what they do without it, and along other dimensions. */
function isAlongLast({ attributes }: OperatorContext, { dims, axis }: RowShape): boolean {
  const given = attributes.whole('axis')
  const last = dims.length - 1
  return axis !== last && (given === -1 || given === last)
}

const softmax: RowOperator = (context) => {
  const from = context.value(0)
  const shape = from && shapeOfRows(from)
  if (from?.type !== 'float' || !isAlongLast(context, shape!)) return undefined
  const { value, starts, count } = inRuns(
    context.program,
    { ...from, shape },
    { isFree: context.isLastUse(0) },
  )
  const pitch = starts.length > 1 ? starts[1]! - starts[0]! : padded(count)
  const isEven = pitch >= padded(count) && starts.every((start, run) => start === starts[0]! + run * pitch)
  const runs = { view: value, starts }
  if (isEven) addSoftmaxes(context.program, runs, { count, pitch })
  else addRunFunction(context.program, runs, { apply: softmaxes, work: exponentialWork, count })
  return [{ ...value, isExact: false, isCoarse: true, ...shaped(shape!) }]
}

const layerNormalization: RowOperator = (context) => {
  const from = context.value(0)
  if (from?.type !== 'float') return undefined
  const { dims, axis } = shapeOfRows(from)
  const given = context.attributes.whole('axis') ?? -1
  const isLast = given === -1 || given === dims.length - 1
  if (!isLast || axis === dims.length - 1) return undefined
  return layerNormalizationOf(context, from, dims.at(-1)!)
}

/** Reduces the numbers along one dimension to one. */
const reduction =
  (of: RowReduction): RowOperator =>
  (context) => {
    const { program, attributes } = context
    const from = context.value(0)
    const axes = givenList(context, 'axes', 1)
    if (from?.type !== 'float' || axes?.length !== 1) return undefined
    const shape = shapeOfRows(from)
    const axis = axisOf(shape, axes[0]!)
    if (axis === undefined || axis === shape.axis || !takesPlaces(program, from.width)) return undefined
    const { value, starts, count } = readableRuns(program, withLast(from, shape, axis))
    const buffer = addRunReduction(program, { view: value, starts }, { of, count })
    const keeps = attributes.whole('keepdims') !== 0
    const dims = keeps ? shape.dims.toSpliced(axis, 1, 1) : shape.dims.toSpliced(axis, 1)
    const rows = shape.axis - (!keeps && axis < shape.axis ? 1 : 0)
    return [valueIn(buffer, starts.length, shaped({ ...shape, dims, axis: rows }))]
  }

/** Returns a value with a dimension moved behind the others. */
function withLast(from: RowValue, { dims, axis: rows, before }: RowShape, axis: number): RowValue {
  const order = [...dims.keys()].filter((place) => place !== axis).concat(axis)
  const turned = { dims: order.map((place) => dims[place]!), axis: order.indexOf(rows), before }
  return { ...transposed(from, { dims, axis: rows, before }, { order }), shape: turned }
}

export const tokenOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Add': pair('add'),
  'ai.onnx:Sub': pair('subtract'),
  'ai.onnx:Mul': pair('multiply'),
  'ai.onnx:Div': pair('divide'),
  'ai.onnx:Min': pair('least'),
  'ai.onnx:Max': pair('most'),
  'ai.onnx:Softmax': softmax,
  'ai.onnx:LayerNormalization': layerNormalization,
  ...operatorsOf(reductions, reduction),
}
