/** Defines labels: what the model learns to predict, the column with the value, and the time at which it became known. */
import type * as tfjs from '@tensorflow/tfjs'
import { labelColumns, type LabelDefinition } from '../../domain/model-definition.ts'
import type { Features } from '../../domain/model/features.ts'
import { reportUnknown } from './fields.ts'
import { reportDistinct, reportRange, type IssueCollector } from './issues.ts'
import type {
  ClassBand,
  NumericOutput,
  ProbabilityBand,
  Output,
  OutputKind,
  OutputOf,
} from '../../domain/tasks/output.ts'
import { numbersOf } from '../../domain/tasks/tasks.ts'

interface LabelOptions {
  /** The column of the source. Default: `label`. */
  column?: string
  /**
   * The column with the time at which the label became known. Rows known later than `asOf` are omitted. Where one class becomes known
   * later than the other, also set `matured` of the split.
   */
  knownAt?: string
}

interface NumberOptions {
  /** The unit; displayed, never converted. */
  unit?: string
  /** The least value. The gate refuses a version that answers below it. */
  min?: number
  /** The largest value. The gate refuses a version that answers above it. */
  max?: number
  /** Whether an answer outside of `min` and `max` becomes the nearest limit instead, in training, gate and predictions alike. Default: false. */
  clip?: boolean
}

/** Defines a label with several classes: `oneOf(['setosa', 'versicolor', 'virginica'])`. */
export function oneOf(
  classes: readonly string[],
  options: LabelOptions & {
    /** Predictions whose largest probability is below this are marked for human review: `{ below: 0.6 }`. */
    review?: ClassBand
  } = {},
): LabelDefinition {
  const { review, ...rest } = options
  return { column: 'label', ...rest, output: { kind: 'classes', classes, ...(review && { review }) } }
}

/** Defines a label that is true or false: the model predicts the probability of true. */
export function yesNo(
  options: LabelOptions & {
    /** The name of true in predictions. */
    positive: string
    /** The probability from which a prediction is positive, between 0 and 1. Default: 0.5. */
    threshold?: number
    /** Predictions from one probability to the other are marked for human review: `{ from: 0.4, to: 0.6 }`. */
    review?: ProbabilityBand
  },
): LabelDefinition {
  const { positive, threshold = 0.5, review, ...rest } = options
  const output = { kind: 'probability', positive, threshold, ...(review && { review }) } as const
  return { column: 'label', ...rest, output }
}

/** Defines a label that is a number: `quantity({ unit: 'min', min: 0 })`. */
export function quantity(options: LabelOptions & NumberOptions = {}): LabelDefinition {
  const { unit, min, max, clip, ...rest } = options
  return { column: 'label', ...rest, output: { kind: 'number', unit, min, max, clip } }
}

/**
 * Defines a label predicted by quantiles of a number, for an interval around the value: `quantiles([0.1, 0.5, 0.9], { unit: 'min' })`, with 2 to 99 rising
 * levels between 0 and 1. The model returns one output per level; crossing quantiles are sorted.
 */
export function quantiles(
  levels: readonly number[],
  options: LabelOptions & NumberOptions = {},
): LabelDefinition {
  const { unit, min, max, clip, ...rest } = options
  return { column: 'label', ...rest, output: { kind: 'quantiles', levels, unit, min, max, clip } }
}

/**
 * Defines a label of several numbers per row: `quantities(['departure_delay', 'arrival_delay'], { unit: 'min' })` names their 2 to 100 columns. The model
 * returns one output per number, in this order; predictions and outcomes name them.
 */
export function quantities(
  columns: readonly string[],
  options: Omit<LabelOptions, 'column'> & NumberOptions = {},
): LabelDefinition {
  const { unit, min, max, clip, ...rest } = options
  const names = Array.isArray(columns) ? columns : [columns]
  return { column: String(names[0]), ...rest, output: { kind: 'numbers', names, unit, min, max, clip } }
}

/**
 * The pinball loss of a network with one output per level: `network.compile({ optimizer, loss: pinball(tf, [0.1, 0.5, 0.9]) })`. Pass the
 * levels of the label.
 */
export function pinball(
  tf: typeof tfjs,
  levels: readonly number[],
): (y: tfjs.Tensor, answers: tfjs.Tensor) => tfjs.Tensor {
  return (y, answers) =>
    tf.tidy(() => {
      const error = tf.sub(y, answers)
      const level = tf.tensor1d([...levels])
      return tf.mean(tf.maximum(tf.mul(level, error), tf.mul(tf.sub(level, 1), error)), -1)
    })
}

/** What a label of each kind may set, besides its column, and the check of its output. */
const labelsOf: {
  readonly [Kind in OutputKind]: {
    options: readonly string[]
    check: (report: IssueCollector, output: OutputOf<Kind>, column: string) => void
  }
} = {
  probability: {
    options: ['column', 'positive', 'threshold', 'review'],
    check(report, { positive, threshold, review }) {
      if (review !== undefined && !(review.from >= 0 && review.from <= review.to && review.to <= 1))
        report('label.review', `{ from: 0.4, to: 0.6 } is required, not ${JSON.stringify(review)}`)
      if (!(threshold > 0 && threshold < 1))
        report('label.threshold', `a number between 0 and 1 is required, not ${threshold}`)
      if (typeof positive !== 'string' || positive === '')
        report('label.positive', 'the name of the positive class is required')
    },
  },
  classes: {
    options: ['column', 'review'],
    check(report, { classes, review }) {
      reportDistinct(report, 'label', classes, 2)
      if (review !== undefined && !(review.below > 0 && review.below <= 1))
        report('label.review', `{ below: 0.6 } is required, not ${JSON.stringify(review)}`)
    },
  },
  number: {
    options: ['column', 'unit', 'min', 'max', 'clip'],
    check: (report, output) => reportLimits(report, output),
  },
  quantiles: {
    options: ['column', 'unit', 'min', 'max', 'clip'],
    check(report, output) {
      reportLimits(report, output)
      checkLevels(report, output.levels)
    },
  },
  numbers: {
    options: ['unit', 'min', 'max', 'clip'],
    check(report, output, column) {
      checkNames(report, output.names, column)
      reportLimits(report, output)
    },
  },
}

function reportLimits(report: IssueCollector, output: NumericOutput): void {
  reportRange(report, 'label', output)
  const { min, max, clip } = output
  if (clip !== undefined && typeof clip !== 'boolean') report('label.clip', 'true or false is required')
  if (clip === true && min === undefined && max === undefined)
    report('label.clip', 'answers are clipped at a limit: add min or max')
}

export function checkLabel(report: IssueCollector, label: LabelDefinition, features: Features): void {
  const { output, column, knownAt: _knownAt, ...more } = label
  const { options, check } = labelsOf[output.kind] as (typeof labelsOf)[OutputKind] & {
    check: (report: IssueCollector, output: Output, column: string) => void
  }
  reportUnknown(report, 'label', more, ['knownAt', ...options])
  if (numbersOf(output).length === 0 && (typeof column !== 'string' || column === ''))
    report('label.column', 'the name of a column is required')
  // Queries do not tell capital letters from small ones.
  const names = new Set(Object.keys(features).map((name) => name.toLowerCase()))
  for (const each of labelColumns(label))
    if (names.has(String(each).toLowerCase()))
      report('label.column', `${each} is also a feature: the model would see its label`)
  if (label.knownAt !== undefined && label.knownAt in features)
    report('label.knownAt', `${label.knownAt} is also a feature: it is unknown at prediction time`)
  check(report, output, column)
}

function checkLevels(report: IssueCollector, levels: readonly number[]): void {
  const isRising =
    Array.isArray(levels) &&
    levels.length >= 2 &&
    levels.length <= maxLevels &&
    levels.every((level, place) => level > (levels[place - 1] ?? 0) && level < 1)
  if (!isRising)
    report(
      'label',
      `quantiles are 2 to ${maxLevels} rising levels between 0 and 1, such as [0.1, 0.5, 0.9], not ${JSON.stringify(levels)}`,
    )
}

function checkNames(report: IssueCollector, names: readonly string[], column: unknown): void {
  const isList =
    names.length >= 2 &&
    names.length <= maxNumbers &&
    names.every((name) => typeof name === 'string' && name !== '')
  if (!isList)
    report(
      'label',
      `quantities are the names of 2 to ${maxNumbers} columns, not ${JSON.stringify(names).slice(0, 200)}; one column is quantity({ column })`,
    )
  else if (column !== names[0]) report('label.column', 'the columns are the list: leave it out')
  else if (new Set(names.map((name) => name.toLowerCase())).size < names.length)
    report('label', 'a column is listed twice')
}

const maxLevels = 99
/** Limited because every prediction names each number. */
const maxNumbers = 100
