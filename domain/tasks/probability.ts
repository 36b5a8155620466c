/** One output a row: the probability of the positive class. */
import { numberOf, shown } from './numeric.ts'
import { decisionText, type OutputOf } from './output.ts'
import type { Decides, Task } from './task.ts'

type Probability = OutputOf<'probability'>

const decides: Decides<Probability> = {
  names: (output) => [decisionText(output, false), decisionText(output, true)],
  of: ({ threshold }, outputs) => Number(outputs.at(-1)! >= threshold),
  value: (_output, decision) => decision === 1,
  threshold: ({ threshold }) => threshold,
  sql: ({ threshold }, [column]) => `cast(cast(${column} as double) >= ${threshold} as varchar)`,
  review({ review }) {
    if (review === undefined) return undefined
    const [from, to] = [Math.fround(review.from), Math.fround(review.to)]
    return (outputs, row) => outputs[row]! >= from && outputs[row]! <= to
  },
  reviewSql: ({ review }, [column]) =>
    review && `${column} between ${review.from}::float and ${review.to}::float`,
}

export const probability: Task<Probability> = {
  expects: 'probability',
  numbers: () => [],
  shared: (one, other) => (other.kind === one.kind ? one : undefined),
  rises: false,
  place: (_output, outputs) => outputs.length - 1,
  scorePlace: () => 0,
  profiled: (_output, outputs, number) => outputs[number],
  decides,
  form: ({ positive }) => [positive],
  described: ({ positive }) => `the probability of ${positive}`,
  labelKind: 'flag',
  job: ({ positive }) => ({ positive }),
  targets: (_output, labels) => Float32Array.from(labels),
  expected: (_output, [column]) => [
    { check: 'every_class', column: column!, classes: [0, 1], min: 1, severity: 'block' },
  ],
  issueOfOutcome: ({ positive }, value) =>
    value === true || value === false || value === 1 || value === 0
      ? undefined
      : `${shown(value)} is not true, false, 1 or 0, nor ${shown(positive)} for true`,
  canonical({ positive }, value) {
    if (value === 1 || value === positive) return true
    return value === 0 ? false : value
  },
  readText: ({ positive }, text) => (text === positive ? true : undefined),
  truth(_output, value) {
    const number = numberOf(value)
    return number === undefined ? null : [Number(number !== 0)]
  },
  // The Brier score.
  loss: (_output, outputs, truths) => ((outputs[0] ?? NaN) - truths[0]!) ** 2,
  bins: (output) => ({ names: [...decides.names(output)], perAnswer: 1, numbers: [] }),
  counter:
    ({ threshold }) =>
    (counts, outputs, row) =>
      void counts[outputs[row]! >= threshold ? 1 : 0]!++,
}
