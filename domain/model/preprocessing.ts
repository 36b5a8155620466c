/** Encodes rows into network inputs, with one implementation for training and serving so that they cannot diverge. */
import { DomainError } from '../errors.ts'
import {
  widthOfFit,
  type CategoryFit,
  type FeatureFit,
  type Features,
  type FeatureRow,
  type NumberFit,
} from './features.ts'

/** Inputs: doubles where a model is served, 32 bits where TensorFlow trains, which rounds them anyway. */
export type InputNumbers = Float64Array | Float32Array

/** Writes one row's inputs into `into`, from `offset` on. Allocates nothing. */
export type Encoder = (row: FeatureRow, into: InputNumbers, offset: number) => void

/** Values of a category beyond this many, the rarest first, count as "other". */
export const maxVocabulary = 1_000

/** Fits every feature on the training rows, in the order in which the features are declared. */
export function fitFeatures(rows: readonly FeatureRow[], features: Features): FeatureFit[] {
  return Object.entries(features).map(([name, feature]) =>
    feature.kind === 'number' ? fitNumber(rows, name) : fitCategory(rows, name),
  )
}

/** Mean and population standard deviation of the present values, in two passes; a constant is scaled by 1. */
function fitNumber(rows: readonly FeatureRow[], name: string): FeatureFit {
  const values = rows.map((row) => row[name]).filter((value) => typeof value === 'number')
  const count = Math.max(1, values.length)
  const mean = values.reduce((sum, value) => sum + value, 0) / count
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count)
  return { name, kind: 'number', mean, std: std > 1e-12 * Math.max(1, Math.abs(mean)) ? std : 1, fill: mean }
}

/** The values seen in training, in the order of their text. */
function fitCategory(rows: readonly FeatureRow[], name: string): FeatureFit {
  const vocabulary = byFrequency(rows.map((row) => row[name])).slice(0, maxVocabulary)
  return { name, kind: 'category', vocabulary: vocabulary.sort() }
}

/** The different texts, the most frequent first. */
export function byFrequency(values: readonly unknown[]): string[] {
  const counts = new Map<string, number>()
  for (const value of values) if (typeof value === 'string') counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([value]) => value)
}

/**
 * The encoder of a fit, in the order of the fits. A number is (value − mean) / std; null is the fill, or NaN without
 * one. A category is encoded as its fit says. Throws `artifact_invalid` when the fit is not one of these features.
 */
export function compileEncoder(features: Features, fits: readonly FeatureFit[]): Encoder {
  const names = Object.keys(features)
  const strange = fits.filter((fit) => features[fit.name]?.kind !== fit.kind).map((fit) => fit.name)
  if (
    strange.length > 0 ||
    fits.length !== names.length ||
    new Set(fits.map((fit) => fit.name)).size !== names.length
  )
    throw new DomainError(
      'artifact_invalid',
      `the preprocessing fits ${fits.map((fit) => fit.name).join(', ')}, the features are ${names.join(', ')}`,
    )
  let width = 0
  const writers = fits.map((fit) => {
    const start = width
    width += widthOfFit(fit)
    return fit.kind === 'number' ? numberWriter(fit, start) : categoryWriter(fit, start)
  })
  return (row, into, offset) => {
    into.fill(0, offset, offset + width)
    for (const write of writers) write(row, into, offset)
  }
}

/** The scaled number; also for callers with a value instead of a row. */
export const scaled = (value: number, mean: number, std: number): number => (value - mean) / std

function numberWriter(fit: NumberFit, start: number): Encoder {
  const { name, mean, std, fill } = fit
  return (row, into, offset) => {
    const value = row[name]
    into[offset + start] = scaled(typeof value === 'number' ? value : (fill ?? NaN), mean, std)
  }
}

function categoryWriter(fit: CategoryFit, start: number): Encoder {
  const { name, vocabulary, encoding } = fit
  const other = vocabulary.length
  const column = new Map(vocabulary.map((value, index) => [value, index]))
  if (encoding === 'text') return () => {}
  if (encoding === 'code')
    return (row, into, offset) => {
      const value = row[name]
      into[offset + start] = (typeof value === 'string' ? column.get(value) : undefined) ?? NaN
    }
  return (row, into, offset) => {
    const value = row[name]
    const found = typeof value === 'string' ? column.get(value) : undefined
    into[offset + start + (found ?? other)] = 1
  }
}
