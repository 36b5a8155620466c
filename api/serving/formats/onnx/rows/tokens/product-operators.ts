/**
 * Lowers products of matrices of values with several dimensions: of every token by the same weights, and of two computed values, as in
 * attention.
 */
import {
  addArrangement,
  addProducts,
  addSharedDense,
  packedPlaces,
  type Matrices,
} from '../../../../network/arranged-steps.ts'
import { packedWeights, padded } from '../../../../network/dense-kernel.ts'
import { addConstant, type RowView } from '../../../../network/row-program.ts'
import { arranged, inOrder, readableRuns, takesPlaces, transposed } from './arrangement.ts'
import { floatType, type Constant } from '../constants.ts'
import { kernelOf } from '../dense-operators.ts'
import {
  broadcast,
  broadcastConstant,
  elementsIn,
  placesBy,
  repeatedStrides,
  shaped,
  shapeOfRows,
  type RowShape,
} from './row-shape.ts'
import {
  finiteNumbers,
  maxRowWork,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'

/** Returns runs of a value as matrices of `rows` runs each, copied where the runs of a matrix are not at equal distances. */
function matricesOf(program: OperatorContext['program'], from: RowValue, rows: number): Matrices {
  const { value, starts, count } = readableRuns(program, from)
  const pitch = rows > 1 ? starts[1]! - starts[0]! : count
  const isEven = starts.every((start, run) => start === starts[run - (run % rows)]! + (run % rows) * pitch)
  if (!isEven)
    return matricesOf(program, inOrder(program, { ...value, places: runPlaces(starts, count) }), rows)
  return { view: value, starts: starts.filter((_, run) => run % rows === 0), rows, inputs: count, pitch }
}

const runPlaces = (starts: Int32Array, count: number): Int32Array =>
  Int32Array.from(
    { length: starts.length * count },
    (_, at) => starts[Math.floor(at / count)]! + (at % count),
  )

/** Returns the sums of products, which are padded, as a value. */
function sumsOf(
  buffer: RowValue['buffer'],
  { shape, units }: { shape: RowShape; units: number },
  more: Partial<RowValue> = {},
): RowValue {
  const width = elementsIn(shape.dims)
  const value = valueIn(buffer, (width / units) * padded(units))
  const places = Int32Array.from(
    { length: width },
    (_, at) => Math.floor(at / units) * padded(units) + (at % units),
  )
  return { ...arranged(value, shape, places, { isOwn: true }), ...more }
}

/** Multiplies every run of numbers along the last dimension by constant weights. */
function shared(
  { program }: OperatorContext,
  from: RowValue,
  { kernel, units, bias }: { kernel: Float32Array; units: number; bias?: ArrayLike<number> },
): RowValue | undefined {
  const { dims, ...rest } = shapeOfRows(from)
  const count = from.width / dims.at(-1)!
  // The work is checked before memory is taken for the sums.
  if (!takesPlaces(program, from.width) || !takesPlaces(program, count * padded(units))) return undefined
  const matrices = matricesOf(program, from, count)
  const { buffer, step } = addSharedDense(program, matrices, { kernel, units })
  if (bias !== undefined) step.bias.set(bias)
  return sumsOf(buffer, { shape: { ...rest, dims: [...dims.slice(0, -1), units] }, units }, { dense: step })
}

const matMul: RowOperator = (context) => {
  const { value, constant } = context
  const [from, matrix] = [value(0), constant(1)]
  if (value(1) !== undefined) return from && multiplied(context, from, value(1)!)
  if (from !== undefined && (matrix?.dims.length ?? 0) > 2) return byMatrices(context, from, matrix)
  const [inputs, units = 0] = matrix?.dims ?? []
  if (from?.type !== 'float' || matrix?.type !== floatType || matrix.dims.length !== 2) return undefined
  const { dims, axis } = shapeOfRows(from)
  if (axis === dims.length - 1 || dims.at(-1) !== inputs || dims.length < 2 || units < 1) return undefined
  const values = finiteNumbers(matrix, maxRowWork)
  const sums = values && shared(context, from, { kernel: Float32Array.from(values), units })
  return sums && [sums]
}

/** Multiplies rows of numbers that are merged with other dimensions. */
const gemm: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const [from, matrix] = [value(0), constant(1)]
  const shape = from && shapeOfRows(from)
  if (from?.type !== 'float' || shape?.dims.length !== 2 || shape.axis !== 0) return undefined
  if (matrix?.type !== floatType || matrix.dims.length !== 2 || (attributes.whole('transA') ?? 0) !== 0)
    return undefined
  const isByUnit = (attributes.whole('transB') ?? 0) !== 0
  const [inputs, units] = (isByUnit ? matrix.dims.toReversed() : matrix.dims) as [number, number]
  const isPlainSum = ['alpha', 'beta'].every((name) => (attributes.number(name) ?? 1) === 1)
  const values = inputs === shape.dims[1] && units >= 1 ? finiteNumbers(matrix, maxRowWork) : undefined
  if (values === undefined || !isPlainSum) return undefined
  const summand = constant(2)
  const hasBias = (node.inputs[2] ?? '') !== ''
  const isBias = summand?.type === floatType && summand.dims.length === 1 && summand.size === units
  const bias = hasBias && isBias ? finiteNumbers(summand, units) : undefined
  if (hasBias && bias === undefined) return undefined
  const sums = shared(context, from, { kernel: kernelOf(values, { inputs, units, isByUnit }), units, bias })
  return sums && [sums]
}

/** Multiplies the matrices of the last two dimensions of two values. */
function multiplied(context: OperatorContext, a: RowValue, b: RowValue): RowValue[] | undefined {
  const { program } = context
  const [left, right] = [shapeOfRows(a), shapeOfRows(b)]
  if (b.type !== 'float' || left.dims.length < 3 || right.dims.length < 3) return undefined
  if (left.axis > left.dims.length - 3 || right.axis > right.dims.length - 3) return undefined
  const [count, units] = right.dims.slice(-2) as [number, number]
  const batch = broadcast(batchOf(left), batchOf(right))
  if (!takesPlaces(program, (b.width / units) * padded(units))) return undefined
  const weightsOf = (): RowView => packed(context, b)
  return batch && products(context, a, { batch, dims: batchOf(right).dims, count, units, weightsOf })
}

const batchOf = (shape: RowShape): RowShape => ({ ...shape, dims: shape.dims.slice(0, -2) })

/** The matrices of the second side, of `count` rows and `units` columns. */
interface SecondSide {
  batch: RowShape
  dims: readonly number[]
  count: number
  units: number
  weightsOf(): RowView
}

function products(
  context: OperatorContext,
  a: RowValue,
  { batch, dims, count, units, weightsOf }: SecondSide,
): RowValue[] | undefined {
  const { program } = context
  const left = shapeOfRows(a)
  const [rows, inputs] = left.dims.slice(-2) as [number, number]
  if (a.type !== 'float' || count !== inputs) return undefined
  // All is checked before memory is taken.
  const sums = elementsIn(batch.dims) * rows * padded(units)
  if (!takesPlaces(program, a.width) || !takesPlaces(program, sums)) return undefined
  const matrices = matricesOf(program, a, rows)
  const placesOf = (given: readonly number[]): Int32Array =>
    placesBy(batch.dims, repeatedStrides(given, batch.dims.length))
  const starts = placesOf(batchOf(left).dims).map((place) => matrices.starts[place]!)
  const size = inputs * padded(units)
  const places = placesOf(dims).map((place) => place * size)
  const buffer = addProducts(program, { ...matrices, starts }, { weights: weightsOf(), places, units })
  return [sumsOf(buffer, { shape: { ...batch, dims: [...batch.dims, rows, units] }, units })]
}

/** Multiplies the matrices of a value by constant ones, of which each has its own, as for the columns of a table. */
function byMatrices(
  context: OperatorContext,
  a: RowValue,
  given: Constant | undefined,
): RowValue[] | undefined {
  const { program } = context
  const shape = shapeOfRows(a)
  const { dims, axis } = shape
  if (given?.type !== floatType || given.dims.length < 3 || dims.length < 3) return undefined
  if (axis === dims.length - 2) return byMatricesOfRows(context, a, given)
  const [count, units] = given.dims.slice(-2) as [number, number]
  const all = given.dims.slice(0, -2)
  const batch = axis < dims.length - 2 ? broadcastConstant(batchOf(shape), all) : undefined
  const values = units >= 1 ? finiteNumbers(given, maxRowWork) : undefined
  if (batch === undefined || values === undefined) return undefined
  if (!takesPlaces(program, (given.size / units) * padded(units))) return undefined
  const weightsOf = (): RowView => packedConstants(program, values, { count, units })
  return products(context, a, { batch, dims: all, count, units, weightsOf })
}

/** The same, where the rows of the batch are those of the matrices: each is then a matrix of one row. */
function byMatricesOfRows(context: OperatorContext, a: RowValue, given: Constant): RowValue[] | undefined {
  const { dims, axis } = shapeOfRows(a)
  if (dims[axis] !== 1) return undefined
  const first = { dims: [1, ...dims.slice(0, axis), 1, dims.at(-1)!], axis: 0, before: 1 }
  const [found] = byMatrices(context, { ...a, ...shaped(first) }, given) ?? []
  if (found === undefined) return undefined
  const [, ...made] = shapeOfRows(found).dims
  return [{ ...found, ...shaped({ dims: made, axis: made.length - 2, before: 1 }) }]
}

/** Arranges constant matrices in the order in which the kernel reads weights. */
function packedConstants(
  program: OperatorContext['program'],
  values: Float64Array,
  { count, units }: { count: number; units: number },
): RowView {
  const size = count * units
  const matrices = Array.from({ length: values.length / size }, (_, at) =>
    packedWeights(Float32Array.from(values.subarray(at * size, (at + 1) * size)), count, units),
  )
  const all = new Float32Array(matrices.length * count * padded(units))
  for (const [at, matrix] of matrices.entries()) all.set(matrix, at * count * padded(units))
  return { buffer: addConstant(program, all), column: 0, width: all.length }
}

/** Copies matrices to the order in which the kernel reads weights. */
function packed({ program }: OperatorContext, from: RowValue): RowValue {
  const [inputs, units] = shapeOfRows(from).dims.slice(-2) as [number, number]
  const order = packedPlaces(inputs, units, (input, unit) => input * units + unit)
  const count = from.width / (inputs * units)
  const places = Int32Array.from({ length: count * order.length }, (_, at) => {
    const place = Math.floor(at / order.length) * inputs * units + order[at % order.length]!
    return from.places === undefined ? place : from.places[place]!
  })
  return valueIn(addArrangement(program, from, places), places.length)
}

/** Returns the letters of the sides and of the answer of an equation such as `b h i d, b h j d -> b h i j`. */
function lettersOf(equation: string): [string, string, string] | undefined {
  const found = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)$/.exec(equation.replaceAll(' ', ''))
  const letters = found?.slice(1) as [string, string, string] | undefined
  return letters?.every((side) => new Set(side).size === side.length) === true ? letters : undefined
}

/** Multiplies matrices as an equation says, of which one letter is summed. */
const einsum: RowOperator = (context) => {
  const { program, attributes, node } = context
  const [a, b, constant] = [context.value(0), context.value(1), context.constant(1)]
  const letters = lettersOf(attributes.text('equation') ?? '')
  if (node.inputs.length !== 2 || a?.type !== 'float' || letters === undefined) return undefined
  const [left, right, given] = letters
  const shared = Array.from(left).filter((letter) => right.includes(letter))
  const batch = shared.filter((letter) => given.includes(letter))
  const summed = shared.filter((letter) => !given.includes(letter))
  const [rows, units] = [left, right].map((side) =>
    Array.from(side).filter((letter) => !shared.includes(letter)),
  )
  if (summed.length !== 1 || rows?.length !== 1 || units?.length !== 1) return undefined
  const order = [...batch, ...rows, ...units]
  if (order.length !== given.length || !order.every((letter) => given.includes(letter))) return undefined
  const turnedA = turned(program, a, { from: left, to: [...batch, ...rows, ...summed].join('') })
  const second = { from: right, to: [...batch, ...summed, ...units].join('') }
  if (turnedA === undefined) return undefined
  const [found] =
    (b === undefined
      ? timesConstant(context, turnedA, constant, second)
      : timesValue(context, turnedA, b, second)) ?? []
  const answer = found && turned(program, found, { from: order.join(''), to: given })
  return answer && [answer]
}

/** Dimensions named by letters, and their order for a product. */
interface Turn {
  from: string
  to: string
}

function timesValue(context: OperatorContext, a: RowValue, b: RowValue, turn: Turn): RowValue[] | undefined {
  const turnedB = b.type === 'float' ? turned(context.program, b, turn) : undefined
  return turnedB && multiplied(context, a, turnedB)
}

/** Multiplies by constant matrices whose dimensions are in order. */
const timesConstant = (
  context: OperatorContext,
  a: RowValue,
  constant: Constant | undefined,
  { from, to }: Turn,
): RowValue[] | undefined =>
  from === to && constant?.dims.length === from.length ? byMatrices(context, a, constant) : undefined

/** Returns a value with its dimensions, which are named by letters, in another order. */
function turned(
  program: OperatorContext['program'],
  value: RowValue,
  { from, to }: Turn,
): RowValue | undefined {
  const { dims, axis, before } = shapeOfRows(value)
  if (dims.length !== from.length || !takesPlaces(program, value.width)) return undefined
  if (from === to) return value
  const order = Array.from(to, (letter) => from.indexOf(letter))
  return transposed(value, { dims, axis, before }, { order, isOwn: value.isOwn })
}

export const productOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:MatMul': matMul,
  'ai.onnx:Gemm': gemm,
  'ai.onnx:Einsum': einsum,
}
