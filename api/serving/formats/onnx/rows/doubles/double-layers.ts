/**
 * Lowers the layers of networks and linear models of 64-bit numbers: products by weights, functions of the numbers and reductions. They are
 * computed with 64 bits, as by ONNX Runtime.
 */
import { addDoubleBuffer, addStep } from '../../../../network/row-program.ts'
import { exponentialWork } from '../../../../network/row-steps.ts'
import type { Attributes } from '../../attributes.ts'
import { doubleType, type Constant } from '../constants.ts'
import {
  finiteNumbers,
  givenList,
  maxRowWork,
  type DoubleColumn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'
import {
  columnsInBuffer,
  doubleWork,
  isRowOfDoubles,
  storedDoubles,
  valueOfDoubles,
} from './double-operators.ts'

/** The work of a multiplication of 64 bits outside the kernel of dense layers. */
const productWork = 8

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
  const columns = from.doubles!
  const buffer = addDoubleBuffer(program, width)
  addStep(program, columns.length * doubleWork + work, (machine) => {
    const read = columns.map((column) => column(machine))
    const [numbers, answer] = [new Float64Array(columns.length), new Float64Array(width)]
    const { doubles } = machine
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < numbers.length; k++) numbers[k] = read[k]!(row)
        apply(numbers, answer)
        doubles.set(answer, buffer.at / 2 + row * (buffer.stride / 2))
      }
    }
  })
  return valueOfDoubles(columnsInBuffer(buffer, width), { isExact: false })
}

/** Returns the weights of `units` sums, input by input; undefined for a matrix of another shape. */
function weightsOf(
  matrix: Constant | undefined,
  inputs: number,
  isByUnit: boolean,
): { weights: Float64Array; units: number } | undefined {
  if (matrix?.type !== doubleType || matrix.dims.length !== 2) return undefined
  const [count, units] = (isByUnit ? matrix.dims.toReversed() : matrix.dims) as [number, number]
  // The work of the products limits the memory for them.
  const values = finiteNumbers(matrix, Math.floor(maxRowWork / productWork))
  if (count !== inputs || !(units >= 1) || values === undefined) return undefined
  if (!isByUnit) return { weights: values, units }
  const weights = new Float64Array(values.length)
  for (let j = 0; j < units; j++)
    for (let i = 0; i < inputs; i++) weights[i * units + j] = values[j * inputs + i]!
  return { weights, units }
}

/** Multiplies the numbers of a row by weights, after a bias. */
function sums(
  context: OperatorContext,
  from: RowValue,
  { weights, units, bias }: { weights: Float64Array; units: number; bias?: Float64Array },
): RowValue {
  return computed(context, from, {
    width: units,
    work: weights.length * productWork,
    apply(numbers, answer) {
      answer.fill(0)
      for (let i = 0; i < numbers.length; i++) {
        const x = numbers[i]!
        for (let j = 0; j < units; j++) answer[j] = answer[j]! + x * weights[i * units + j]!
      }
      if (bias !== undefined) for (let j = 0; j < units; j++) answer[j] = answer[j]! + bias[j]!
    },
  })
}

const matMul: RowOperator = (context) => {
  const from = context.value(0)
  if (!isRowOfDoubles(from)) return undefined
  const found = weightsOf(context.constant(1), from.width, false)
  return found && [sums(context, from, found)]
}

const gemm: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const from = value(0)
  if (!isRowOfDoubles(from) || (attributes.whole('transA') ?? 0) !== 0) return undefined
  if (['alpha', 'beta'].some((name) => (attributes.number(name) ?? 1) !== 1)) return undefined
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
  Sigmoid: () => (x) => 1 / (1 + Math.exp(-x)),
  Tanh: () => Math.tanh,
}
const exact = new Set(['Abs', 'Neg', 'Sqrt', 'Reciprocal', 'Relu'])

const mapped =
  (name: string, of: (attributes: Attributes) => (x: number) => number): RowOperator =>
  ({ value, attributes, program }) => {
    const from = value(0)
    if (!isRowOfDoubles(from)) return undefined
    const apply = of(attributes)
    const columns = from.doubles!.map((column): DoubleColumn => (machine) => {
      const read = column(machine)
      return (row) => apply(read(row))
    })
    if (!exact.has(name)) program.work += columns.length * exponentialWork
    return [storedDoubles(program, columns, { isExact: exact.has(name) && from.isExact })]
  }

const power: RowOperator = ({ value, constant, program }) => {
  const [from, exponent] = [value(0), constant(1)]
  if (!isRowOfDoubles(from) || exponent?.size !== 1 || exponent.dims.length > 2) return undefined
  const by = finiteNumbers(exponent, 1)?.[0]
  if (by === undefined) return undefined
  const columns = from.doubles!.map((column): DoubleColumn => (machine) => {
    const read = column(machine)
    return (row) => {
      const x = read(row)
      return by === 2 ? x * x : x ** by
    }
  })
  program.work += columns.length * exponentialWork
  return [storedDoubles(program, columns, { isExact: from.isExact && by === 2 })]
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

const alongRow: RowOperator = (context) => {
  const from = context.value(0)
  const axis = context.attributes.whole('axis') ?? 1
  if (!isRowOfDoubles(from) || (axis !== 1 && axis !== -1)) return undefined
  return [
    computed(context, from, {
      width: from.width,
      work: from.width * exponentialWork,
      apply(numbers, answer) {
        softmax(numbers)
        answer.set(numbers)
      },
    }),
  ]
}

const totalOf =
  (of: (x: number) => number, end: (total: number, count: number) => number = (total) => total) =>
  (numbers: Float64Array): number => {
    let total = of(numbers[0]!)
    for (let k = 1; k < numbers.length; k++) total += of(numbers[k]!)
    return end(total, numbers.length)
  }

const reductions: Readonly<Record<string, (numbers: Float64Array) => number>> = {
  ReduceSum: totalOf((x) => x),
  ReduceMean: totalOf(
    (x) => x,
    (total, count) => total / count,
  ),
  ReduceL2: totalOf((x) => x * x, Math.sqrt),
  ReduceSumSquare: totalOf((x) => x * x),
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

const named = <Entry>(
  table: Readonly<Record<string, Entry>>,
  operatorOf: (name: string, entry: Entry) => RowOperator,
): Record<string, RowOperator> =>
  Object.fromEntries(
    Object.entries(table).map(([name, entry]) => [`ai.onnx:${name}`, operatorOf(name, entry)]),
  )

export const doubleLayerOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:MatMul': matMul,
  'ai.onnx:Gemm': gemm,
  'ai.onnx:Pow': power,
  'ai.onnx:Softmax': alongRow,
  ...named(functions, mapped),
  ...named(reductions, (_, of) => reduction(of)),
}
