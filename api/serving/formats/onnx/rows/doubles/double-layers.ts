/**
 * Lowers the layers of networks and linear models of 64-bit numbers: products by weights, functions of the numbers and reductions. They are
 * computed with 64 bits, as by ONNX Runtime.
 */
import { doubleKernelOn, paddedUnits } from '../../../../network/kernels/double-kernel.ts'
import { addDoubleBuffer, addDoubleConstant, addStep } from '../../../../network/row-program.ts'
import { exponentialWork } from '../../../../network/row-steps.ts'
import type { Attributes } from '../../attributes.ts'
import { doubleType, type Constant } from '../constants.ts'
import { foundDomain } from '../found/shares.ts'
import {
  finiteNumbers,
  givenList,
  maxRowWork,
  operatorsOf,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'
import { areDoubles, bufferOfDoubles, doubleWork, isRowOfDoubles, valueStored } from './double-operators.ts'

/** The work of a multiplication of 64 bits, of which a vector has two. */
const productWork = 4

/** Replaces the numbers of a row, which are all of the list. */
type ListFunction = (numbers: Float64Array) => void

/** Reads the numbers of a row, and stores what `apply` makes of them in the list `answer`. */
function computed(
  { program }: OperatorContext,
  from: RowValue,
  {
    width,
    work,
    apply,
  }: { width: number; work: number; apply: (numbers: Float64Array, answer: Float64Array) => void },
): RowValue {
  const given = bufferOfDoubles(program, from)
  const buffer = addDoubleBuffer(program, width)
  addStep(program, from.width * doubleWork + work, ({ doubles }) => {
    const [numbers, answer] = [new Float64Array(from.width), new Float64Array(width)]
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const first = given.at / 2 + row * (given.stride / 2)
        for (let k = 0; k < numbers.length; k++) numbers[k] = doubles[first + k]!
        apply(numbers, answer)
        doubles.set(answer, buffer.at / 2 + row * (buffer.stride / 2))
      }
    }
  })
  return valueStored(buffer, width, { isExact: false, tail: width === from.width ? from.tail : [width] })
}

/** Weights from input i to unit j at `i * paddedUnits(units) + j`. */
interface DoubleWeights {
  weights: Float64Array
  units: number
}

/** Returns the weights of a matrix; undefined for one of another shape. */
function weightsOf(
  matrix: Constant | undefined,
  inputs: number,
  isByUnit: boolean,
): DoubleWeights | undefined {
  if (matrix?.type !== doubleType) return undefined
  const [count, units] = (isByUnit ? matrix.dims.toReversed() : matrix.dims) as [number, number]
  // The work of the products limits the memory for them.
  if (count !== inputs || !(units >= 1 && inputs * paddedUnits(units) <= maxRowWork / productWork))
    return undefined
  const values = finiteNumbers(matrix, maxRowWork)
  if (values === undefined) return undefined
  const weights = new Float64Array(inputs * paddedUnits(units))
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < units; j++)
      weights[i * paddedUnits(units) + j] = values[isByUnit ? j * inputs + i : i * units + j]!
  return { weights, units }
}

/** Multiplies the numbers of a row by weights, and adds a bias. */
function sums(
  { program }: OperatorContext,
  from: RowValue,
  { weights, units, bias = new Float64Array(0) }: DoubleWeights & { bias?: Float64Array },
): RowValue {
  const inputs = from.width
  const stored = bufferOfDoubles(program, from)
  const biases = new Float64Array(paddedUnits(units))
  biases.set(bias)
  const [matrix, summands] = [addDoubleConstant(program, weights), addDoubleConstant(program, biases)]
  const buffer = addDoubleBuffer(program, biases.length)
  addStep(program, weights.length * productWork, ({ memory }) => {
    const run = doubleKernelOn(memory)
    const [x, y] = [stored.at * 4, buffer.at * 4]
    return (rows) =>
      run(x, matrix.at * 4, summands.at * 4, y, rows, inputs, stored.stride * 4, biases.length * 8)
  })
  return valueStored(buffer, units, { isExact: false })
}

const matMul: RowOperator = (context) => {
  const [from, matrix] = [context.value(0), context.constant(1)]
  if (!isRowOfDoubles(from) || matrix === undefined || matrix.dims.length > 2) return undefined
  // A vector gives one number, without a dimension.
  const isVector = matrix.dims.length === 1
  const found = weightsOf(isVector ? { ...matrix, dims: [matrix.size, 1] } : matrix, from.width, false)
  if (found === undefined) return undefined
  const made = sums(context, from, found)
  return [isVector ? { ...made, tail: [] } : made]
}

const gemm: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const from = value(0)
  if (!isRowOfDoubles(from) || (attributes.whole('transA') ?? 0) !== 0) return undefined
  if (['alpha', 'beta'].some((name) => (attributes.number(name) ?? 1) !== 1)) return undefined
  if (constant(1)?.dims.length !== 2) return undefined
  const found = weightsOf(constant(1), from.width, (attributes.whole('transB') ?? 0) !== 0)
  if (found === undefined || (node.inputs[2] ?? '') === '') return found && [sums(context, from, found)]
  const summand = constant(2)
  const isBias = summand?.type === doubleType && summand.size === found.units && summand.dims.length === 1
  const bias = isBias ? finiteNumbers(summand, found.units) : undefined
  return bias && [sums(context, from, { ...found, bias })]
}

/** The functions of one number that ONNX Runtime has for 64 bits. */
const functions: Readonly<Record<string, (attributes: Attributes) => (x: number) => number>> = {
  Abs: () => Math.abs,
  Neg: () => (x) => -x,
  Sqrt: () => Math.sqrt,
  Reciprocal: () => (x) => 1 / x,
  Relu: () => (x) => (x < 0 ? 0 : x),
  Exp: () => Math.exp,
  Log: () => Math.log,
  // As ONNX Runtime computes it, which gives 0 below -37.
  Sigmoid: () => (x) => {
    const positive = 1 / (1 + Math.exp(-Math.abs(x)))
    return x < 0 ? 1 - positive : positive
  },
  Tanh: () => Math.tanh,
}
const exact = new Set(['Abs', 'Neg', 'Sqrt', 'Reciprocal', 'Relu'])

/** Replaces each number of a row. */
function replacedDoubles(
  context: OperatorContext,
  from: RowValue,
  { apply, work = 0, isExact }: { apply: (x: number) => number; work?: number; isExact: boolean },
): RowValue[] {
  const found = computed(context, from, {
    width: from.width,
    work: from.width * work,
    apply(numbers, answer) {
      for (let k = 0; k < numbers.length; k++) answer[k] = apply(numbers[k]!)
    },
  })
  return [{ ...found, isExact: isExact && from.isExact }]
}

const mapped =
  (of: (attributes: Attributes) => (x: number) => number, name: string): RowOperator =>
  (context) => {
    const from = context.value(0)
    if (!areDoubles(from)) return undefined
    const isExact = exact.has(name)
    const work = isExact ? 0 : exponentialWork
    return replacedDoubles(context, from, { apply: of(context.attributes), work, isExact })
  }

/** Clips numbers between constants. Version 6 and older have the limits as attributes, of 32 bits. */
const clip: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const from = value(0)
  if (!areDoubles(from) || ['min', 'max'].some((name) => attributes.number(name) !== undefined))
    return undefined
  const [low, high] = [-Number.MAX_VALUE, Number.MAX_VALUE].map((none, place) => {
    if ((node.inputs[place + 1] ?? '') === '') return none
    const limit = constant(place + 1)
    return limit?.size === 1 && limit.type === doubleType ? finiteNumbers(limit, 1)?.[0] : undefined
  })
  if (low === undefined || high === undefined) return undefined
  const apply = (x: number): number => Math.min(high, Math.max(low, x))
  return replacedDoubles(context, from, { apply, isExact: true })
}

const power: RowOperator = (context) => {
  const [from, exponent] = [context.value(0), context.constant(1)]
  if (!areDoubles(from) || exponent?.size !== 1 || exponent.dims.length > from.tail.length + 1)
    return undefined
  const by = finiteNumbers(exponent, 1)?.[0]
  if (by === undefined) return undefined
  const apply = by === 2 ? (x: number) => x * x : (x: number) => x ** by
  return replacedDoubles(context, from, { apply, work: exponentialWork, isExact: by === 2 })
}

const softmax: ListFunction = (numbers) => {
  let [most, sum] = [-Infinity, 0]
  for (const each of numbers) if (each > most) most = each
  for (let k = 0; k < numbers.length; k++) {
    numbers[k] = Math.exp(numbers[k]! - most)
    sum += numbers[k]!
  }
  for (let k = 0; k < numbers.length; k++) numbers[k] = numbers[k]! / sum
}

/** Replaces the numbers of a row by a function of all of them. */
function listed(context: OperatorContext, apply: ListFunction, work: number): RowValue[] | undefined {
  const from = context.value(0)
  if (!isRowOfDoubles(from)) return undefined
  const found = computed(context, from, {
    width: from.width,
    work: from.width * work,
    apply(numbers, answer) {
      apply(numbers)
      answer.set(numbers)
    },
  })
  return [found]
}

/** Applies a function along the columns; undefined for any other axis. */
const alongRow =
  (of: (attributes: Attributes) => ListFunction | undefined, usualAxis: number, work: number): RowOperator =>
  (context) => {
    const axis = context.attributes.whole('axis') ?? usualAxis
    const apply = axis === 1 || axis === -1 ? of(context.attributes) : undefined
    return apply && listed(context, apply, work)
  }

const totalOf =
  (of: (x: number) => number, end: (total: number, count: number) => number = (total) => total) =>
  (numbers: Float64Array): number => {
    let total = of(numbers[0]!)
    for (let k = 1; k < numbers.length; k++) total += of(numbers[k]!)
    return end(total, numbers.length)
  }

const reductions = {
  ReduceSum: totalOf((x) => x),
  ReduceMean: totalOf(
    (x) => x,
    (total, count) => total / count,
  ),
  ReduceL2: totalOf((x) => x * x, Math.sqrt),
  ReduceSumSquare: totalOf((x) => x * x),
}

/** Divides the numbers of a row by what `of` gives of them. Where that is 0, `otherwise` gives each number. */
const dividedBy =
  (of: (numbers: Float64Array) => number, otherwise: (x: number) => number = () => 0): ListFunction =>
  (numbers) => {
    const divisor = of(numbers)
    for (let k = 0; k < numbers.length; k++)
      numbers[k] = divisor === 0 ? otherwise(numbers[k]!) : numbers[k]! / divisor
  }
const normalizations: Readonly<Record<number, ListFunction>> = {
  1: dividedBy(totalOf(Math.abs)),
  2: dividedBy(reductions.ReduceL2),
}

/** Divides by the sum of the row; where that is 0, each number plus 1 is divided by a constant. */
const shares: RowOperator = (context) => {
  const count = context.constant(1)
  const equal = count?.size === 1 && count.type === doubleType ? count.values()?.[0] : undefined
  if (equal === undefined) return undefined
  return listed(
    context,
    dividedBy(reductions.ReduceSum, (x) => (x + 1) / equal),
    doubleWork,
  )
}

const reduction =
  (of: (numbers: Float64Array) => number): RowOperator =>
  (context) => {
    const from = context.value(0)
    const axes = givenList(context, 'axes', 1)
    if (!isRowOfDoubles(from) || axes?.length !== 1 || (axes[0] !== 1 && axes[0] !== -1)) return undefined
    const found = computed(context, from, {
      width: 1,
      work: from.width * doubleWork,
      apply(numbers, answer) {
        answer[0] = of(numbers)
      },
    })
    return [{ ...found, tail: context.attributes.whole('keepdims') === 0 ? [] : [1] }]
  }

export const doubleLayerOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:MatMul': matMul,
  'ai.onnx:Gemm': gemm,
  'ai.onnx:Clip': clip,
  'ai.onnx:Pow': power,
  'ai.onnx:Softmax': alongRow(() => softmax, 1, exponentialWork),
  'ai.onnx:LpNormalization': alongRow(
    (attributes) => normalizations[attributes.whole('p') ?? 2],
    -1,
    doubleWork,
  ),
  [`${foundDomain}:Shares`]: shares,
  ...operatorsOf(functions, mapped),
  ...operatorsOf(reductions, reduction),
}
