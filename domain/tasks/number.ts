/** One real number a row. */
import { numberCounter } from './answer-bins.ts'
import { inUnit, numeric, scaledLoss } from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task } from './task.ts'

export const number: Task<OutputOf<'number'>> = {
  ...numeric,
  expects: 'finite number',
  shared: (one, other) => (other.kind === one.kind ? one : undefined),
  form: ({ unit }) => [unit ?? null],
  described: (output) => `a number${inUnit(output)}`,
  job: () => ({}),
  loss: (_output, outputs, [truth], scales) => scaledLoss([Math.abs((outputs[0] ?? NaN) - truth!)], scales),
  counter: (_output, bins) => numberCounter(bins, 1, () => 0),
}
