/** Encodes rows into network inputs. Training and serving share this implementation, so that they cannot diverge. */
import {
  type CategoryFit,
  type FeatureFit,
  heldInputsOf,
  type NumberFit,
  widthOfFit,
  writeHeld,
} from '@tenure/predictors/features'
import { DomainError, quotedName } from '../errors.ts'
import { countsOf, requireColumn, type CellColumn, type ColumnTable } from './columns.ts'
import {
  acceptedRange,
  modelFeatures,
  storedKind,
  type Features,
  type FeatureRow,
  type NumberFeature,
} from './features.ts'

/** The inputs: doubles in serving, 32-bit numbers in TensorFlow training, which rounds them anyway. */
export type InputNumbers = Float64Array | Float32Array

/** Writes the inputs of one row into `into`, starting at `offset`. Allocates nothing. */
export type Encoder = (row: FeatureRow, into: InputNumbers, offset: number) => void

/** Limits the vocabulary of a category; rarer values count as "other". */
export const maxVocabulary = 1_000

/** Fits every feature on the training rows, in the order in which the features are declared. */
export function fitFeatures(table: ColumnTable, features: Features): FeatureFit[] {
  const fits = Object.entries(modelFeatures(features)).map(([name, feature]) => {
    const column = requireColumn(table, name)
    return feature.kind === 'number' ? fitNumber(column, name, feature) : fitCategory(column, name)
  })
  return [...fits, ...unreadFits(features)]
}

/** The fits of the fields that only `prepare` reads, which come after those of the model. They have no input. */
export const unreadFits = (features: Features): FeatureFit[] =>
  Object.entries(features).flatMap(([name, { kind, use }]): FeatureFit[] => {
    if (use === undefined) return []
    return kind === 'number'
      ? [{ name, kind, mean: 0, std: 1, fill: 0, unread: true }]
      : [{ name, kind: 'category', vocabulary: [], encoding: 'text' }]
  })

/** The mean and population standard deviation of the present values, in two passes. A constant feature is scaled by 1. */
function fitNumber(column: CellColumn, name: string, feature: NumberFeature): FeatureFit {
  const { values, nulls } = column.kind === 'number' ? column : { values: new Float64Array(0) }
  const { low, high } = acceptedRange(feature)
  const isPresent = (row: number) => nulls?.[row] !== 1 && values[row]! >= low && values[row]! <= high
  let present = 0
  let sum = 0
  for (let row = 0; row < values.length; row++) {
    if (!isPresent(row)) continue
    present++
    sum += values[row]!
  }
  const count = Math.max(1, present)
  const mean = sum / count
  let squares = 0
  for (let row = 0; row < values.length; row++) if (isPresent(row)) squares += (values[row]! - mean) ** 2
  const std = Math.sqrt(squares / count)
  return { name, kind: 'number', mean, std: std > 1e-12 * Math.max(1, Math.abs(mean)) ? std : 1, fill: mean }
}

/** The values seen in training, sorted as texts. */
function fitCategory(column: CellColumn, name: string): FeatureFit {
  const counts = column.kind === 'text' ? countsOf(column).counts : new Map<string, number>()
  return { name, kind: 'category', vocabulary: byFrequency(counts).slice(0, maxVocabulary).sort() }
}

/** The distinct texts, the most frequent first. */
export const byFrequency = (counts: ReadonlyMap<string, number>): string[] =>
  [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([value]) => value)

/** Writes the inputs of a table row into `into`, starting at `offset`. */
export type ColumnEncoder = (row: number, into: InputNumbers, offset: number) => void

/** Compiles an encoder of table rows, which gives the same numbers as `compileEncoder`. */
export function compileColumnEncoder(
  table: ColumnTable,
  features: Features,
  fits: readonly FeatureFit[],
): ColumnEncoder {
  checkFits(features, fits)
  let width = 0
  const writers = fits.filter(widthOfFit).map((fit) => {
    const column = requireColumn(table, fit.name)
    const start = width
    width += widthOfFit(fit)
    return fit.kind === 'number'
      ? numberColumnWriter(fit, rangeOf(features[fit.name]!), column, start)
      : textWriter(fit, column, start)
  })
  return (row, into, offset) => {
    into.fill(0, offset, offset + width)
    for (const write of writers) write(row, into, offset)
  }
}

interface Range {
  low: number
  high: number
}

const rangeOf = (feature: Features[string]): Range =>
  feature.kind === 'number' ? acceptedRange(feature) : { low: -Infinity, high: Infinity }

function numberColumnWriter(
  { mean, std, fill }: NumberFit,
  { low, high }: Range,
  column: CellColumn,
  start: number,
): ColumnEncoder {
  const missing = scaled(fill ?? NaN, mean, std)
  if (column.kind === 'text')
    return (_row, into, offset) => {
      into[offset + start] = missing
    }
  const { values, nulls } = column
  return (row, into, offset) => {
    const value = values[row]!
    const isMissing = nulls?.[row] === 1 || value < low || value > high
    into[offset + start] = isMissing ? missing : scaled(value, mean, std)
  }
}

function textWriter({ vocabulary, encoding }: CategoryFit, column: CellColumn, start: number): ColumnEncoder {
  const other = encoding === 'code' ? NaN : vocabulary.length
  if (column.kind === 'number')
    return encoding === 'code'
      ? (_row, into, offset) => void (into[offset + start] = NaN)
      : (_row, into, offset) => void (into[offset + start + other] = 1)
  const { codes, texts } = column
  const known = new Map(vocabulary.map((value, index) => [value, index]))
  const places = Float64Array.from([...texts.map((text) => known.get(text) ?? other), other])
  if (encoding === 'code') return (row, into, offset) => void (into[offset + start] = places[codes[row]!]!)
  return (row, into, offset) => void (into[offset + start + places[codes[row]!]!] = 1)
}

/**
 * Compiles an encoder of rows, in the order of the fits. A number is (value − mean) / std; null becomes the fill, or NaN without a fill.
 * A category is encoded as its fit says. Throws `artifact_invalid` when a fit does not belong to these features. The encoder throws
 * `wrong_type` for an image that the model does not take.
 */
export function compileEncoder(features: Features, fits: readonly FeatureFit[]): Encoder {
  checkFits(features, fits)
  let width = 0
  const writers = fits.filter(widthOfFit).map((fit) => {
    const start = width
    width += widthOfFit(fit)
    return fit.kind === 'number'
      ? numberWriter(fit, rangeOf(features[fit.name]!), start)
      : categoryWriter(fit, start)
  })
  return (row, into, offset) => {
    into.fill(0, offset, offset + width)
    for (const write of writers) write(row, into, offset)
  }
}

/** Throws `artifact_invalid` unless each feature has exactly one fit, of its kind. */
export function checkFits(features: Features, fits: readonly FeatureFit[]): void {
  const names = Object.keys(features)
  const strange = fits
    .filter(({ name, kind }) => features[name] === undefined || storedKind(features[name]) !== kind)
    .map((fit) => fit.name)
  if (
    strange.length > 0 ||
    fits.length !== names.length ||
    new Set(fits.map((fit) => fit.name)).size !== names.length
  )
    throw new DomainError(
      'artifact_invalid',
      `the preprocessing fits ${fits.map((fit) => fit.name).join(', ')}, the features are ${names.join(', ')}`,
    )
}

/** Whether a number fits in 32 bits, as networks and the prediction log need; others are refused. */
export const fitsSingle = (value: number): boolean => Math.abs(value) < firstInfinite
/** Numbers from here on round to infinity in 32 bits. */
const firstInfinite = 2 ** 128 - 2 ** 103

/** The scaled number; also for callers that have a value instead of a row. */
export const scaled = (value: number, mean: number, std: number): number => (value - mean) / std

function numberWriter(fit: NumberFit, { low, high }: Range, start: number): Encoder {
  const { name, mean, std, fill } = fit
  const missing = fill ?? NaN
  return (row, into, offset) => {
    const value = row[name]
    const isPresent = typeof value === 'number' && !(value < low || value > high)
    into[offset + start] = scaled(isPresent ? value : missing, mean, std)
  }
}

function categoryWriter(fit: CategoryFit, start: number): Encoder {
  const { name, vocabulary, encoding } = fit
  const held = heldInputsOf(fit)
  if (held !== undefined)
    return (row, into, offset) => {
      const value = row[name]
      const issue = writeHeld(typeof value === 'string' ? value : null, held, into, offset + start)
      if (issue !== undefined) throw new DomainError('wrong_type', `feature ${quotedName(name)} ${issue}`)
    }
  const other = vocabulary.length
  const column = new Map(vocabulary.map((value, index) => [value, index]))
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
