/** One output a row: the probability of the positive class. */
import { readFlag } from '../values/readings.ts'
import { numberOf, shown, constantWithin, issueOfNone } from './numeric.ts'
import { decisionText, type OutputOf } from './output.ts'
import type { Decides, Task, GateRules } from './task.ts'
import { answerReader } from '../metrics/answers.ts'
import { emptyScores, scaledSurprise, surprise } from '../evaluation/scored-rows.ts'
import { classShares } from './classes.ts'

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

const gate: GateRules = {
  name: 'binary',
  primary: 'auc',
  metrics: [
    'auc',
    'accuracy',
    'brier',
    'logLoss',
    'f1',
    'precision',
    'recall',
    'averagePrecision',
    'recallAtTop',
    'precisionAtTop',
  ],
  standIns: {
    auc: 'brier',
    averagePrecision: 'brier',
    recallAtTop: 'brier',
    precisionAtTop: 'brier',
    f1: 'cost',
    precision: 'cost',
    recall: 'cost',
    own: 'cost',
  },
  sliceMetrics: ['accuracy', 'auc', 'brier', 'logLoss'],
  tooGood: 'auc',
  hasPositives: true,
  // |(p′ − y)² − (p − y)²| = |p′ − p|·|p′ + p − 2y| ≤ 2·|p′ − p|.
  mostPerDistance: { brier: 2 },
  fairness: {
    selectionRatio: 'selection rates',
    rateDifference: 'true-positive and false-positive rates',
  },
  groupMeasures: ({ y, predicted }) => {
    const value = (row: number) => predicted[row]!
    return [
      { name: 'selection rate', limit: 'selectionRatio', value },
      { name: 'true-positive rate', limit: 'rateDifference', value, counts: (row) => y[row] === 1 },
      { name: 'false-positive rate', limit: 'rateDifference', value, counts: (row) => y[row] === 0 },
    ]
  },
  baselineIssue: undefined,
  classes: () => 2,
  widthIssue: (width) => (width > 2 ? `${width} outputs a row, a binary task has one or two` : null),
  misfit: () => undefined,
  score(y, answers, { threshold, top }) {
    const scored = { ...emptyScores('binary', y), predicted: new Uint16Array(y.length), classes: 2, top }
    const rowAt = answerReader(answers)
    for (let i = 0; i < y.length; i++) {
      const p = positiveOf(rowAt(i))
      scored.score[i] = p
      scored.predicted[i] = p >= threshold ? 1 : 0
    }
    return scored
  },
  losses: {
    brier: ({ y, score }) => score.map((p, i) => (p - y[i]!) ** 2),
    logLoss: ({ y, score }) => score.map((p, i) => surprise(y[i] === 0 ? 1 - p : p)),
  },
  naive: (y, _facts, width) => classShares(y, width),
  forMetric: positiveOf,
}

/** One or two outputs a row: the last is the probability of the positive class. */
function positiveOf(row: readonly number[]): number {
  return row.length === 1 ? row[0]! : row[1]!
}

/** As the label of a file is read: the name of the positive class, or yes and no. */
function readText({ positive }: Probability, text: string): boolean | undefined {
  if (text === positive) return true
  const flag = readFlag(text)
  return flag === undefined ? undefined : flag === 1
}

export const probability: Task<Probability> = {
  word: 'yesNo',
  expects: 'probability',
  numbers: () => [],
  shared: (one, other) => (other.kind === one.kind ? one : undefined),
  rises: false,
  place: (_output, outputs) => outputs.length - 1,
  scorePlace: () => 0,
  profiled: (_output, outputs, number) => outputs[number],
  decides,
  fields: ({ threshold, positive }) => [
    { field: 'probability', is: 'number' },
    { field: 'label', is: 'flag', threshold },
    { field: 'positive', is: 'text', text: positive },
  ],
  noun: 'probability',
  range: () => ({ min: 0, max: 1 }),
  sumsToOne: false,
  distanceUnit: () => 1,
  suggestion: () => '',
  issueOfExact({ positive }, answer) {
    const isDecision = typeof answer === 'boolean' || answer === positive || answer === `not ${positive}`
    const isScore = typeof answer === 'number' && answer >= 0 && answer <= 1
    return isDecision || isScore
      ? undefined
      : `${JSON.stringify(positive)}, true, false or a probability is required`
  },
  issueOfMeant: issueOfNone,
  constant: (_output, answer) => constantWithin({ min: 0, max: 1 }, answer, 'a probability from 0 to 1'),
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
      : `${shown(value)} is not true or false, yes or no, 1 or 0, nor ${shown(positive)} for true`,
  canonical(output, value) {
    if (typeof value === 'string') return readText(output, value) ?? value
    return value === 1 ? true : value === 0 ? false : value
  },
  readText,
  truth(_output, value) {
    const number = numberOf(value)
    return number === undefined ? null : [Number(number !== 0)]
  },
  losses: {
    brier: (_output, outputs, truths) => ((outputs[0] ?? NaN) - truths[0]!) ** 2,
    logLoss: (_output, [p = NaN], truths) => scaledSurprise(truths[0] === 1 ? p : 1 - p),
    accuracy: (output, outputs, truths) => Number(decides.of(output, outputs) !== truths[0]),
    // Deciding for the positive class from the threshold on is best where a false alarm costs t and a miss 1 − t (Elkan, IJCAI 2001).
    cost(output, outputs, truths, { threshold = output.threshold }) {
      if (decides.of(output, outputs) === truths[0]) return 0
      return (truths[0] === 1 ? 1 - threshold : threshold) / Math.max(threshold, 1 - threshold)
    },
  },
  gate,
  facts: ({ threshold }) => ({ threshold }),
  bins: (output) => ({ names: [...decides.names(output)], perAnswer: 1, numbers: [] }),
  counter:
    ({ threshold }) =>
    (counts, outputs, row) =>
      void counts[outputs[row]! >= threshold ? 1 : 0]!++,
}
