/** Lowers the operators that compute numbers of a row from those of two or more values, column by column. */
import { addConstant } from '../../../network/row-program.ts'
import { exponentialWork } from '../../../network/row-steps.ts'
import { vectorFunctions, type VectorFunction } from '../../../network/vector-functions.ts'
import { addVectors } from '../../../network/vector-steps.ts'
import type { Constant } from './constants.ts'
import { replaced } from './replacement.ts'
import {
  columnNumbers,
  isRowOfFloats,
  operandOf,
  operatorsOf,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Returns two lists of numbers of a row, or a list and a constant. Undefined for a shape that would broadcast over rows. */
function pairOf(
  context: OperatorContext,
  [first, second]: readonly [number, number],
  of: VectorFunction,
): RowValue | undefined {
  const completed = withBias(context, [first, second], of)
  if (completed !== undefined) return completed
  const { value } = context
  const tails = [value(first), value(second)].flatMap((each) => (each === undefined ? [] : [each.tail]))
  const [tail] = tails
  if (tail === undefined || tails.some(({ length }) => length !== tail.length)) return undefined
  return computed(
    context,
    [operandOf(context, first, tail.length), operandOf(context, second, tail.length)],
    of,
  )
}

function computed(
  { program }: OperatorContext,
  [a, b]: readonly [RowValue | undefined, RowValue | undefined],
  of: VectorFunction,
): RowValue | undefined {
  if (a?.type !== 'float' || b?.type !== 'float') return undefined
  const rank = Math.max(a.tail.length, b.tail.length)
  const width = Math.max(a.width, b.width)
  if (rank > 1 || (rank === 0 && width > 1)) return undefined
  if ([a, b].some((side) => side.width !== width && side.width !== 1)) return undefined
  const buffer = addVectors(program, [a, b], { of, work: 1 })
  return valueIn(buffer, width, { tail: rank === 0 ? [] : [width], isExact: a.isExact && b.isExact })
}

/** Adds a constant to the bias of a dense layer. */
function withBias(
  { value, constant, isLastUse }: OperatorContext,
  [first, second]: readonly [number, number],
  of: VectorFunction,
): RowValue | undefined {
  const [sums, bias] = value(first) === undefined ? [second, first] : [first, second]
  const from = value(sums)
  if (of !== vectorFunctions.sum || from?.dense === undefined || from.tail.length !== 1 || !isLastUse(sums))
    return undefined
  // Sums of several tokens that were made one row have a bias for each token.
  if (from.dense.units !== from.width) return undefined
  const numbers = columnNumbers(constant(bias), from.width)
  if (numbers === undefined || from.dense.bias.some((each) => each !== 0)) return undefined
  from.dense.bias.set(numbers)
  return from
}

const pairs: Readonly<Record<string, VectorFunction>> = {
  Add: vectorFunctions.sum,
  Sub: vectorFunctions.difference,
  Mul: vectorFunctions.product,
  Div: vectorFunctions.quotient,
}

/** Combines all inputs, one after the other. */
function combined(context: OperatorContext, of: VectorFunction): RowValue | undefined {
  const rank = context.node.inputs.flatMap((_, input) => context.value(input)?.tail.length ?? [])[0]
  if (rank === undefined || context.node.inputs.length < 2) return undefined
  const [first, ...others] = context.node.inputs.map((_, input) => operandOf(context, input, rank))
  let total = first
  for (const other of others) {
    if (total === undefined || other?.tail.length !== total.tail.length) return undefined
    total = computed(context, [total, other], of)
  }
  return total?.type === 'float' ? total : undefined
}

const several =
  (of: VectorFunction): RowOperator =>
  (context) => {
    const total = combined(context, of)
    return total && [total]
  }

const mean: RowOperator = (context) => {
  const total = combined(context, vectorFunctions.sum)
  if (total === undefined) return undefined
  const count = addConstant(context.program, Float32Array.of(context.node.inputs.length))
  const parts = [total, { buffer: count, column: 0, width: 1 }]
  addVectors(context.program, parts, { of: vectorFunctions.quotient, work: 1, inPlace: true })
  // A quotient may differ in the last bit.
  return [{ ...total, isExact: false }]
}

/** Raises numbers to constant powers, one for all or one for each column. ONNX Runtime multiplies where all have the power 2 or 3. */
const power: RowOperator = (context) => {
  const [from, constant] = [context.value(0), context.constant(1)]
  if (from?.type !== 'float' || constant === undefined || constant.dims.length > from.tail.length + 1)
    return undefined
  if (constant.size > 1) return powers(context, from, constant)
  const exponent = constant.values()?.[0]
  if (exponent === undefined || !Number.isFinite(exponent)) return undefined
  const product = { 2: vectorFunctions.squareOfLine, 3: vectorFunctions.cubeOfLine }[exponent]
  if (product !== undefined)
    return replaced(context, from, { apply: { of: product, constants: [1, 0] }, work: 2, isExact: true })
  return replaced(context, from, {
    work: exponentialWork,
    apply(values, offset, count) {
      for (let i = offset; i < offset + count; i++) values[i] = values[i]! ** exponent
    },
  })
}

function powers(context: OperatorContext, from: RowValue, constant: Constant): RowValue[] | undefined {
  const exponents = isRowOfFloats(from) ? columnNumbers(constant, from.width) : undefined
  return (
    exponents &&
    replaced(context, from, {
      work: exponentialWork,
      apply(values, offset, count) {
        for (let k = 0; k < count; k++) values[offset + k] = values[offset + k]! ** exponents[k]!
      },
    })
  )
}

export const pairOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Sum': several(vectorFunctions.sum),
  'ai.onnx:Mean': mean,
  'ai.onnx:Min': several(vectorFunctions.minimum),
  'ai.onnx:Max': several(vectorFunctions.maximum),
  'ai.onnx:Pow': power,
  ...operatorsOf(pairs, (of) => (context) => {
    const found = pairOf(context, [0, 1], of)
    return found && [found]
  }),
}
