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
  /** Whether null may be sent; it is then imputed as fitted in training. */
  missing?: 'fill'
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

/** The meaning of the network's outputs. */
export type Output =
  /** One output in [0, 1] per row: the probability of the positive class. */
  | { kind: 'probability'; positive: string; threshold: number }
  /** One output per class, summing to 1. */
  | { kind: 'classes'; classes: readonly string[] }
  /** One real number per row. */
  | { kind: 'number'; unit?: string; min?: number; max?: number }

/** A row as it is sent and stored: one value a feature. */
export type FeatureRow = Record<string, number | string | null>

/** The preprocessing fitted in training, in input order; serving uses the same numbers. */
export type FeatureFit =
  | { name: string; kind: 'number'; mean: number; std: number; fill: number }
  /** One column a vocabulary entry, then one for every other value. */
  | { name: string; kind: 'category'; vocabulary: string[] }

/** The number of input columns that a fit produces. */
export function inputWidthOf(fits: readonly FeatureFit[]): number {
  return fits.reduce((sum, fit) => sum + (fit.kind === 'number' ? 1 : fit.vocabulary.length + 1), 0)
}
