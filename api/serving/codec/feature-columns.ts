/**
 * The features of a version in the order of its network's inputs, laid out for loops that read values one by one, where
 * there is no row. A network is fed by position: an order of its own in one of the readers would feed weight into height.
 */
import type { Feature, FeatureFit, Features } from '../../../domain/model/features.ts'

export interface NumberColumn {
  kind: 'number'
  name: string
  /** Its place among the inputs of the network. */
  start: number
  /** Its place among the number features. */
  slot: number
  /** Whether null may be sent. */
  fillable: boolean
  mean: number
  std: number
  fill: number
}

export interface CategoryColumn {
  kind: 'category'
  name: string
  /** Where its places among the inputs begin. */
  start: number
  /** Its place among the features that are no numbers. */
  slot: number
  fillable: boolean
  /** Value → place after `start`; every other value has the place `other`. */
  places: ReadonlyMap<string, number>
  other: number
  /** The values that may be sent; any when absent. */
  values: ReadonlySet<string> | undefined
}

export type FeatureColumn = NumberColumn | CategoryColumn

export interface FeatureColumns {
  all: readonly FeatureColumn[]
  /** Inputs of the network. */
  width: number
  /** How many of the features are numbers. */
  numbers: number
  /** How many are not. */
  texts: number
  /** Whether all of them are, so that a row is nothing but `width` numbers. */
  numeric: boolean
  means: Float64Array
  stds: Float64Array
}

/** The fits must be those of the features, which `compileEncoder` checks. */
export function columnsOf(features: Features, fits: readonly FeatureFit[]): FeatureColumns {
  let width = 0
  let numbers = 0
  let texts = 0
  const all = fits.map((fit): FeatureColumn => {
    const feature = features[fit.name]!
    const start = width
    width += fit.kind === 'number' ? 1 : fit.vocabulary.length + 1
    const fillable = feature.missing === 'fill'
    if (fit.kind === 'number') return { ...fit, start, slot: numbers++, fillable }
    return {
      kind: 'category',
      name: fit.name,
      start,
      slot: texts++,
      fillable,
      places: new Map(fit.vocabulary.map((value, place) => [value, place])),
      other: fit.vocabulary.length,
      values: valuesOf(feature),
    }
  })
  return {
    all,
    width,
    numbers,
    texts,
    numeric: texts === 0,
    means: Float64Array.from(all, (column) => (column.kind === 'number' ? column.mean : 0)),
    stds: Float64Array.from(all, (column) => (column.kind === 'number' ? column.std : 1)),
  }
}

const valuesOf = (feature: Feature): ReadonlySet<string> | undefined =>
  feature.kind === 'category' && feature.values !== undefined ? new Set(feature.values) : undefined
