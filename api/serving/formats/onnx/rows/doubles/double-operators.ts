/** Lowers the operators on 64-bit numbers column by column, such as a scaler of scikit-learn before trees or weights. */
import {
  addBuffer,
  addDoubleBuffer,
  addStep,
  firstFloat,
  type RowBuffer,
  type RowProgram,
} from '../../../../network/row-program.ts'
import { doubleType, type Constant } from '../constants.ts'
import {
  finiteNumbers,
  noBuffer,
  valueIn,
  type DoubleColumn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'

/** Returns a value of 64-bit numbers that are not in the 32-bit memory, with one dimension. */
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

/** The work of a 64-bit number, in multiplications. */
export const doubleWork = 4

/**
 * Stores computed numbers with 64 bits. Without it, a number that two operators read would be computed twice, and so would each number before
 * it.
 */
export const storedDoubles = (
  program: RowProgram,
  columns: readonly DoubleColumn[],
  more: Partial<RowValue> = {},
): RowValue => valueStored(storedIn(program, columns), columns.length, more)

/** Returns the value of a buffer of 64-bit numbers. */
export const valueStored = (stored: RowBuffer, width: number, more: Partial<RowValue> = {}): RowValue =>
  valueOfDoubles(columnsInBuffer(stored, width), { stored, ...more })

/** Computes numbers into a buffer of 64 bits. */
function storedIn(program: RowProgram, columns: readonly DoubleColumn[]): RowBuffer {
  const width = columns.length
  const buffer = addDoubleBuffer(program, width)
  addStep(program, width * doubleWork, (machine) => {
    const read = columns.map((column) => column(machine))
    const { doubles } = machine
    return (rows) => {
      const [first, stride] = [buffer.at / 2, buffer.stride / 2]
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < width; k++) doubles[first + row * stride + k] = read[k]!(row)
    }
  })
  return buffer
}

/** Returns the buffer of a value, whose numbers are computed into one if necessary. */
export const bufferOfDoubles = (program: RowProgram, value: RowValue): RowBuffer =>
  value.stored ?? storedIn(program, value.doubles!)

/** Returns the columns of a buffer of 64-bit numbers. */
const columnsInBuffer = (buffer: RowBuffer, width: number): DoubleColumn[] =>
  Array.from({ length: width }, (_, k): DoubleColumn => ({ doubles }) => {
    const [first, stride] = [buffer.at / 2 + k, buffer.stride / 2]
    return (row) => doubles[first + row * stride]!
  })

type Pair = (a: number, b: number) => number

const maxColumns = 10_000

/** Returns one side of an operator: the columns of a value or a constant for each of `width` columns, or one for all. Undefined for any other shape. */
function sideOf(
  { value, constant }: OperatorContext,
  input: number,
  width: number,
): readonly DoubleColumn[] | undefined {
  const from = value(input)
  if (from !== undefined) {
    if (!isRowOfDoubles(from) || !(from.width === width || from.width === 1)) return undefined
    return from.width === width ? from.doubles : Array.from({ length: width }, () => from.doubles![0]!)
  }
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

export const isRowOfDoubles = (value: RowValue | undefined): value is RowValue =>
  value?.type === 'double' && value.tail.length === 1 && value.doubles !== undefined

const areExact = ({ node, value }: OperatorContext): boolean =>
  node.inputs.every((_, input) => value(input)?.isExact !== false)

/** Combines two values, or a value and a constant. */
const pair =
  (of: Pair): RowOperator =>
  (context) => {
    const given = [context.value(0), context.value(1)].filter((each) => each !== undefined)
    const width = Math.max(...given.map((each) => each.width))
    if (!given.every(isRowOfDoubles)) return undefined
    const [left, right] = [sideOf(context, 0, width), sideOf(context, 1, width)]
    if (left === undefined || right === undefined) return undefined
    const doubles = left.map((column, k): DoubleColumn => (machine) => {
      const [a, b] = [column(machine), right[k]!(machine)]
      return (row) => of(a(row), b(row))
    })
    return [storedDoubles(context.program, doubles, { isExact: areExact(context) })]
  }

const isNaNOf: RowOperator = ({ value, program }) => {
  const from = value(0)
  if (!isRowOfDoubles(from)) return undefined
  const doubles = from.doubles!.map((column): DoubleColumn => (machine) => {
    const read = column(machine)
    return (row) => (Number.isNaN(read(row)) ? 1 : 0)
  })
  return [storedDoubles(program, doubles, { type: 'bool', isExact: from.isExact })]
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
  return [storedDoubles(context.program, doubles, { isExact: areExact(context) })]
}

export const doubleOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Add': pair((a, b) => a + b),
  'ai.onnx:Sub': pair((a, b) => a - b),
  'ai.onnx:Mul': pair((a, b) => a * b),
  'ai.onnx:Div': pair((a, b) => a / b),
  'ai.onnx:IsNaN': isNaNOf,
  'ai.onnx:Where': where,
}
