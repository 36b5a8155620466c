/**
 * Lays out the features of a version in the order of the network's inputs. All readers share this order, because the network reads its
 * inputs by position.
 */
import type { Feature, FeatureFit, Features } from '../../../domain/model/features.ts'

interface Column {
  name: string
  /** The index of its first input of the network. */
  start: number
  /** Its index among the features of its kind. */
  slot: number
  /** Whether null may be sent. */
  fillable: boolean
}

export interface NumberColumn extends Column {
  kind: 'number'
  mean: number
  std: number
  fill: number
}

export interface CategoryColumn extends Column {
  kind: 'category'
  /** Value → index after `start`; every other value has the index `other`. */
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
  /** The number of number features. */
  numbers: number
  /** The number of text features. */
  texts: number
  /** Whether every feature is a number, so that a row is `width` numbers. */
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
