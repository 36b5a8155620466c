/** Lowers the operators that reduce the numbers of a row to one, or normalize them by their mean. */
import { addReduction, exponentialWork, type RowReduction } from '../../../network/row-steps.ts'
import { floatType } from './constants.ts'
import { replaced } from './replacement.ts'
import {
  finiteNumbers,
  givenList,
  isRowOfFloats,
  operatorsOf,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Reduces the numbers of a row to one. `work`: of each number. */
const reduction =
  (of: RowReduction, work = 1): RowOperator =>
  (context) => {
    const { attributes, value, program } = context
    const from = value(0)
    const axes = givenList(context, 'axes', 1)
    if (!isRowOfFloats(from) || axes?.length !== 1 || (axes[0] !== 1 && axes[0] !== -1)) return undefined
    const buffer = addReduction(program, from, of, from.width * work)
    const tail = attributes.whole('keepdims') === 0 ? [] : [1]
    return [valueIn(buffer, 1, { tail })]
  }

/** Returns the place of the largest number. It needs exact numbers, because a difference in the last bit may lead to another place. */
const argMax: RowOperator = ({ attributes, value, program }) => {
  const from = value(0)
  const axis = attributes.whole('axis') ?? 0
  if (!isRowOfFloats(from) || !from.isExact || (axis !== 1 && axis !== -1)) return undefined
  const takesLast = (attributes.whole('select_last_index') ?? 0) !== 0
  const placeOf: RowReduction = (values, offset, count) => {
    let place = offset
    for (let i = offset + 1; i < offset + count; i++)
      if (values[i]! > values[place]! || (takesLast && values[i] === values[place])) place = i
    return place - offset
  }
  const tail = attributes.whole('keepdims') === 0 ? [] : [1]
  return [valueIn(addReduction(program, from, placeOf), 1, { type: 'whole', tail, isExact: true })]
}

/** Sums what `of` gives. Starts with the first number, so that a single −0 keeps its sign. */
const sumOf =
  (of: (x: number) => number, end: (sum: number, count: number) => number = (sum) => sum): RowReduction =>
  (values, offset, count) => {
    let total = of(values[offset]!)
    for (let i = offset + 1; i < offset + count; i++) total += of(values[i]!)
    return end(Math.fround(total), count)
  }

const layerNormalization: RowOperator = (context) => {
  const from = context.value(0)
  const axis = context.attributes.whole('axis') ?? -1
  if (from?.type !== 'float' || from.tail.length === 0 || (axis !== -1 && axis !== from.tail.length))
    return undefined
  return layerNormalizationOf(context, from, from.tail.at(-1)!)
}

/** Returns a sum with all its digits, so that equal numbers have themselves as mean; infinity beyond 32 bits. */
const inRange = (sum: number): number => (Number.isFinite(Math.fround(sum)) ? sum : Math.fround(sum))

/** Normalizes each `width` numbers of a value. Sums overflow as those of ONNX Runtime. */
export function layerNormalizationOf(
  context: OperatorContext,
  from: RowValue,
  width: number,
): RowValue[] | undefined {
  const { node, attributes, constant } = context
  const listOf = (input: number): Float64Array | undefined => {
    const list = constant(input)
    return list?.type === floatType && list.size === width && list.dims.at(-1) === width
      ? finiteNumbers(list, width)
      : undefined
  }
  const hasBias = (node.inputs[2] ?? '') !== ''
  const [scale, bias] = [listOf(1), hasBias ? listOf(2) : new Float64Array(width)]
  if (scale === undefined || bias === undefined) return undefined
  const epsilon = attributes.number('epsilon') ?? Math.fround(1e-5)
  return replaced(context, from, {
    work: 6,
    apply(values, offset, count) {
      for (let first = offset; first < offset + count; first += width) {
        let [sum, squares] = [0, 0]
        for (let k = first; k < first + width; k++) sum += values[k]!
        const mean = inRange(sum) / width
        for (let k = first; k < first + width; k++) squares += (values[k]! - mean) ** 2
        const factor = 1 / Math.sqrt(inRange(squares) / width + epsilon)
        for (let k = 0; k < width; k++)
          values[first + k] = (values[first + k]! - mean) * factor * scale[k]! + bias[k]!
      }
    },
  })
}

const product: RowReduction = (values, offset, count) => {
  let total = values[offset]!
  for (let i = offset + 1; i < offset + count; i++) total = Math.fround(total * values[i]!)
  return total
}

/** Returns the logarithm of a sum of exponentials, which are taken of the distances from the largest number, if that is finite. */
const logSumExp: RowReduction = (values, offset, count) => {
  let [most, sum] = [-Infinity, 0]
  for (let i = offset; i < offset + count; i++) if (values[i]! > most) most = values[i]!
  if (!Number.isFinite(most)) most = 0
  for (let i = offset; i < offset + count; i++) sum += Math.exp(values[i]! - most)
  return Math.log(sum) + most
}

/** The reductions by their names in ai.onnx. */
export const reductions = {
  ReduceSum: sumOf((x) => x),
  ReduceMean: sumOf(
    (x) => x,
    (total, count) => total / count,
  ),
  ReduceL1: sumOf(Math.abs),
  ReduceL2: sumOf((x) => x * x, Math.sqrt),
  ReduceSumSquare: sumOf((x) => x * x),
  ReduceProd: product,
} satisfies Readonly<Record<string, RowReduction>>

export const reductionOperators: Readonly<Record<string, RowOperator>> = {
  ...operatorsOf(reductions, (of) => reduction(of)),
  'ai.onnx:ReduceLogSumExp': reduction(logSumExp, exponentialWork),
  'ai.onnx:ArgMax': argMax,
  'ai.onnx:LayerNormalization': layerNormalization,
}
