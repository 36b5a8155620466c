/** Marks the answers that a person must decide, by the review band of the label. The band is frozen into the version. */
import type { Output } from '../tasks/output.ts'
import { taskOf } from '../tasks/tasks.ts'

/** Whether the answer to a row needs review, computed on 32-bit outputs; undefined for a model without a band. */
export const compileReview = (
  output: Output,
): ((outputs: ArrayLike<number>, row: number) => boolean) | undefined =>
  taskOf(output).decides?.review(output)
