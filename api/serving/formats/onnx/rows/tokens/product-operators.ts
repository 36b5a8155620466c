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
import { padded } from '../../../../network/dense-kernel.ts'
import { arranged, inOrder, readableRuns, takesPlaces, transposed } from './arrangement.ts'
import { floatType } from '../constants.ts'
import { kernelOf } from '../dense-operators.ts'
import { broadcast, placesBy, repeatedStrides, shapeOfRows, elementsIn, type RowShape } from './row-shape.ts'
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
  if (a.type !== 'float' || b.type !== 'float' || left.dims.length < 3 || right.dims.length < 3)
    return undefined
  if (left.axis > left.dims.length - 3 || right.axis > right.dims.length - 3) return undefined
  const [rows, inputs] = left.dims.slice(-2) as [number, number]
  const [count, units] = right.dims.slice(-2) as [number, number]
  const batch = broadcast(
    { ...left, dims: left.dims.slice(0, -2) },
    { ...right, dims: right.dims.slice(0, -2) },
  )
  if (count !== inputs || batch === undefined) return undefined
  const products = elementsIn(batch.dims)
  // Both sides and the sums are checked before memory is taken.
  if (!takesPlaces(program, a.width) || !takesPlaces(program, (b.width / units) * padded(units)))
    return undefined
  if (!takesPlaces(program, products * rows * padded(units))) return undefined
  const matrices = matricesOf(program, a, rows)
  const placesOf = (shape: RowShape): Int32Array =>
    placesBy(batch.dims, repeatedStrides(shape.dims.slice(0, -2), batch.dims.length))
  const starts = placesOf(left).map((place) => matrices.starts[place]!)
  const size = inputs * padded(units)
  const buffer = addProducts(
    program,
    { ...matrices, starts },
    { weights: packed(context, b), places: placesOf(right).map((place) => place * size), units },
  )
  return [sumsOf(buffer, { shape: { ...batch, dims: [...batch.dims, rows, units] }, units })]
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
  const [a, b] = [context.value(0), context.value(1)]
  const letters = lettersOf(attributes.text('equation') ?? '')
  if (node.inputs.length !== 2 || a?.type !== 'float' || b?.type !== 'float' || letters === undefined)
    return undefined
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
  const turnedB = turned(program, b, { from: right, to: [...batch, ...summed, ...units].join('') })
  const [found] = (turnedA && turnedB && multiplied(context, turnedA, turnedB)) ?? []
  const answer = found && turned(program, found, { from: order.join(''), to: given })
  return answer && [answer]
}

/** Returns a value with its dimensions, which are named by letters, in another order. */
function turned(
  program: OperatorContext['program'],
  value: RowValue,
  { from, to }: { from: string; to: string },
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
