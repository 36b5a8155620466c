/** Defines what a model is opened for: the features of its rows, how they are encoded, and what its outputs mean. */
import type { ArtifactFormatName } from './format-names.ts'

/** A feature, as `bindColumns` needs it. */
export interface Feature {
  kind: 'number' | 'category'
  /** The values that a category may take; any text when absent. */
  values?: readonly string[]
}

/** How one feature reaches the model, in the order of its inputs. */
export type FeatureFit = NumberFit | CategoryFit

export interface NumberFit {
  name: string
  kind: 'number'
  /** With mean 0 and std 1, a number reaches the model as it is. */
  mean: number
  std: number
  /** The value that replaces a missing one; null when the model takes missing values as NaN. */
  fill: number | null
}

export interface CategoryFit {
  name: string
  kind: 'category'
  vocabulary: string[]
  /**
   * `one-hot` (the default): one input per entry of the vocabulary, then one for every other value. `code`: one input, the index in the
   * vocabulary, NaN for every other value. `text`: no input, because the model takes the text itself.
   */
  encoding?: 'one-hot' | 'code' | 'text'
}

/** The number of inputs of all fits. */
export const inputWidthOf = (fits: readonly FeatureFit[]): number =>
  fits.reduce((sum, fit) => {
    if (fit.kind === 'number' || fit.encoding === 'code') return sum + 1
    return fit.encoding === 'text' ? sum : sum + fit.vocabulary.length + 1
  }, 0)

/** What the outputs of a row mean. */
export type Output =
  /** One number: the probability of the positive class. */
  | { kind: 'probability'; positive: string }
  /** One number per class. */
  | { kind: 'classes'; classes: readonly string[] }
  | { kind: 'number' }
  | { kind: 'quantiles'; levels: readonly number[] }
  | { kind: 'numbers'; names: readonly string[] }

/** How many numbers an answer has. */
export function outputWidthOf(output: Output): number {
  if (output.kind === 'classes') return output.classes.length
  if (output.kind === 'quantiles') return output.levels.length
  return output.kind === 'numbers' ? output.names.length : 1
}

/** The length that stands for null in place of a text of `RowTexts`. */
export const noText = 0xffff_ffff

/** What a model is opened for. */
export interface ModelDescription {
  /** Default: `tfjs-layers`. */
  artifact?: ArtifactFormatName
  output: Output
  preprocessing: readonly FeatureFit[]
  /** Rows whose known answers the caller compares; their number is limited for large networks. */
  golden?: { instances: readonly unknown[] }
}
