/** Defines features and outputs, which the model file, the artifact, serving and the drift profile share. */
import type { FeatureOrigin } from './feature-view.ts'

export interface NumberFeature {
  kind: 'number'
  /** The unit; displayed, never converted. */
  unit?: string
  /**
   * The lower end of the expected range. Values outside are served and counted; a batch in which more than 10 % of the values are
   * outside is blocked.
   */
  min?: number
  /** The upper end of the expected range. */
  max?: number
  /**
   * Whether null may be sent. A network of Tenure gets the value fitted in training instead; another model gets the missing value itself.
   */
  missing?: 'fill'
  /**
   * `'missing'`: a value outside `min` to `max` is imputed like a missing value, in training and serving. A sender that changes its unit
   * then costs this feature, not the prediction. The value is logged and counted as it was sent.
   */
  outside?: 'missing'
  /** A description for readers. */
  about?: string
  /** The feature view that provides the value when a request does not; absent when every request must send it. */
  from?: FeatureOrigin
}

export interface CategoryFeature {
  kind: 'category'
  /** The values that may be sent. Absent: any text. A value not seen in training is encoded as "other" and named in the response. */
  values?: readonly string[]
  /** Whether null may be sent. It is encoded as "other". */
  missing?: 'fill'
  /** A description for readers. */
  about?: string
  /** The feature view that provides the value when a request does not; absent when every request must send it. */
  from?: FeatureOrigin
}

export type Feature = NumberFeature | CategoryFeature
export type Features = Record<string, Feature>

/** The values that reach the model unchanged; others are imputed. */
export function acceptedRange({ min, max, outside }: NumberFeature): { low: number; high: number } {
  return outside === undefined
    ? { low: -Infinity, high: Infinity }
    : { low: min ?? -Infinity, high: max ?? Infinity }
}

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
  | { kind: 'number'; unit?: string; min?: number; max?: number }
  /** One number per level and row, ascending: with probability `levels[k]`, the truth is at most the k-th number. */
  | { kind: 'quantiles'; levels: readonly number[]; unit?: string; min?: number; max?: number }
  /** Several numbers per row: one per name, in this order. */
  | { kind: 'numbers'; names: readonly string[]; unit?: string; min?: number; max?: number }

/** The decision on a probability as people read it: `late`, or `not late`. */
export const decisionText = ({ positive }: { positive: string }, isPositive: boolean): string =>
  isPositive ? positive : `not ${positive}`

/** How many numbers one answer has. */
export const outputWidth = (output: Output): number => outputNames(output).length || 1

/** The names of the numbers of an answer: classes, levels of quantiles, or names; empty when an answer is one number. */
export function outputNames(output: Output): readonly (string | number)[] {
  switch (output.kind) {
    case 'classes':
      return output.classes
    case 'quantiles':
      return output.levels
    case 'numbers':
      return output.names
    case 'number':
    case 'probability':
      return []
  }
}

/** The position of each number of `wanted` in an answer of `given`, by name; -1 when missing. */
export function placesIn(given: Output, output: Output): number[] {
  if (given.kind !== output.kind) return Array.from({ length: outputWidth(output) }, () => -1)
  const names = outputNames(given)
  return names.length === 0 ? [0] : outputNames(output).map((name) => names.indexOf(name))
}

/**
 * The output that two versions share, in the order of the first; undefined when their answers cannot be compared. For several numbers:
 * those with the same name. Classes and levels must be equal, in any order.
 */
export function sharedOutput(one: Output, other: Output): Output | undefined {
  const places = placesIn(other, one)
  if (one.kind === 'numbers') {
    const names = one.names.filter((_, at) => places[at]! >= 0)
    return names.length === 0 ? undefined : { ...one, names }
  }
  return places.includes(-1) || outputWidth(one) !== outputWidth(other) ? undefined : one
}

/** Whether the model predicts numbers instead of classes. */
export const isOfNumbers = (
  output: Output,
): output is Extract<Output, { kind: 'number' | 'quantiles' | 'numbers' }> =>
  output.kind === 'number' || output.kind === 'quantiles' || output.kind === 'numbers'

/** The limits of a number as a text: `min 0 and max 60`. */
export const limitsText = ({ min, max }: { min?: number; max?: number }): string =>
  [min === undefined ? [] : `min ${min}`, max === undefined ? [] : `max ${max}`].flat().join(' and ')

/** How many numbers one truth has. */
export const truthWidth = (output: Output): number => (output.kind === 'numbers' ? output.names.length : 1)

/** The class of an answer: the first class with the largest probability. */
export const likeliestClass = (outputs: readonly number[] | Float32Array): number =>
  outputs.indexOf(Math.max(...outputs))

/** A row as it is sent and stored: one value per feature. */
export type FeatureRow = Record<string, number | string | null>

/** Whether a row may lack the feature. A lookup sets a looked-up one, also where it finds nothing. */
export const isOmittable = ({ missing, from }: Feature): boolean => missing === 'fill' && from === undefined
