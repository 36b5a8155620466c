/**
 * What a model is asked with, and what it answers: the nouns that the model file, the artifact, the serving
 * path and the drift profile share. Were they said twice, training and serving would part.
 */
import type { FeatureOrigin } from './feature-view.ts'

export interface NumberFeature {
  kind: 'number'
  /** What it is measured in; shown, never converted. */
  unit?: string
  /** The usual range; values outside are served and counted as out of range. A batch with a tenth of them is not trained on. */
  min?: number
  /** The upper end of the usual range. */
  max?: number
  /** Whether null may be sent. The value is then filled in as fitted in training. */
  missing?: 'fill'
  /** What a reader should know of it. */
  about?: string
  /** Where it comes from when a request does not send it; absent when every request must. */
  from?: FeatureOrigin
}

export interface CategoryFeature {
  kind: 'category'
  /** The values that may be sent; any text when absent. A value not seen in training is encoded as "other". */
  values?: readonly string[]
  /** Whether null may be sent. It is encoded as "other". */
  missing?: 'fill'
  /** What a reader should know of it. */
  about?: string
  /** Where it comes from when a request does not send it; absent when every request must. */
  from?: FeatureOrigin
}

export type Feature = NumberFeature | CategoryFeature
export type Features = Record<string, Feature>

/** What the network's outputs mean. */
export type Output =
  /** One output in [0, 1] per row: the probability of the positive class. */
  | { kind: 'probability'; positive: string; threshold: number }
  /** One output per class, summing to 1. */
  | { kind: 'classes'; classes: readonly string[] }
  /** One real number per row. */
  | { kind: 'number'; unit?: string; min?: number; max?: number }

/** A row as it is sent and stored: one value a feature. */
export type FeatureRow = Record<string, number | string | null>

/** What training has fitted for each feature, in input order; the same numbers serve. */
export type FeatureFit =
  | { name: string; kind: 'number'; mean: number; std: number; fill: number }
  /** One column a vocabulary entry, then one for every other value. */
  | { name: string; kind: 'category'; vocabulary: string[] }

/** The number of input columns that a fit produces. */
export function inputWidthOf(fits: readonly FeatureFit[]): number {
  return fits.reduce((sum, fit) => sum + (fit.kind === 'number' ? 1 : fit.vocabulary.length + 1), 0)
}
