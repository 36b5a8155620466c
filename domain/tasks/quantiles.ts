/** One number for each level and row, ascending: the quantiles of a number. */
import { quantiles as quantilesOf } from '@tenure/sequential'
import { middlePlace, pinballLoss } from '../model/quantile-levels.ts'
import { numberCounter } from './answer-bins.ts'
import { inUnit, numeric, scaledLoss, numericGate, isListOf, standardDeviation } from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task, GateRules } from './task.ts'
import { answerReader } from '../metrics/answers.ts'
import { emptyScores, type ScoredRows } from '../evaluation/scored-rows.ts'

const gate: GateRules = {
  ...numericGate,
  name: 'quantiles',
  primary: 'pinball',
  metrics: ['pinball', 'coverageError', 'mae'],
  standIns: { coverageError: 'pinball' },
  sliceMetrics: ['pinball', 'mae'],
  // The loss of a level has a slope of at most 1.
  mostPerDistance: { pinball: 1 },
  fairness: { rateDifference: 'coverage', errorDifference: 'pinball loss' },
  groupMeasures({ y, sides, squares }) {
    const unit = standardDeviation(y)
    return [
      // Neither below the first quantile nor above the last one.
      { name: 'coverage', limit: 'rateDifference', value: (row) => Number((sides[row]! & 9) === 8) },
      { name: 'pinball loss', limit: 'errorDifference', value: (row) => squares[row]! / unit },
    ]
  },
  baselineIssue: 'one column cannot predict every quantile: leave it out',
  widthIssue: () => null,
  misfit: (width, { levels }) =>
    width === levels?.length
      ? undefined
      : `gives ${width} numbers a row, the label has ${levels?.length} levels`,
  score(y, answers, { levels = [] }) {
    const scored: ScoredRows = {
      ...emptyScores('quantiles', y),
      squares: new Float64Array(y.length),
      sides: new Uint8Array(y.length),
      outermost: [levels[0]!, levels.at(-1)!],
    }
    const middle = middlePlace(levels)
    const rowAt = answerReader(answers)
    for (let i = 0; i < y.length; i++) {
      const row = rowAt(i)
      scored.score[i] = row[middle]!
      scored.sides[i] = sideOf(y[i]!, row[0]!) | (sideOf(y[i]!, row.at(-1)!) << 2)
      scored.squares[i] = pinballLoss(y[i]!, row, levels)
    }
    return scored
  },
  naive: (y, { levels = [] }) => quantilesOf([...y], levels).map((value) => value ?? NaN),
}

const sideOf = (truth: number, quantile: number): number =>
  Number(truth < quantile) | (Number(truth <= quantile) << 1)

export const quantiles: Task<OutputOf<'quantiles'>> = {
  ...numeric,
  word: 'quantiles',
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
  fields: ({ levels }) => [{ field: 'quantiles', is: 'numbers', names: levels.map(String) }],
  noun: 'quantile',
  distanceUnit: ({ levels }) => levels.length,
  issueOfExact: ({ levels }, answer) =>
    isListOf(levels.length, answer)
      ? undefined
      : `a list of ${levels.length} numbers, one a level, is required`,
  constant: () => ({ none: 'quantiles have no single answer: write previousChampion()' }),
  form: ({ levels, unit }) => [levels, unit ?? null],
  described: (output, named) => `the quantiles ${named(output.levels)} of a number${inUnit(output)}`,
  job: ({ levels }) => ({ levels }),
  targets: ({ levels }, labels) =>
    Float32Array.from(
      { length: labels.length * levels.length },
      (_, at) => labels[Math.floor(at / levels.length)]!,
    ),
  losses: {
    // Twice the pinball loss of the median is its absolute error.
    pinball: ({ levels }, outputs, [truth], { scales }) =>
      scaledLoss([2 * pinballLoss(truth!, outputs, levels)], scales),
    mae: ({ levels }, outputs, [truth], { scales }) =>
      scaledLoss([Math.abs((outputs[middlePlace(levels)] ?? NaN) - truth!)], scales),
  },
  gate,
  facts: ({ levels }) => ({ levels }),
  counter: ({ levels }, bins) => numberCounter(bins, levels.length, () => middlePlace(levels)),
}
