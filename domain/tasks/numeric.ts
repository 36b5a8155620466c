/** Holds what the tasks of numbers share: limits, outcomes and losses. */
import { sumOf, quantileOfSorted } from '@tenure/sequential'
import type { Expectation } from '../validation/expectations.ts'
import {
  isOfNumbers,
  limitsText,
  type NumericOutput,
  type OutcomeValue,
  type Output,
  type NumberRange,
} from './output.ts'
import { numberBins } from './answer-bins.ts'
import type { GateRules, LossOf, Outputs, Task } from './task.ts'
import type { GateMetric, GroupMeasure, RowLoss } from '../evaluation/gate-metrics.ts'
import type { ScoredRows } from '../evaluation/scored-rows.ts'

/** The minimum share of rows within the range of a number. */
export const mostlyInRange = 0.9

export const inUnit = ({ unit }: { unit?: string }): string => (unit === undefined ? '' : ` in ${unit}`)

/** An outcome as an error shows it. */
export const shown = (value: OutcomeValue): string => JSON.stringify(value).slice(0, 80)

/** Why the number is invalid; the limits of the model file (`now`) are valid too. */
export function issueOfNumber(
  output: NumericOutput,
  value: OutcomeValue,
  now: Output | undefined,
): string | undefined {
  if (typeof value !== 'number') return `${shown(value)} is not a finite number`
  if (!Number.isFinite(value)) return `${value} is not a finite number`
  const isWithin = ({ min = -Infinity, max = Infinity }: NumericOutput) => value >= min && value <= max
  if (isWithin(output) || (now !== undefined && isOfNumbers(now) && isWithin(now))) return undefined
  return `${value} is outside of the label's ${limitsText(output)}`
}

/** The number of a value, of true and false 1 and 0; undefined for a text or an object, and for a number that is not finite. */
export function numberOf(value: OutcomeValue): number | undefined {
  if (typeof value === 'object' || typeof value === 'string') return undefined
  const number = Number(value)
  return Number.isFinite(number) ? number : undefined
}

/** The mean of the losses in units of their scales, at most 1 each; null where no number has a scale. */
export function scaledLoss(losses: readonly number[], scales: readonly number[]): number | null {
  const shares = losses.flatMap((loss, k) => (scales[k]! > 0 ? [Math.min(1, loss / scales[k]!)] : []))
  return shares.length === 0 ? null : sumOf(shares) / shares.length
}

/** The losses of the errors of one number or of several, each by its own scale. */
export const errorLosses = {
  mae: (_output, outputs, truths, { scales }) => scaledLoss(errorsOf(outputs, truths), scales),
  rmse(_output, outputs, truths, { scales }) {
    const squares = errorsOf(outputs, truths).map((error) => error ** 2)
    return scaledLoss(
      squares,
      scales.map((scale) => scale ** 2),
    )
  },
} satisfies Partial<Record<RowLoss, LossOf<Output>>>

const errorsOf = (outputs: Outputs, truths: readonly number[]): number[] =>
  truths.map((truth, k) => Math.abs((outputs[k] ?? NaN) - truth))

export const isListOf = (width: number, answer: unknown): boolean =>
  Array.isArray(answer) && answer.length === width && answer.every(Number.isFinite)

/** Of a task whose answers have no named numbers that a behaviour test could mean. */
export const issueOfNone = (_output: Output, of: string | undefined): string | undefined =>
  of === undefined ? undefined : 'is for labels of several classes or numbers: leave it out'

/** The one output of a constant answer, or what is required instead. */
export function constantWithin(
  { min = -Infinity, max = Infinity }: NumberRange,
  answer: string | number,
  required: string,
): number[] | { required: string } {
  if (typeof answer !== 'number' || !Number.isFinite(answer)) return { required: 'a finite number' }
  return answer >= min && answer <= max ? [answer] : { required }
}

/** What the tasks of numbers decide alike; a task replaces what differs. */
export const numeric = {
  numbers: () => [],
  rises: false,
  place: () => 0,
  scorePlace: () => 0,
  profiled: (_output, outputs, number) => outputs[number],
  decides: undefined,
  range: ({ min, max, unit, clip }) => ({ min, max, unit, clip }),
  sumsToOne: false,
  suggestion: () => '',
  issueOfMeant: issueOfNone,
  labelKind: 'number',
  targets: (_output, labels) => Float32Array.from(labels),
  expected({ min, max }, columns) {
    const isLimited = min !== undefined || max !== undefined
    return [
      { check: 'finite', columns, severity: 'block' },
      ...(isLimited ? columns : []).map((column): Expectation => ({
        check: 'between',
        column,
        min,
        max,
        mostly: mostlyInRange,
        severity: 'block',
      })),
    ]
  },
  issueOfOutcome: issueOfNumber,
  canonical: (_output, value) => value,
  readText: () => undefined,
  truth(_output, value) {
    const truth = numberOf(value)
    return truth === undefined ? null : [truth]
  },
  bins: (_output, profile) => numberBins([], profile),
} satisfies Partial<Task<NumericOutput>>

/** What the gate decides of all tasks of numbers alike. */
export const numericGate = {
  tooGood: undefined,
  hasPositives: false,
  fairness: { errorDifference: 'mean errors, mean absolute errors' },
  groupMeasures: (scored) => errorMeasures(scored),
  classes: () => 0,
  losses: {},
  forMetric: (row) => row,
} satisfies Partial<GateRules>

/** The signed and the absolute errors of a number, in standard deviations of its labels so that one limit fits every unit. */
export function errorMeasures({ y, score }: Pick<ScoredRows, 'y' | 'score'>, of = ''): GroupMeasure[] {
  const unit = standardDeviation(y)
  const error = (row: number) => (score[row]! - y[row]!) / unit
  return [
    { name: `mean error${of}`, limit: 'errorDifference', value: error },
    { name: `mean absolute error${of}`, limit: 'errorDifference', value: (row) => Math.abs(error(row)) },
  ]
}

export function standardDeviation(values: Float64Array): number {
  const mean = sumOf(values) / values.length
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
}

/** The best constant in the metric that decides: the median for MAE, the mean for others. */
export function constantOf(values: Float64Array, primary: GateMetric): number {
  if (primary === 'mae') return quantileOfSorted(values.sort(), 0.5) ?? NaN
  return values.reduce((mean, value) => mean + value / values.length, 0)
}
