/** One number for each level and row, ascending: the quantiles of a number. */
import { middlePlace, pinballLoss } from '../model/quantile-levels.ts'
import { numberCounter } from './answer-bins.ts'
import { inUnit, numeric, scaledLoss } from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task } from './task.ts'

export const quantiles: Task<OutputOf<'quantiles'>> = {
  ...numeric,
  expects: 'finite number for each quantile',
  shared: (one, other) =>
    other.kind === one.kind &&
    other.levels.length === one.levels.length &&
    one.levels.every((level) => other.levels.includes(level))
      ? one
      : undefined,
  rises: true,
  place: ({ levels }) => middlePlace(levels),
  scorePlace: ({ levels }) => middlePlace(levels),
  profiled: ({ levels }, outputs, place) => outputs[middlePlace(levels) + place],
  form: ({ levels, unit }) => [levels, unit ?? null],
  described: (output, named) => `the quantiles ${named(output.levels)} of a number${inUnit(output)}`,
  job: ({ levels }) => ({ levels }),
  targets: ({ levels }, labels) =>
    Float32Array.from(
      { length: labels.length * levels.length },
      (_, at) => labels[Math.floor(at / levels.length)]!,
    ),
  // Twice the pinball loss of the median is its absolute error.
  loss: ({ levels }, outputs, [truth], scales) =>
    scaledLoss([2 * pinballLoss(truth!, outputs, levels)], scales),
  counter: ({ levels }, bins) => numberCounter(bins, levels.length, () => middlePlace(levels)),
}
