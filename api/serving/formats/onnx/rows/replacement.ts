/** Replaces the numbers of a value by a function of each, or of each run along the last dimension. */
import { addGaussians, addRunFunction } from '../../../network/arranged-steps.ts'
import type { GaussianKernel } from '../../../network/kernels/gaussian-kernel.ts'
import { addFunction, type RowFunction } from '../../../network/row-steps.ts'
import { inRuns } from './tokens/arrangement.ts'
import { isOrdinaryRow } from './tokens/row-shape.ts'
import { valueIn, type OperatorContext, type RowValue } from './row-value.ts'

/** A function that replaces the numbers of a row. It is exact if it gives the bits of ONNX Runtime for the same numbers. */
export interface Replacement {
  apply: RowFunction
  work?: number
  isExact?: boolean
}

/** Returns the first input with its numbers replaced, in place when no other node reads them. */
export function replaced(
  { program, isLastUse }: OperatorContext,
  from: RowValue,
  { apply, work = 1, isExact = false }: Replacement,
): RowValue[] {
  if (!isOrdinaryRow(from)) {
    const { value, starts, count } = inRuns(program, from, { isFree: isLastUse(0) })
    addRunFunction(program, { view: value, starts }, { apply, work, count })
    return [{ ...value, isExact: isExact && from.isExact }]
  }
  const inPlace = from.isOwn && isLastUse(0)
  const buffer = addFunction(program, from, { apply, work, inPlace })
  return [valueIn(buffer, from.width, { tail: from.tail, isExact: isExact && from.isExact })]
}

/** Returns the first input with its numbers replaced four at a time. */
export function replacedByKernel(
  { program, isLastUse }: OperatorContext,
  from: RowValue,
  name: GaussianKernel,
): RowValue[] {
  const { value } = inRuns(program, from, { isFree: isLastUse(0) })
  addGaussians(program, value.buffer, name)
  return [{ ...value, isExact: false }]
}
