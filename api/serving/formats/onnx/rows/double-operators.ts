/**
 * Lowers the operators on 64-bit numbers before trees, such as a scaler of scikit-learn. The memory of a row program stores 32 bits, so
 * these numbers are computed for each row when trees need them.
 */
import { addBuffer, addStep, firstFloat, type RowProgram } from '../../../network/row-program.ts'
import { doubleType, type Constant } from './constants.ts'
import {
  finiteNumbers,
  noBuffer,
  valueIn,
  type DoubleColumn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Returns a value of computed 64-bit numbers, with one dimension. */
export const valueOfDoubles = (doubles: readonly DoubleColumn[], more: Partial<RowValue> = {}): RowValue =>
  valueIn(noBuffer, doubles.length, { type: 'double', isExact: true, isOwn: false, doubles, ...more })

/** Returns numbers of the memory as 64-bit columns. */
export const doublesIn = (view: RowValue): DoubleColumn[] =>
  Array.from({ length: view.width }, (_, k): DoubleColumn => ({ floats }) => {
    const [first, stride] = [firstFloat(view) + k, view.buffer.stride]
    return (row) => floats[first + row * stride]!
  })

/** Writes computed numbers to the memory, rounded to 32 bits; returns other values unchanged. */
export function inMemory(program: RowProgram, value: RowValue): RowValue {
  const { doubles, width, tail, isExact } = value
  if (value.buffer !== noBuffer || doubles === undefined) return value
  const buffer = addBuffer(program, width)
  addStep(program, width * 4, (machine) => {
    const read = doubles.map((column) => column(machine))
    return (rows) => {
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < width; k++) machine.floats[buffer.at + row * buffer.stride + k] = read[k]!(row)
    }
  })
  return valueIn(buffer, width, { tail, isExact })
}

type Pair = (a: number, b: number) => number

const maxColumns = 10_000

/** Returns one side of an operator: the columns of a value, or a constant for each of `width` columns. Undefined for any other shape. */
function sideOf(
  { value, constant }: OperatorContext,
  input: number,
  width: number,
): readonly DoubleColumn[] | undefined {
  const from = value(input)
  if (from !== undefined) return isRowOfDoubles(from) && from.width === width ? from.doubles : undefined
  return constantColumns(constant(input), width)
}

function constantColumns(constant: Constant | undefined, width: number): DoubleColumn[] | undefined {
  if (constant?.type !== doubleType || constant.dims.length > 2) return undefined
  if (!(constant.size === 1 || (constant.size === width && constant.dims.at(-1) === width))) return undefined
  const numbers = finiteNumbers(constant, maxColumns)
  return (
    numbers && Array.from({ length: width }, (_, k) => () => () => numbers[numbers.length === 1 ? 0 : k]!)
  )
}

const isRowOfDoubles = (value: RowValue | undefined): value is RowValue =>
  value?.type === 'double' && value.tail.length === 1 && value.doubles !== undefined

const areExact = ({ node, value }: OperatorContext): boolean =>
  node.inputs.every((_, input) => value(input)?.isExact !== false)

/** Combines two values, or a value and a constant. */
const pair =
  (of: Pair): RowOperator =>
  (context) => {
    const from = [context.value(0), context.value(1)].find((each) => each !== undefined)
    if (!isRowOfDoubles(from)) return undefined
    const [left, right] = [sideOf(context, 0, from.width), sideOf(context, 1, from.width)]
    if (left === undefined || right === undefined) return undefined
    const doubles = left.map((column, k): DoubleColumn => (machine) => {
      const [a, b] = [column(machine), right[k]!(machine)]
      return (row) => of(a(row), b(row))
    })
    return [valueOfDoubles(doubles, { isExact: areExact(context) })]
  }

const isNaNOf: RowOperator = ({ value }) => {
  const from = value(0)
  if (!isRowOfDoubles(from)) return undefined
  const doubles = from.doubles!.map((column): DoubleColumn => (machine) => {
    const read = column(machine)
    return (row) => (Number.isNaN(read(row)) ? 1 : 0)
  })
  return [valueOfDoubles(doubles, { type: 'bool', isExact: from.isExact })]
}

/** Chooses between a number and its replacement, as an imputer does. */
const where: RowOperator = (context) => {
  const condition = context.value(0)
  if (condition?.type !== 'bool' || condition.doubles === undefined || condition.tail.length !== 1)
    return undefined
  const { width } = condition
  const [yes, no] = [sideOf(context, 1, width), sideOf(context, 2, width)]
  if (yes === undefined || no === undefined) return undefined
  const doubles = condition.doubles.map((column, k): DoubleColumn => (machine) => {
    const [chooses, a, b] = [column(machine), yes[k]!(machine), no[k]!(machine)]
    return (row) => (chooses(row) === 0 ? b(row) : a(row))
  })
  return [valueOfDoubles(doubles, { isExact: areExact(context) })]
}

export const doubleOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Add': pair((a, b) => a + b),
  'ai.onnx:Sub': pair((a, b) => a - b),
  'ai.onnx:Mul': pair((a, b) => a * b),
  'ai.onnx:Div': pair((a, b) => a / b),
  'ai.onnx:IsNaN': isNaNOf,
  'ai.onnx:Where': where,
}
