/**
 * Lowers comparisons, and the choices that follow them. They need exact numbers, because a difference in the last bit may lead to the other
 * choice.
 */
import { addCombination, type ColumnFunction } from '../../../network/row-steps.ts'
import { inMemory } from './doubles/double-operators.ts'
import {
  infinitiesOf,
  operandOf,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Combines values and constants column by column. A single number counts for all columns. `types`: of each operand. */
function combined(
  context: OperatorContext,
  { types, of, type }: { types: readonly RowValue['type'][]; of: ColumnFunction; type: RowValue['type'] },
): readonly RowValue[] | undefined {
  const tails = types.flatMap((_, input) => context.value(input)?.tail ?? [])
  const rank = tails.length === 0 ? 0 : 1
  const parts = types.map((wanted, input) => {
    const part = operandOf(context, input, rank)
    return part?.type === wanted && part.tail.length === rank ? inMemory(context.program, part) : undefined
  })
  const found = parts.filter((part) => part !== undefined)
  const width = Math.max(...found.map((part) => part.width))
  if (found.length < types.length || found.some((part) => part.width !== width && part.width !== 1))
    return undefined
  const isExact = found.every((part) => part.isExact)
  if (type === 'bool' && !isExact) return undefined
  const buffer = addCombination(context.program, found, of)
  return [valueIn(buffer, width, { type, tail: rank === 0 ? [] : [width], isExact })]
}

const compared =
  (of: (a: number, b: number) => boolean): RowOperator =>
  (context) =>
    combined(context, { types: ['float', 'float'], type: 'bool', of: (a, b) => (of(a, b) ? 1 : 0) })

const joined =
  (of: (a: boolean, b: boolean) => boolean): RowOperator =>
  (context) =>
    combined(context, { types: ['bool', 'bool'], type: 'bool', of: (a, b) => (of(a !== 0, b !== 0) ? 1 : 0) })

export const comparisonOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Less': compared((a, b) => a < b),
  'ai.onnx:LessOrEqual': compared((a, b) => a <= b),
  'ai.onnx:Greater': compared((a, b) => a > b),
  'ai.onnx:GreaterOrEqual': compared((a, b) => a >= b),
  'ai.onnx:Equal': compared((a, b) => a === b),
  'ai.onnx:And': joined((a, b) => a && b),
  'ai.onnx:Or': joined((a, b) => a || b),
  'ai.onnx:Xor': joined((a, b) => a !== b),
  'ai.onnx:Not': (context) => combined(context, { types: ['bool'], type: 'bool', of: (a) => 1 - a }),
  'ai.onnx:IsNaN': (context) =>
    combined(context, { types: ['float'], type: 'bool', of: (a) => (Number.isNaN(a) ? 1 : 0) }),
  'ai.onnx:IsInf': (context) => {
    const [above, below] = infinitiesOf(context.attributes)
    return combined(context, {
      types: ['float'],
      type: 'bool',
      of: (a) => ((above && a === Infinity) || (below && a === -Infinity) ? 1 : 0),
    })
  },
  'ai.onnx:Where': (context) =>
    combined(context, {
      types: ['bool', 'float', 'float'],
      type: 'float',
      of: (which, a, b) => (which === 0 ? b : a),
    }),
}
