/** Describes values of a graph that hold something for each row, and what an operator is given to compute one. */
import { addFunction, type DenseStep, type RowFunction } from '../../../network/row-steps.ts'
import type { RowBuffer, RowMachine, RowProgram, RowView } from '../../../network/row-program.ts'
import type { Attributes } from '../attributes.ts'
import type { OnnxNode } from '../graph.ts'
import { floatType, type Constant } from './constants.ts'

/** Types of the elements. All are held as floats: the others are casts of inputs away from them, or codes of texts. */
type RowType = 'float' | 'double' | 'whole' | 'bool' | 'text'

/** Reads or computes a number of 64 bits of a row of the block. */
export type DoubleColumn = (machine: RowMachine) => (row: number) => number

/** Of values that are computed and stand nowhere in the memory. */
export const noBuffer: RowBuffer = { stride: 0, at: 0 }

export interface RowValue extends RowView {
  type: RowType
  /** The dimensions behind that of the rows. */
  tail: readonly number[]
  /** Whether it equals ONNX Runtime's bit for bit, which comparisons of trees need. */
  isExact: boolean
  /**
   * Whether ONNX Runtime computes it to 1e-7 of 1 and no closer, as `Sigmoid`: its 0 may be any small number here. The logarithm and its like, which
   * would make much of that, are left to it.
   */
  isCoarse?: boolean
  /** Whether no other value is in its buffer, so that it may be changed in place. */
  isOwn: boolean
  /** How each column is read or computed with 64 bits: of all numbers of that type, of inputs of whole numbers, and of comparisons of them. */
  doubles?: readonly DoubleColumn[]
  /** A dense layer without an activation, of which this is the output. */
  dense?: DenseStep
  /** Of texts: the code of each, which operators add to. Texts as bytes, in Latin-1. */
  codes?: Map<string, number>
}

export interface OperatorContext {
  node: OnnxNode
  attributes: Attributes
  program: RowProgram
  /** A value of rows; undefined for a constant and for an input that is left out. */
  value(input: number): RowValue | undefined
  constant(input: number): Constant | undefined
  /** Whether nothing else reads this input. */
  isLastUse(input: number): boolean
}

/** The outputs of a node, in order. Undefined when the node, or one of them, is left to ONNX Runtime. */
export type RowOperator = (context: OperatorContext) => readonly (RowValue | undefined)[] | undefined

/**
 * Most multiplications of a row, or what takes as long: about 0.05 ms. A graph of more would hold up the other requests of its replica; it has a
 * process of its own.
 */
export const maxRowWork = 500_000

/** A value in a buffer of its own. */
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

/** What a function does to the numbers of a row; exact if it gives ONNX Runtime's bits for the same numbers. */
export interface Replacement {
  apply: RowFunction
  work?: number
  isExact?: boolean
}

/** The first input with other numbers, as many; in their own place where nothing else reads them. */
export function replaced(
  { program, isLastUse }: OperatorContext,
  from: RowValue,
  { apply, work = 1, isExact = false }: Replacement,
): RowValue[] {
  const inPlace = from.isOwn && isLastUse(0)
  const buffer = addFunction(program, from, { apply, work, inPlace })
  return [valueIn(buffer, from.width, { tail: from.tail, isExact: isExact && from.isExact })]
}

/** Numbers of 32 bits, of which there is one list for each row. */
export const isRowOfFloats = (value: RowValue | undefined): value is RowValue =>
  value?.type === 'float' && value.tail.length === 1

/** A constant list of finite numbers, or undefined. `most` is the largest size that is read. */
export function finiteNumbers(constant: Constant | undefined, most: number): Float64Array | undefined {
  if (constant === undefined || constant.size > most) return undefined
  const values = constant.values()
  return values?.every(Number.isFinite) === true ? values : undefined
}

/** Most numbers of axes, shapes and places. */
const maxPlaces = 10_000

/** The numbers of a constant. Undefined for a list so long that it would fill the memory. */
export const shortList = (constant: Constant | undefined): Float64Array | undefined =>
  finiteNumbers(constant, maxPlaces)

/** A list that is an attribute in old versions of an operator, and an input in newer ones; empty when it has neither. */
export function givenList(
  { node, attributes, constant }: OperatorContext,
  name: string,
  input: number,
): Float64Array | undefined {
  if ((node.inputs[input] ?? '') !== '') return shortList(constant(input))
  return attributes.count(name) > maxPlaces ? undefined : attributes.longs(name)
}

/** The constant as one number a column: a single number, or one for each of `width`. Undefined for any other shape. */
export function columnNumbers(constant: Constant | undefined, width: number): Float64Array | undefined {
  if (constant === undefined || !(constant.size === 1 || constant.size === width)) return undefined
  if (constant.type !== floatType || constant.dims.length > 2) return undefined
  // All but the last of its dimensions are 1.
  if (constant.size > 1 && constant.dims.at(-1) !== width) return undefined
  const values = finiteNumbers(constant, width)
  return values?.length === 1 ? new Float64Array(width).fill(values[0]!) : values
}
