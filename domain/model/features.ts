/** Defines features and outputs, which the model file, the artifact, serving and the drift profile share. */
import type { FeatureOrigin } from './feature-view.ts'

export interface NumberFeature {
  kind: 'number'
  /** The unit; displayed, never converted. */
  unit?: string
  /** The lower end of the expected range. Values outside are served and counted; a batch with 10 % of them is blocked. */
  min?: number
  /** The upper end of the expected range. */
  max?: number
  /** Whether null may be sent: a network of Tenure gets the value fitted in training in its place, another model the missing value itself. */
  missing?: 'fill'
  /**
   * `'missing'`: a value outside of `min` to `max` is imputed as a missing one, in training and serving, so that a sender that changes its
   * unit costs this feature and not the answer. It is logged and counted as it was sent.
   */
  outside?: 'missing'
  /** A description for readers. */
  about?: string
  /** The feature view that provides it when a request does not; absent when every request must send it. */
  from?: FeatureOrigin
}

export interface CategoryFeature {
  kind: 'category'
  /** The values that may be sent; any text when absent. A value not seen in training is encoded as "other", and named in the response. */
  values?: readonly string[]
  /** Whether null may be sent. It is encoded as "other". */
  missing?: 'fill'
  /** A description for readers. */
  about?: string
  /** The feature view that provides it when a request does not; absent when every request must send it. */
  from?: FeatureOrigin
}

export type Feature = NumberFeature | CategoryFeature
export type Features = Record<string, Feature>

/** The values that reach the model as they are; others are imputed. */
export function acceptedRange({ min, max, outside }: NumberFeature): { low: number; high: number } {
  return outside === undefined
    ? { low: -Infinity, high: Infinity }
    : { low: min ?? -Infinity, high: max ?? Infinity }
}

/** The probabilities that a person reviews; both ends belong to it. */
export interface ProbabilityBand {
  from: number
  to: number
}

/** The answers of classes that a person reviews: the largest probability is below. */
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
  /** One number per level and row, rising: with probability `levels[k]`, the truth is at most the k-th. */
  | { kind: 'quantiles'; levels: readonly number[]; unit?: string; min?: number; max?: number }
  /** Several numbers a row: one of each name, in their order. */
  | { kind: 'numbers'; names: readonly string[]; unit?: string; min?: number; max?: number }

/** The numbers of one answer. */
export const outputWidth = (output: Output): number => outputNames(output).length || 1

/** The names of the numbers of an answer: classes, levels of quantiles, or names; empty where it is one number. */
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

/** Where each number of an answer of `wanted` stands in one of `given`, by its name; -1 where it is not in it. */
export function placesIn(given: Output, wanted: Output): number[] {
  if (given.kind !== wanted.kind) return Array.from({ length: outputWidth(wanted) }, () => -1)
  const names = outputNames(given)
  return names.length === 0 ? [0] : outputNames(wanted).map((name) => names.indexOf(name))
}

/**
 * What two versions both answer, in the order of the first; undefined where their answers cannot be compared. Of several numbers those
 * with the same name. Classes and levels of quantiles must be the same, in any order.
 */
export function sharedOutput(one: Output, other: Output): Output | undefined {
  const places = placesIn(other, one)
  if (one.kind === 'numbers') {
    const names = one.names.filter((_, at) => places[at]! >= 0)
    return names.length === 0 ? undefined : { ...one, names }
  }
  return places.includes(-1) || outputWidth(one) !== outputWidth(other) ? undefined : one
}

/** Whether the model predicts numbers and no classes. */
export const isOfNumbers = (
  output: Output,
): output is Extract<Output, { kind: 'number' | 'quantiles' | 'numbers' }> =>
  output.kind === 'number' || output.kind === 'quantiles' || output.kind === 'numbers'

/** The numbers of one truth. */
export const truthWidth = (output: Output): number => (output.kind === 'numbers' ? output.names.length : 1)

/** The class of an answer: the first of the largest probabilities. */
export const likeliestClass = (outputs: readonly number[] | Float32Array): number =>
  outputs.indexOf(Math.max(...outputs))

/** A row as it is sent and stored: one value a feature. */
export type FeatureRow = Record<string, number | string | null>

/** The preprocessing of a version, in input order; training and serving use the same numbers. */
export type FeatureFit = NumberFit | CategoryFit

export interface NumberFit {
  name: string
  kind: 'number'
  /** With mean 0 and std 1 a number reaches the model exactly as it was sent. */
  mean: number
  std: number
  /** The value in place of a missing one; null where the model takes missing values, as NaN. */
  fill: number | null
}

export interface CategoryFit {
  name: string
  kind: 'category'
  vocabulary: string[]
  /** One-hot when absent. */
  encoding?: CategoryEncoding
}

export type CategoryEncoding =
  /** One input a vocabulary entry, then one for every other value and for null. */
  | 'one-hot'
  /** One input: the index in the vocabulary, NaN for every other value and for null. */
  | 'code'
  /** No input: the model takes the text itself. */
  | 'text'

/** The number of inputs that a fit produces. */
export function widthOfFit(fit: FeatureFit): number {
  if (fit.kind === 'number') return 1
  switch (fit.encoding ?? 'one-hot') {
    case 'one-hot':
      return fit.vocabulary.length + 1
    case 'code':
      return 1
    case 'text':
      return 0
  }
}

/** The number of inputs that all fits produce. */
export const inputWidthOf = (fits: readonly FeatureFit[]): number =>
  fits.reduce((sum, fit) => sum + widthOfFit(fit), 0)
