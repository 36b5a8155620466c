/** Describes the values of a graph that have numbers for each row, and the context in which an operator computes one. */
import type { DenseStep } from '../../../network/row-steps.ts'
import {
  addConstant,
  type RowBuffer,
  type RowMachine,
  type RowProgram,
  type RowView,
} from '../../../network/row-program.ts'
import type { Attributes } from '../attributes.ts'
import type { OnnxNode } from '../graph.ts'
import { floatType, type Constant, type SizeList } from './constants.ts'
import { isOrdinaryRow, type RowShape } from './tokens/row-shape.ts'

/** The element types. All are stored as floats: the other types are casts of inputs, or the codes of texts. */
type RowType = 'float' | 'double' | 'whole' | 'bool' | 'text'

/** Reads or computes a 64-bit number for a row of the block. */
export type DoubleColumn = (machine: RowMachine) => (row: number) => number

/** The buffer of values that are computed and not stored. */
export const noBuffer: RowBuffer = { stride: 0, at: 0 }

export interface RowValue extends RowView {
  type: RowType
  /** The dimensions after the rows. */
  tail: readonly number[]
  /** The shape of a value whose rows are not its first dimension alone; its `tail` is empty. Most operators need ordinary values. */
  shape?: RowShape
  /** The places of the numbers in the buffer from `column` on, when they are not consecutive. Most operators need consecutive numbers. */
  places?: Int32Array
  /** Whether the value equals ONNX Runtime's bit for bit, which comparisons of trees need. */
  isExact: boolean
  /**
   * Whether ONNX Runtime computes the value only to 1e-7, as for `Sigmoid`, so that its 0 may be any small number here. Operators that
   * magnify such differences, such as the logarithm, then need ONNX Runtime.
   */
  isCoarse?: boolean
  /** Whether the buffer holds no other value, so that it may be changed in place. */
  isOwn: boolean
  /** Reads or computes each column with 64 bits: present for doubles, for integer inputs, and for comparisons of them. */
  doubles?: readonly DoubleColumn[]
  /** The buffer of 64-bit numbers that holds all `doubles`, if one does. */
  stored?: RowBuffer
  /** The dense layer without an activation whose output this is. */
  dense?: DenseStep
  /** For texts: the code of each text, to which operators add. Texts are bytes as Latin-1. */
  codes?: Map<string, number>
}

export interface OperatorContext {
  node: OnnxNode
  attributes: Attributes
  program: RowProgram
  /** Returns the value of an input; undefined for a constant and for an omitted input. */
  value(input: number): RowValue | undefined
  /** Returns a constant that is known to the last bit. */
  constant(input: number): Constant | undefined
  /** Returns a constant that may differ from ONNX Runtime's in the last bit, and the others. */
  roundedConstant(input: number): Constant | undefined
  /** Returns sizes of which some count the rows. */
  sizes(input: number): SizeList | undefined
  /** Whether no other node reads this input. */
  isLastUse(input: number): boolean
}

/** Returns the outputs of a node, in order. Undefined when the node, or an output, needs ONNX Runtime. */
export type RowOperator = (context: OperatorContext) => readonly (RowValue | undefined)[] | undefined

/**
 * The maximum work per row, in multiplications: about 0.05 ms. A larger graph would delay the other requests of its replica, so it gets its
 * own process.
 */
export const maxRowWork = 500_000

/** Returns a value with its own buffer. */
export const valueIn = (
  buffer: RowView['buffer'],
  width: number,
  more: Partial<RowValue> = {},
): RowValue => ({
  buffer,
  column: 0,
  width,
  type: 'float',
  tail: [width],
  isExact: false,
  isOwn: true,
  ...more,
})

/** Returns the operators of a table under their names in ai.onnx. */
export const operatorsOf = <Entry>(
  table: Readonly<Record<string, Entry>>,
  operatorOf: (entry: Entry, name: string) => RowOperator,
): Record<string, RowOperator> =>
  Object.fromEntries(
    Object.entries(table).map(([name, entry]) => [`ai.onnx:${name}`, operatorOf(entry, name)]),
  )

/** Whether a value is one list of 32-bit numbers per row. */
export const isRowOfFloats = (value: RowValue | undefined): value is RowValue =>
  value?.type === 'float' && value.tail.length === 1 && isOrdinaryRow(value)

/** Returns a constant list of finite numbers; otherwise undefined. `most` is the maximum size. */
export function finiteNumbers(constant: Constant | undefined, most: number): Float64Array | undefined {
  if (constant === undefined || constant.size > most) return undefined
  const values = constant.values()
  return values?.every(Number.isFinite) === true ? values : undefined
}

/** The maximum number of axes, sizes or positions in a list. */
const maxPlaces = 10_000

/** Returns the numbers of a constant; undefined for a list that is too long. */
export const shortList = (constant: Constant | undefined): Float64Array | undefined =>
  finiteNumbers(constant, maxPlaces)

/** Returns a list that is an attribute in old versions of an operator and an input in newer ones; empty when it is neither. */
export function givenList(
  { node, attributes, constant }: OperatorContext,
  name: string,
  input: number,
): Float64Array | undefined {
  if ((node.inputs[input] ?? '') !== '') return shortList(constant(input))
  return attributes.count(name) > maxPlaces ? undefined : attributes.longs(name)
}

/** Returns the constant as one number per column, from a single number or one for each of `width`. Undefined for any other shape. */
export function columnNumbers(constant: Constant | undefined, width: number): Float64Array | undefined {
  if (constant === undefined || !(constant.size === 1 || constant.size === width)) return undefined
  if (constant.type !== floatType || constant.dims.length > 2) return undefined
  // Requires that all dimensions but the last are 1.
  if (constant.size > 1 && constant.dims.at(-1) !== width) return undefined
  const values = finiteNumbers(constant, width)
  return values?.length === 1 ? new Float64Array(width).fill(values[0]!) : values
}

/** Returns an input: a value, or a constant as a row for values with this many dimensions. */
export const operandOf = (context: OperatorContext, input: number, rank: number): RowValue | undefined =>
  context.value(input) ?? constantRow(context, context.constant(input), rank + 1)

/** Returns a constant that is the same for every row, for values with this many dimensions. */
function constantRow(
  { program }: OperatorContext,
  given: Constant | undefined,
  maxRank: number,
): RowValue | undefined {
  if (given?.type !== floatType || given.dims.length > maxRank) return undefined
  const width = given.dims.at(-1) ?? 1
  const values = given.size === width && width >= 1 ? finiteNumbers(given, maxColumns) : undefined
  const buffer = values && addConstant(program, Float32Array.from(values))
  return buffer && valueIn(buffer, width, { tail: maxRank === 1 ? [] : [width], isExact: true, isOwn: false })
}
const maxColumns = 10_000

/** Whether IsInf finds the positive and the negative infinity. */
export const infinitiesOf = (attributes: Attributes): [above: boolean, below: boolean] => [
  attributes.whole('detect_positive') !== 0,
  attributes.whole('detect_negative') !== 0,
]
