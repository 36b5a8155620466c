/** One output for each class, summing to 1. */
import { textLiteral } from '../sql-text.ts'
import { maxBins } from './answer-bins.ts'
import { shown } from './numeric.ts'
import { likeliest, likeliestClass, type OutputOf } from './output.ts'
import type { Decides, Task, GateRules } from './task.ts'
import { answerReader, answerWidth } from '../metrics/answers.ts'
import type { GroupMeasure } from '../evaluation/gate-metrics.ts'
import { emptyScores, scaledSurprise, surprise } from '../evaluation/scored-rows.ts'

type Classes = OutputOf<'classes'>

const decides: Decides<Classes> = {
  names: ({ classes }) => classes,
  of: (_output, outputs) => likeliestClass(outputs),
  value: ({ classes }, decision) => classes[decision]!,
  threshold: () => undefined,
  // Of equal scores the first class wins, as in the prediction API.
  sql: ({ classes }, columns) =>
    `[${classes.map(textLiteral).join(', ')}][list_position([${columns.join(', ')}], greatest(${columns.join(', ')}))]`,
  review({ review, classes }) {
    if (review === undefined) return undefined
    const below = Math.fround(review.below)
    const width = classes.length
    return (outputs, row) => {
      for (let at = row * width; at < (row + 1) * width; at++) if (outputs[at]! >= below) return false
      return true
    }
  },
  reviewSql: ({ review }, columns) => review && `greatest(${columns.join(', ')}) < ${review.below}::float`,
}

const gate: GateRules = {
  name: 'multiclass',
  primary: 'accuracy',
  metrics: ['accuracy', 'logLoss', 'brier', 'macroF1'],
  standIns: { macroF1: 'brier' },
  sliceMetrics: ['accuracy', 'brier', 'logLoss'],
  tooGood: 'accuracy',
  hasPositives: false,
  // |Σ_k (p′_k − p_k)(p′_k + p_k − 2y_k)| ≤ 2·Σ_k |p′_k − p_k|, and the distance is half of that sum.
  mostPerDistance: { brier: 4 },
  fairness: {
    selectionRatio: 'predicted rates of each class',
    rateDifference: 'accuracy, recall of each class',
  },
  groupMeasures: ({ y, predicted, classes: count }, names) => [
    { name: 'accuracy', limit: 'rateDifference', value: (row) => Number(predicted[row] === y[row]) },
    ...Array.from({ length: count }, (_, k): GroupMeasure[] => {
      const value = (row: number) => Number(predicted[row] === k)
      const name = names[k] ?? String(k)
      return [
        { name: `recall of ${name}`, limit: 'rateDifference', value, counts: (row) => y[row] === k },
        { name: `predicted rate of ${name}`, limit: 'selectionRatio', value },
      ]
    }).flat(),
  ],
  baselineIssue: 'one column cannot predict a probability for each class: leave it out',
  classes: (width) => width,
  widthIssue: (width) => (width < 2 ? `${width} output a row, one is needed for each class` : null),
  misfit: (width, _facts, challenger) => (width === challenger ? undefined : 'has another number of classes'),
  score(y, answers) {
    const scored = {
      ...emptyScores('multiclass', y),
      predicted: new Uint16Array(y.length),
      confidence: new Float64Array(y.length),
      squares: new Float64Array(y.length),
      classes: answerWidth(answers),
    }
    const rowAt = answerReader(answers)
    for (let i = 0; i < y.length; i++) {
      const row = rowAt(i)
      let best = 0
      let squares = 0
      row.forEach((p, k) => {
        if (p > row[best]!) best = k
        squares += (p - (y[i] === k ? 1 : 0)) ** 2
      })
      scored.score[i] = row[y[i]!] ?? 0
      scored.predicted[i] = best
      scored.confidence[i] = row[best]!
      scored.squares[i] = squares
    }
    return scored
  },
  losses: {
    brier: ({ squares }) => squares,
    logLoss: ({ score }) => score.map(surprise),
  },
  naive: (y, _facts, width) => classShares(y, width),
  forMetric: (row) => row,
}

/** The share of each class among the labels, of at least two classes. */
export function classShares(y: readonly number[], width: number): number[] {
  const shares = Array.from({ length: Math.max(2, width) }, (_, k) =>
    y.reduce((sum, label) => sum + (label === k ? 1 / y.length : 0), 0),
  )
  const total = shares.reduce((sum, share) => sum + share, 0)
  return shares.map((share) => share / total)
}

export const classes: Task<Classes> = {
  word: 'oneOf',
  expects: 'probability of each class, with the sum 1 (one-vs-all gives no such answers)',
  numbers: () => [],
  shared: (one, other) =>
    other.kind === one.kind &&
    other.classes.length === one.classes.length &&
    one.classes.every((name) => other.classes.includes(name))
      ? one
      : undefined,
  rises: false,
  place: (_output, outputs) => likeliestClass(outputs),
  scorePlace: () => 0,
  profiled: (output, outputs) => output.classes[likeliestClass(outputs)],
  decides,
  fields: ({ classes: names }) => [
    { field: 'label', is: 'name', names },
    { field: 'probabilities', is: 'numbers', names },
  ],
  noun: 'probability',
  range: () => ({ min: 0, max: 1 }),
  sumsToOne: true,
  // The total variation distance: half the sum of the differences; 1 when the two do not overlap.
  distanceUnit: () => 2,
  suggestion: (output, outputs) =>
    output.classes.length === 2 && outputs === 1
      ? `: a probability of one class is declared by yesNo({ positive: ${JSON.stringify(output.classes[1])} }), whose label column holds true or false, 1 or 0`
      : '',
  issueOfExact: (output, answer) =>
    output.classes.some((name) => name === answer)
      ? undefined
      : `one of ${output.classes.join(', ')} is required`,
  issueOfMeant: (output, of = '') =>
    output.classes.includes(of)
      ? undefined
      : `the class whose probability is meant is required, one of ${output.classes.join(', ')}`,
  constant: (output, answer) =>
    output.classes.some((each) => each === answer)
      ? output.classes.map((each) => (each === answer ? 1 : 0))
      : { required: `one of ${output.classes.join(', ')}` },
  form: (output) => [output.classes],
  described: (output, named) => `a probability for each of ${named(output.classes)}`,
  labelKind: 'text',
  job: (output) => ({ classes: output.classes }),
  targets(output, labels) {
    const width = output.classes.length
    const targets = new Float32Array(labels.length * width)
    for (let row = 0; row < labels.length; row++)
      if (labels[row]! >= 0) targets[row * width + labels[row]!] = 1
    return targets
  },
  expected: (output, [column]) => [
    { check: 'in_set', column: column!, values: output.classes, severity: 'block' },
  ],
  issueOfOutcome: (output, value, now) =>
    [output, now].some(
      (each) => each?.kind === output.kind && typeof value === 'string' && each.classes.includes(value),
    )
      ? undefined
      : `${shown(value)} is not one of the classes ${output.classes.slice(0, 20).join(', ')}`,
  canonical: (_output, value) => value,
  readText: (_output, text) => text,
  truth(output, value) {
    if (typeof value === 'object') return null
    // The text of an unknown prediction was read as true or false.
    const place = output.classes.findIndex(
      (name) => name === String(value) || (typeof value === 'boolean' && name === String(Number(value))),
    )
    return place < 0 ? null : [place]
  },
  losses: {
    accuracy: (_output, outputs, truths) => Number(likeliestClass(outputs) !== truths[0]),
    brier(_output, outputs, [truth]) {
      // A class that only the other version knows has no probability here.
      let squares = Number(truth === -1)
      for (let k = 0; k < outputs.length; k++) squares += (outputs[k]! - Number(k === truth)) ** 2
      return squares / 2
    },
    logLoss: (_output, outputs, [truth]) => scaledSurprise(outputs[truth!] ?? 0),
  },
  gate,
  facts: () => ({}),
  bins: (output) => ({
    names:
      output.classes.length <= maxBins
        ? [...output.classes]
        : [...output.classes.slice(0, maxBins - 1), 'other'],
    perAnswer: 1,
    numbers: [],
  }),
  counter(output, { names }) {
    const width = output.classes.length
    const bins = output.classes.map((name) => {
      const place = names.indexOf(name)
      return place < 0 ? names.length - 1 : place
    })
    return (counts, outputs, row) => void counts[bins[likeliest(outputs, row * width, width)]!]!++
  },
}
