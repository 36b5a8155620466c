/** Marks the answers that a person must decide, by the review band of the label. The band is frozen into the version. */
import type { Output } from '../model/features.ts'

/** Whether the answer to a row needs review, computed on 32-bit outputs; undefined for a model without a band. */
export function compileReview(
  output: Output,
): ((outputs: ArrayLike<number>, row: number) => boolean) | undefined {
  if (output.kind === 'probability' && output.review !== undefined) {
    const [from, to] = [Math.fround(output.review.from), Math.fround(output.review.to)]
    return (outputs, row) => outputs[row]! >= from && outputs[row]! <= to
  }
  if (output.kind === 'classes' && output.review !== undefined) {
    const below = Math.fround(output.review.below)
    const width = output.classes.length
    return (outputs, row) => {
      for (let at = row * width; at < (row + 1) * width; at++) if (outputs[at]! >= below) return false
      return true
    }
  }
  return undefined
}
