/** One real number a row. */
import { numberCounter } from './answer-bins.ts'
import { inUnit, numeric, constantOf, errorLosses, numericGate, constantWithin } from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task, GateRules } from './task.ts'
import { answerReader } from '../metrics/answers.ts'
import { emptyScores } from '../evaluation/scored-rows.ts'

const gate: GateRules = {
  ...numericGate,
  name: 'regression',
  primary: 'rmse',
  metrics: ['rmse', 'mae', 'r2'],
  standIns: { r2: 'rmse' },
  sliceMetrics: ['rmse', 'mae'],
  mostPerDistance: { mae: 1 },
  baselineIssue: undefined,
  widthIssue: (width) => (width === 1 ? null : `${width} outputs a row, a regression has one`),
  misfit: () => undefined,
  score(y, answers) {
    const scored = emptyScores('regression', y)
    const rowAt = answerReader(answers)
    for (let i = 0; i < y.length; i++) scored.score[i] = rowAt(i)[0]!
    return scored
  },
  naive: (y, { primary }) => [constantOf(Float64Array.from(y), primary)],
  forMetric: (row) => row[0]!,
}

export const number: Task<OutputOf<'number'>> = {
  ...numeric,
  word: 'quantity',
  expects: 'finite number',
  shared: (one, other) => (other.kind === one.kind ? one : undefined),
  fields: () => [{ field: 'value', is: 'number' }],
  noun: 'value',
  distanceUnit: () => 1,
  suggestion: (_output, outputs) =>
    outputs > 1 ? ': declare quantities([…]) for several numbers, quantiles([…]) for quantiles of one' : '',
  issueOfExact: (_output, answer) => (Number.isFinite(answer) ? undefined : 'a finite number is required'),
  constant: (output, answer) => constantWithin(output, answer, "a number within the label's limits"),
  form: ({ unit }) => [unit ?? null],
  described: (output) => `a number${inUnit(output)}`,
  job: () => ({}),
  losses: errorLosses,
  gate,
  facts: () => ({}),
  counter: (_output, bins) => numberCounter(bins, 1, () => 0),
}
