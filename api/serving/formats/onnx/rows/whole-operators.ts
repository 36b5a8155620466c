/**
 * Lowers the operators on whole numbers before embeddings and choices: the places of categories that begin at another number, limits, and
 * comparisons. They are computed with 64 bits, so that numbers beyond 32 bits keep their last digits.
 */
import { int64Type } from './constants.ts'
import { doublesIn, inMemory, storedDoubles } from './doubles/double-operators.ts'
import {
  finiteNumbers,
  type DoubleColumn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'
import { isOrdinaryRow } from './tokens/row-shape.ts'

type OfWholes = (x: number, constant: number) => number

/** Constants are far from the limits of 64 bits, so that only the least whole number of all can be left behind. */
const maxConstant = 2 ** 24
const leastWhole = -(2 ** 63)

/** Adds as 64 bits do: beyond the least whole number come the largest ones. */
const sum: OfWholes = (x, constant) => (x === leastWhole && constant < 0 ? -leastWhole : x) + constant

/** Returns one constant for each column; undefined for any other shape. */
function constantsOf({ constant }: OperatorContext, input: number, from: RowValue): number[] | undefined {
  const given = constant(input)
  if (given?.type !== int64Type || given.dims.length > from.tail.length + 1) return undefined
  if (!(given.size === 1 || (given.size === from.width && given.dims.at(-1) === from.width))) return undefined
  const numbers = finiteNumbers(given, from.width)
  if (numbers?.every((number) => Math.abs(number) < maxConstant) !== true) return undefined
  return Array.from({ length: from.width }, (_, k) => numbers[numbers.length === 1 ? 0 : k]!)
}

/** Combines whole numbers with constants. `swaps`: what is computed when the constant comes first. */
const combined =
  (
    of: OfWholes,
    { type = 'whole', swaps }: { type?: 'whole' | 'bool'; swaps?: OfWholes } = {},
  ): RowOperator =>
  (context) => {
    const { program, node } = context
    const isFirst = context.value(0) === undefined
    const from = context.value(isFirst ? 1 : 0)
    const apply = isFirst ? swaps : of
    if (from?.type !== 'whole' || !from.isExact || !isOrdinaryRow(from) || from.tail.length > 1)
      return undefined
    const constants = constantsOf(context, isFirst ? 0 : 1, from)
    if (node.inputs.length !== 2 || constants === undefined || apply === undefined) return undefined
    const columns = (from.doubles ?? doublesIn(from)).map((column, k): DoubleColumn => (machine) => {
      const [read, constant] = [column(machine), constants[k]!]
      return (row) => apply(read(row), constant)
    })
    const stored = storedDoubles(program, columns, { tail: from.tail })
    return [{ ...inMemory(program, stored), type, isExact: true, doubles: stored.doubles }]
  }

const compared = (of: (x: number, constant: number) => boolean): RowOperator =>
  combined((x, constant) => (of(x, constant) ? 1 : 0), {
    type: 'bool',
    swaps: (x, constant) => (of(constant, x) ? 1 : 0),
  })

const limited = (of: OfWholes): RowOperator => combined(of, { swaps: of })

export const wholeOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Add': combined(sum, { swaps: sum }),
  'ai.onnx:Sub': combined((x, constant) => sum(x, -constant)),
  'ai.onnx:Min': limited(Math.min),
  'ai.onnx:Max': limited(Math.max),
  'ai.onnx:Equal': compared((a, b) => a === b),
  'ai.onnx:Less': compared((a, b) => a < b),
  'ai.onnx:LessOrEqual': compared((a, b) => a <= b),
  'ai.onnx:Greater': compared((a, b) => a > b),
  'ai.onnx:GreaterOrEqual': compared((a, b) => a >= b),
}
