/** Orders the features of a version as its model reads them. All readers share this order, because a model reads its inputs by position. */
import {
  type CategoryEncoding,
  type FeatureFit,
  heldInputsOf,
  type HeldInputs,
  widthOfFit,
} from '@tenure/predictors/features'
import {
  acceptedRange,
  isOmittable,
  maxLengthOf,
  type Feature,
  type Features,
} from '../../../domain/model/features.ts'
import { checkFits } from '../../../domain/model/preprocessing.ts'

interface Column {
  name: string
  /** The index of the feature's first input. */
  start: number
  /** The index of the feature among features of its kind. */
  slot: number
  /** Whether null is accepted. */
  fillable: boolean
  /** Whether a row may lack the feature. A lookup sets a looked-up one, also where it finds nothing. */
  omittable: boolean
}

export interface NumberColumn extends Column {
  kind: 'number'
  mean: number
  std: number
  /** The value for null; NaN for a model that accepts missing values. */
  fill: number
  /** Values outside this range are imputed. */
  low: number
  high: number
  /** Whether only expressions of `prepare` read the number, which then has no input. */
  unread: boolean
}

export interface CategoryColumn extends Column {
  kind: 'category'
  encoding: CategoryEncoding
  /** The index of each value in the vocabulary. Every other value has the index `other`. */
  places: ReadonlyMap<string, number>
  other: number
  /**
   * Whether the response names a value outside the vocabulary. False for a model that takes texts itself, or that does not use this
   * feature.
   */
  reportsUnknown: boolean
  /** The accepted values; absent when every value is accepted. */
  values: ReadonlySet<string> | undefined
  /** A text of at most this many characters is accepted whatever it says; −1: each is checked. */
  freeLength: number
  /** How many values of a request it is besides its field: the numbers of a vector, or those that an image becomes in the request's turn. */
  numbers: number
  /** How the text holds the inputs of a vector or an image; absent for others. */
  held: HeldInputs | undefined
}

export type FeatureColumn = NumberColumn | CategoryColumn

export interface FeatureColumns {
  /** The features in the order of the inputs. */
  all: readonly FeatureColumn[]
  /** The features that a row brings, in the order of the model file, which is the order of rows without names. */
  listed: readonly FeatureColumn[]
  /** The position of each feature of `all` in `listed`. */
  places: Int32Array
  /** The number of inputs of the model. */
  width: number
  /** The number of numeric features. */
  numbers: number
  /** The number of text features. */
  texts: number
  /** Whether every feature is a number, so that a row is `width` numbers. */
  numeric: boolean
  /** Whether the numbers of a row are not its inputs as they are: a value may be imputed, or a column is computed. */
  guarded: boolean
  /** The columns that `prepare` computes from the others. */
  computed: readonly FeatureColumn[]
  means: Float64Array
  stds: Float64Array
}

/** Returns the columns. Throws `artifact_invalid` when a fit does not belong to these features. */
export function columnsOf(
  features: Features,
  fits: readonly FeatureFit[],
  order: readonly string[] = [],
): FeatureColumns {
  checkFits(features, fits)
  let width = 0
  let numbers = 0
  let texts = 0
  const all = fits.map((fit): FeatureColumn => {
    const feature = features[fit.name]!
    const start = width
    width += widthOfFit(fit)
    const fillable = feature.missing === 'fill'
    const omittable = isOmittable(feature)
    if (fit.kind === 'number') {
      const range = acceptedRange(feature.kind === 'number' ? feature : { kind: 'number' })
      const unread = fit.unread === true
      return { ...fit, ...range, fill: fit.fill ?? NaN, start, slot: numbers++, fillable, omittable, unread }
    }
    const encoding = fit.encoding ?? 'one-hot'
    const held = heldInputsOf(fit)
    return {
      kind: 'category',
      name: fit.name,
      encoding,
      start,
      slot: texts++,
      fillable,
      omittable,
      places: new Map(fit.vocabulary.map((value, place) => [value, place])),
      other: fit.vocabulary.length,
      reportsUnknown: encoding === 'one-hot' || fit.vocabulary.length > 0,
      values: valuesOf(feature),
      freeLength: feature.kind === 'vector' || feature.kind === 'image' ? -1 : maxLengthOf(feature),
      numbers: feature.kind === 'vector' ? feature.length : held === undefined ? 0 : widthOfFit(fit),
      held,
    }
  })
  const isOrder = order.length === all.length && all.every(({ name }) => order.includes(name))
  const inOrder = isOrder ? order.map((name) => all.find((column) => column.name === name)!) : all
  const isComputed = ({ name }: FeatureColumn) => features[name]!.sql !== undefined
  const listed = inOrder.filter((column) => !isComputed(column))
  const computed = all.filter(isComputed)
  return {
    all,
    listed,
    places: Int32Array.from(all, (column) => listed.indexOf(column)),
    width,
    numbers,
    texts,
    numeric: texts === 0,
    guarded:
      computed.length > 0 ||
      Object.values(features).some((feature) => feature.kind === 'number' && feature.outside !== undefined),
    computed,
    means: Float64Array.from(all, (column) => (column.kind === 'number' ? column.mean : 0)),
    stds: Float64Array.from(all, (column) => (column.kind === 'number' ? column.std : 1)),
  }
}

const valuesOf = (feature: Feature): ReadonlySet<string> | undefined =>
  feature.kind === 'category' && feature.values !== undefined ? new Set(feature.values) : undefined
