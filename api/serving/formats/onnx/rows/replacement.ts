/** Replaces the numbers of a value by a function of each, or of each run along the last dimension. */
import { addRunFunction } from '../../../network/arranged-steps.ts'
import { addConstant, type RowBuffer, type RowProgram, type RowView } from '../../../network/row-program.ts'
import { addFunction, type RowFunction } from '../../../network/row-steps.ts'
import type { VectorFunction } from '../../../network/vector-functions.ts'
import { addVectors } from '../../../network/vector-steps.ts'
import { inRuns } from './tokens/arrangement.ts'
import { isOrdinaryRow } from './tokens/row-shape.ts'
import { valueIn, type OperatorContext, type RowValue } from './row-value.ts'

/** A function that replaces the numbers of a row. It is exact if it gives the bits of ONNX Runtime for the same numbers. */
export interface Replacement {
  /** A function of each run of numbers, or of each number. */
  apply: RowFunction | VectorOf
  work?: number
  isExact?: boolean
}

/** A function of each number, and of constants. */
export interface VectorOf {
  of: VectorFunction
  constants?: readonly number[]
}

/** Returns the first input with its numbers replaced, in place when no other node reads them. */
export function replaced(
  { program, isLastUse }: OperatorContext,
  from: RowValue,
  { apply, work = 1, isExact = false }: Replacement,
): RowValue[] {
  const isOrdinary = isOrdinaryRow(from)
  if (isOrdinary) {
    const buffer = addReplacement(program, from, { apply, work, inPlace: from.isOwn && isLastUse(0) })
    return [valueIn(buffer, from.width, { tail: from.tail, isExact: isExact && from.isExact })]
  }
  const { value, starts, count } = inRuns(program, from, { isFree: isLastUse(0) })
  if (typeof apply === 'function') addRunFunction(program, { view: value, starts }, { apply, work, count })
  else {
    const { buffer } = value
    addReplacement(program, { buffer, column: 0, width: buffer.stride }, { apply, work, inPlace: true })
  }
  return [{ ...value, isExact: isExact && from.isExact }]
}

export function addReplacement(
  program: RowProgram,
  from: RowView,
  { apply, work = 1, inPlace }: Omit<Replacement, 'isExact'> & { inPlace: boolean },
): RowBuffer {
  if (typeof apply === 'function') return addFunction(program, from, { apply, work, inPlace })
  return addVectors(program, [from, ...constantsOf(program, apply)], { of: apply.of, work, inPlace })
}

const constantsOf = (program: RowProgram, { constants = [] }: VectorOf): RowView[] =>
  constants.map((each) => ({ buffer: addConstant(program, Float32Array.of(each)), column: 0, width: 1 }))
