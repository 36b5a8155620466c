/** Lowers the operators on 64-bit numbers column by column, such as a scaler of scikit-learn before trees or weights. */
import {
  addBuffer,
  addDoubleBuffer,
  addDoubleConstant,
  addStep,
  firstFloat,
  type RowBuffer,
  type RowProgram,
} from '../../../../network/row-program.ts'
import type { Attributes } from '../../attributes.ts'
import { doubleType, type Constant } from '../constants.ts'
import {
  finiteNumbers,
  infinitiesOf,
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

/**
 * Writes computed numbers to the memory, rounded to 32 bits, and truths about them; returns other values unchanged. Operators of 32 bits that
 * take other types than floats need it.
 */
export function inMemory(program: RowProgram, value: RowValue): RowValue {
  const { doubles, width, tail, isExact } = value
  const type = value.type === 'double' ? 'float' : value.type
  if (value.buffer !== noBuffer || doubles === undefined) return value
  const buffer = addBuffer(program, width)
  addStep(program, width * 4, (machine) => {
    const read = doubles.map((column) => column(machine))
    return (rows) => {
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < width; k++) machine.floats[buffer.at + row * buffer.stride + k] = read[k]!(row)
    }
  })
  return valueIn(buffer, width, { type, tail, isExact })
}

/** Returns the first input as classifiers of ai.onnx.ml read it: one list per row, cast to 32 bits. Undefined for texts, truths and other shapes. */
export function rowCastToFloats({ value, program }: OperatorContext): RowValue | undefined {
  const from = value(0)
  if (from === undefined || from.type === 'text' || from.type === 'bool' || from.tail.length !== 1)
    return undefined
  return inMemory(program, from)
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
export const columnsInBuffer = (buffer: RowBuffer, width: number): DoubleColumn[] =>
  Array.from({ length: width }, (_, k): DoubleColumn => ({ doubles }) => {
    const [first, stride] = [buffer.at / 2 + k, buffer.stride / 2]
    return (row) => doubles[first + row * stride]!
  })

const maxColumns = 10_000

/** The shape of what an operator gives: its columns, and the dimensions after the rows. */
type Extent = Pick<RowValue, 'width' | 'tail'>

/** Returns the shape of the values of 64 bits among the inputs; undefined when they differ in their dimensions. */
function extentOf({ node, value }: OperatorContext): Extent | undefined {
  const given = node.inputs.flatMap((_, input) => value(input) ?? [])
  const widest = given.reduce((most, each) => (each.width > most.width ? each : most), given[0]!)
  return given.every((each) => areDoubles(each) && each.tail.length === widest.tail.length)
    ? widest
    : undefined
}

/** Returns a constant of one number for each column, or of one for all; undefined for any other. */
function columnConstants(constant: Constant, width: number): Float64Array | undefined {
  if (constant.type !== doubleType) return undefined
  if (!(constant.size === 1 || (constant.size === width && constant.dims.at(-1) === width))) return undefined
  return finiteNumbers(constant, maxColumns)
}

/** Whether a value is a number, or a list of numbers, of 64 bits for each row. */
export const areDoubles = (value: RowValue | undefined): value is RowValue =>
  value?.type === 'double' && value.tail.length <= 1 && value.doubles !== undefined

export const isRowOfDoubles = (value: RowValue | undefined): value is RowValue =>
  areDoubles(value) && value.tail.length === 1

const areExact = ({ node, value }: OperatorContext): boolean =>
  node.inputs.every((_, input) => value(input)?.isExact !== false)

/** Combines the inputs, which are values and constants, one after the other. */
const combined =
  (loop: PairLoop): RowOperator =>
  (context) => {
    const { node, program } = context
    const extent = extentOf(context)
    const sides = extent && node.inputs.map((_, input) => sideOf(context, input, extent))
    const makers = sides?.filter((side) => side !== undefined) ?? []
    if (extent === undefined || makers.length !== node.inputs.length || makers.length < 2) return undefined
    const [first, ...others] = makers.map((make) => make())
    const { width, tail } = extent
    const buffer = addDoubleBuffer(program, width)
    let left = first!
    for (const right of others) {
      addPair(program, [left, right, { buffer, width }], loop)
      left = { buffer, width }
    }
    return [valueStored(buffer, width, { isExact: areExact(context), tail })]
  }

/** Numbers of 64 bits in the memory. */
interface Stored {
  buffer: RowBuffer
  width: number
}

/** Combines numbers from the places `a` and `b` on into those from `to` on. A step of 0 takes one number for all. */
type PairLoop = (x: Float64Array, a: Run, b: Run, to: number, count: number) => void

interface Run {
  at: number
  step: number
}

/** Adds a step that combines two lists of each row. */
function addPair(program: RowProgram, [left, right, answer]: [Stored, Stored, Stored], loop: PairLoop): void {
  const { width } = answer
  addStep(program, width * doubleWork, ({ doubles }) => {
    const [a, b] = [left, right].map((side) => ({ at: 0, step: side.width === 1 ? 0 : 1 })) as [Run, Run]
    const rowOf = ({ buffer }: Stored, row: number): number => buffer.at / 2 + row * (buffer.stride / 2)
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        a.at = rowOf(left, row)
        b.at = rowOf(right, row)
        loop(doubles, a, b, rowOf(answer, row), width)
      }
    }
  })
}

/** The four loops are written out, so that none calls a function for each number. */
const pairLoops: Readonly<Record<'add' | 'subtract' | 'multiply' | 'divide', PairLoop>> = {
  add(x, a, b, to, count) {
    for (let k = 0; k < count; k++) x[to + k] = x[a.at + k * a.step]! + x[b.at + k * b.step]!
  },
  subtract(x, a, b, to, count) {
    for (let k = 0; k < count; k++) x[to + k] = x[a.at + k * a.step]! - x[b.at + k * b.step]!
  },
  multiply(x, a, b, to, count) {
    for (let k = 0; k < count; k++) x[to + k] = x[a.at + k * a.step]! * x[b.at + k * b.step]!
  },
  divide(x, a, b, to, count) {
    for (let k = 0; k < count; k++) x[to + k] = x[a.at + k * a.step]! / x[b.at + k * b.step]!
  },
}

/** Returns a function that stores one side of an operator: a list for the columns of the answer, or a number for all. Undefined for any other shape. */
function sideOf(
  { program, value, constant }: OperatorContext,
  input: number,
  { width, tail }: Extent,
): (() => Stored) | undefined {
  const from = value(input)
  if (from !== undefined)
    return areDoubles(from) && (from.width === width || from.width === 1)
      ? () => ({ buffer: bufferOfDoubles(program, from), width: from.width })
      : undefined
  const given = constant(input)
  const numbers =
    given !== undefined && given.dims.length <= tail.length + 1 ? columnConstants(given, width) : undefined
  return numbers && (() => ({ buffer: addDoubleConstant(program, numbers), width: numbers.length }))
}

/** Returns a column for each of `width`, from as many or from one. */
function columnsOf(stored: Stored, width: number): DoubleColumn[] {
  const columns = columnsInBuffer(stored.buffer, stored.width)
  return stored.width === width ? columns : Array.from({ length: width }, () => columns[0]!)
}

/** Returns for each number whether something is true of it. */
const truth =
  (of: (attributes: Attributes) => (x: number) => boolean): RowOperator =>
  ({ value, program, attributes }) => {
    const from = value(0)
    if (!isRowOfDoubles(from)) return undefined
    const isTrue = of(attributes)
    const doubles = from.doubles!.map((column): DoubleColumn => (machine) => {
      const read = column(machine)
      return (row) => (isTrue(read(row)) ? 1 : 0)
    })
    return [storedDoubles(program, doubles, { type: 'bool', isExact: from.isExact })]
  }

/** Chooses between a number and its replacement, as an imputer does. */
const where: RowOperator = (context) => {
  const condition = context.value(0)
  if (condition?.type !== 'bool' || condition.doubles === undefined || condition.tail.length !== 1)
    return undefined
  const { width } = condition
  const sides = [1, 2].map((input) => sideOf(context, input, condition))
  if (sides.includes(undefined)) return undefined
  const [yes, no] = sides.map((store) => columnsOf(store!(), width)) as [DoubleColumn[], DoubleColumn[]]
  const doubles = condition.doubles.map((column, k): DoubleColumn => (machine) => {
    const [chooses, a, b] = [column(machine), yes[k]!(machine), no[k]!(machine)]
    return (row) => (chooses(row) === 0 ? b(row) : a(row))
  })
  return [storedDoubles(context.program, doubles, { isExact: areExact(context) })]
}

export const doubleOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Add': combined(pairLoops.add),
  'ai.onnx:Sum': combined(pairLoops.add),
  'ai.onnx:Sub': combined(pairLoops.subtract),
  'ai.onnx:Mul': combined(pairLoops.multiply),
  'ai.onnx:Div': combined(pairLoops.divide),
  'ai.onnx:IsNaN': truth(() => Number.isNaN),
  'ai.onnx:IsInf': truth((attributes) => {
    const [above, below] = infinitiesOf(attributes)
    return (x) => (above && x === Infinity) || (below && x === -Infinity)
  }),
  'ai.onnx:Where': where,
}
