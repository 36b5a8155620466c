/** Defines features, which the model file, the artifact, serving and the drift profile share. */
import type { FeatureOrigin } from './feature-view.ts'

/** What features of every kind have. */
interface AnyFeature {
  /**
   * The name of its column in files, where that is another: `'Total Charges ($)'`. Read so from the one file of a source without `rows`,
   * and from the files of batches.
   */
  column?: string
  /** A description for readers. */
  about?: string
  /** The feature view that provides the value when a request does not; absent when every request must send it. */
  from?: FeatureOrigin
  /** The expression of `prepare` that computes the value from the other fields of the row, in DuckDB SQL. */
  sql?: string
  /** Only expressions of `prepare` read it, and the model does not. */
  use?: 'prepare'
}

export interface NumberFeature extends AnyFeature {
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
}

export interface CategoryFeature extends AnyFeature {
  kind: 'category'
  /** The values that may be sent. Absent: any text. A value not seen in training is encoded as "other" and named in the response. */
  values?: readonly string[]
  /** Whether null may be sent. It is encoded as "other". */
  missing?: 'fill'
}

/** What texts, vectors and images have. */
interface MediaFeature extends AnyFeature {
  /**
   * What the prediction log keeps. `'digest'`: the SHA-256 of the value and the parts in which it drifts, never the value, so that no check
   * can repeat the request. Default: `'value'`.
   */
  log?: 'value' | 'digest'
}

export interface TextFeature extends MediaFeature {
  kind: 'text'
  /** The most characters of a value, in UTF-16 units; a longer one is refused. Default: 10,000. */
  maxLength?: number
  /** Whether null may be sent. The model gets it as None, or as an empty text where it is a graph. */
  missing?: 'fill'
}

export interface VectorFeature extends MediaFeature {
  kind: 'vector'
  /** How many numbers a value has. */
  length: number
  /** Whether null may be sent. The model gets it as None, or as many NaN where it is a graph or trees. */
  missing?: 'fill'
}

export interface ImageFeature extends MediaFeature {
  kind: 'image'
  /** The most bytes of an image, as a file; a larger one is refused. Default: 1,000,000. */
  maxBytes?: number
  /** Whether null may be sent. The model gets it as None, or as many NaN where it is a graph. */
  missing?: 'fill'
}

export type Feature = NumberFeature | CategoryFeature | TextFeature | VectorFeature | ImageFeature
export type Features = Record<string, Feature>

/** The most characters that a value of the feature may have. */
export const maxLengthOf = (feature: Feature): number =>
  feature.kind === 'text' ? (feature.maxLength ?? 10_000) : Infinity

/** The most bytes that an image of the feature may have. */
export const maxBytesOf = ({ maxBytes = 1_000_000 }: ImageFeature): number => maxBytes

/**
 * How the feature is read and stored: a text is a category that may have any value, and that no model gets as a code; a vector is its JSON,
 * and an image its base64.
 */
export const storedKind = ({ kind }: Feature): 'number' | 'category' =>
  kind === 'number' ? 'number' : 'category'

/** The features of which the prediction log keeps a digest in place of the value, by name. */
export const digestedFeatures = (features: Features): string[] =>
  Object.keys(features)
    .filter((name) => isDigested(features[name]!))
    .sort()

/** Also asked of a file whose features are anything. */
export const isDigested = (feature: Feature): feature is TextFeature | VectorFeature | ImageFeature =>
  (feature as Partial<MediaFeature> | null | undefined)?.log === 'digest' &&
  feature.kind !== 'number' &&
  feature.kind !== 'category'

/** The values that reach the model unchanged; others are imputed. */
export function acceptedRange({ min, max, outside }: NumberFeature): { low: number; high: number } {
  return outside === undefined
    ? { low: -Infinity, high: Infinity }
    : { low: min ?? -Infinity, high: max ?? Infinity }
}

/** A row as it is sent and stored: one value per feature. */
export type FeatureRow = Record<string, number | string | null>

/** Whether a row may lack the feature. A lookup sets a looked-up one, also where it finds nothing; `prepare` sets a computed one. */
export const isOmittable = ({ missing, from, sql }: Feature): boolean =>
  sql !== undefined || (missing === 'fill' && from === undefined)

/** The features that the model takes. */
export const modelFeatures = (features: Features): Features => only(features, ({ use }) => use === undefined)

/** The features that a row brings: all but the computed ones. */
export const sentFeatures = (features: Features): Features => only(features, ({ sql }) => sql === undefined)

const only = (features: Features, isTaken: (feature: Feature) => boolean): Features =>
  Object.fromEntries(Object.entries(features).filter(([, feature]) => isTaken(feature)))

/** The columns of files that have other names than their features: the name in the file, then that of the feature. */
export const renamedColumns = (features: Features): [column: string, name: string][] =>
  Object.entries(features).flatMap(([name, { column }]) => (column === undefined ? [] : [[column, name]]))
