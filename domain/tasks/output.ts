/** Defines what a model answers: the kinds of an output, and what all tasks read of it. */
import { sortQuantiles } from '../model/quantile-levels.ts'

/** The probabilities whose answers a person reviews; both ends are included. */
export interface ProbabilityBand {
  from: number
  to: number
}

/** Answers whose largest probability is below `below` are reviewed by a person. */
export interface ClassBand {
  below: number
}

/** The meaning of the network's outputs. */
export type Output =
  /** One output in [0, 1] per row: the probability of the positive class. */
  | { kind: 'probability'; positive: string; threshold: number; review?: ProbabilityBand }
  /** One output per class, summing to 1. */
  | { kind: 'classes'; classes: readonly string[]; review?: ClassBand }
  /** One real number per row. */
  | { kind: 'number'; unit?: string; min?: number; max?: number; clip?: boolean }
  /** One number per level and row, ascending: with probability `levels[k]`, the truth is at most the k-th number. */
  | {
      kind: 'quantiles'
      levels: readonly number[]
      unit?: string
      min?: number
      max?: number
      clip?: boolean
    }
  /** Several numbers per row: one per name, in this order. */
  | { kind: 'numbers'; names: readonly string[]; unit?: string; min?: number; max?: number; clip?: boolean }

export type OutputKind = Output['kind']
export type OutputOf<Kind extends OutputKind> = Extract<Output, { kind: Kind }>

/** How the gate, its policy and reports name a task. */
export type TaskName = 'binary' | 'multiclass' | 'regression' | 'quantiles' | 'multioutput'

const numericKinds = ['number', 'quantiles', 'numbers'] as const satisfies OutputKind[]
/** An output of numbers, which may have a unit and limits. */
export type NumericOutput = OutputOf<(typeof numericKinds)[number]>

/** Whether the model predicts numbers instead of classes. */
export const isOfNumbers = (output: Output): output is NumericOutput =>
  numericKinds.some((kind) => kind === output.kind)

/** A field of a prediction, computed from the outputs of its row. */
export type AnswerField =
  /** The one number of an answer. */
  | { field: string; is: 'number' }
  /** All numbers of an answer, by name. */
  | { field: string; is: 'numbers'; names: readonly string[] }
  /** Whether the one number is at least the threshold. */
  | { field: string; is: 'flag'; threshold: number }
  /** The name of the largest number. */
  | { field: string; is: 'name'; names: readonly string[] }
  /** The same text in each prediction of a version. */
  | { field: string; is: 'text'; text: string }

/** The limits of a number of an answer, and its unit. */
export interface NumberRange {
  min?: number
  max?: number
  unit?: string
  /** Whether a number outside becomes the nearest limit. */
  clip?: boolean
}

/** How the outputs of a row become a prediction, for code that knows no tasks. */
export interface AnswerForm {
  fields: readonly AnswerField[]
  /** What a number of an answer is. */
  noun: string
  range: NumberRange
  /** Whether the outputs of a row rise, so that crossing ones are sorted. */
  rises: boolean
}

/** For several numbers, an object with each number by name. */
export type OutcomeValue = number | string | boolean | Readonly<Record<string, number>>

/** The name of the positive one of two classes; undefined for other outputs. */
export const positiveOf = (output: Output): string | undefined =>
  output.kind === 'probability' ? output.positive : undefined

/** The decision on a probability as people read it: `late`, or `not late`. */
export const decisionText = ({ positive }: { positive: string }, isPositive: boolean): string =>
  isPositive ? positive : `not ${positive}`

/** The limits of a number as a text: `min 0 and max 60`. */
export const limitsText = ({ min, max }: { min?: number; max?: number }): string =>
  [min === undefined ? [] : `min ${min}`, max === undefined ? [] : `max ${max}`].flat().join(' and ')

/** The limits of answers, which are in 32 bits: 0.1 is a little more there. */
export const answerLimits = ({
  min = -Infinity,
  max = Infinity,
}: NumberRange): { min: number; max: number } => ({
  min: Math.max(-maxFloat, Math.fround(min)),
  max: Math.min(maxFloat, Math.fround(max)),
})

const maxFloat = Math.fround(3.4028234663852886e38)

/** Corrects the outputs of rows in place. */
type Correction = (outputs: Float32Array | Float64Array | number[], rows: number) => void

/**
 * Sorts outputs that must rise in each row, and replaces numbers outside of the limits by the nearest limit where the label says so; NaN and
 * infinite numbers stay invalid. Undefined where nothing is corrected.
 */
export function compileCorrection(
  { rises, range }: Pick<AnswerForm, 'rises' | 'range'>,
  width: number,
): Correction | undefined {
  const isClipped = range.clip === true
  if (!rises && !isClipped) return undefined
  const { min, max } = answerLimits(range)
  return (outputs, rows) => {
    if (rises) sortQuantiles(outputs, rows, width)
    if (!isClipped) return
    for (let i = 0; i < rows * width; i++) {
      const value = outputs[i]!
      if (Number.isFinite(value)) outputs[i] = Math.min(max, Math.max(min, value))
    }
  }
}

/** The class of an answer: the first class with the largest probability. */
export const likeliestClass = (outputs: readonly number[] | Float32Array): number =>
  outputs.indexOf(Math.max(...outputs))

/** The index of the largest of `count` numbers, starting at `at`. */
export function likeliest(outputs: ArrayLike<number>, at: number, count: number): number {
  let best = 0
  for (let i = 1; i < count; i++) if (outputs[at + i]! > outputs[at + best]!) best = i
  return best
}
