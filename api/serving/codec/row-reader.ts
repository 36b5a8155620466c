/**
 * Checks the values of a row against the features of a model and encodes the row. The checks are compiled once per version, because a
 * schema library would take longer than the prediction. Each error names the instance and the feature.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { cutName, DomainError, isError, quotedName, type ErrorCode } from '../../../domain/errors.ts'
import {
  isOmittable,
  storedKind,
  type Feature,
  type FeatureRow,
  type Features,
} from '../../../domain/model/features.ts'
import { readVector, textIssue, vectorIssue } from '../../../domain/values/media.ts'
import { flagReader } from '../../../domain/values/readings.ts'
import { compileEncoder, fitsSingle, scaled, type InputNumbers } from '../../../domain/model/preprocessing.ts'

/**
 * Checks one row and writes its columns into `into`, starting at `offset`. Ignores a field that is no feature where `isIgnored` says so.
 * Returns the row with true and false as files are read: 1 and 0 for a number, the text for a category that knows it.
 */
export type InstanceReader = (
  instance: unknown,
  index: number,
  into: InputNumbers,
  offset: number,
  isIgnored?: (field: string) => boolean,
) => FeatureRow

/**
 * Reads a value of a feature of the row at an index. Returns null for a value that is filled, 1 or 0 for a flag of a number, and the text for
 * a flag of a category. Throws the error of a wrong value.
 */
export type FeatureCheck = (value: unknown, index: number) => number | string | null

/** Returns the check of each feature, in the order of the features. */
export function compileChecks(features: Features, fits: readonly FeatureFit[]): Map<string, FeatureCheck> {
  return new Map(
    Object.entries(features).map(([name, feature]) => {
      const fit = fits.find((each) => each.name === name)
      const check = compileCheck(name, feature, fit)
      const flag = flagReader(storedKind(feature), textsOf(feature, fit))
      return [
        name,
        flag === undefined
          ? check
          : (value, index) => check(typeof value === 'boolean' ? flag(value) : value, index),
      ]
    }),
  )
}

/**
 * Returns the reader of a version's rows. It throws the error of the first wrong value. A feature that is filled may be left out, unless it
 * is looked up: the lookup sets it, also where it finds nothing.
 */
export function compileReader(features: Features, fits: readonly FeatureFit[]): InstanceReader {
  const encode = compileEncoder(features, fits)
  const checks = compileChecks(features, fits)
  const names = [...checks.keys()]
  const read = [...checks.values()]
  return (instance, index, into, offset, isIgnored) => {
    if (typeof instance !== 'object' || instance === null || Array.isArray(instance))
      throw notAnObject(instance, index)
    let row = instance as FeatureRow
    let found = 0
    for (let i = 0; i < names.length; i++) {
      const value: unknown = row[names[i]!]
      const checked = read[i]!(value, index)
      if (value !== undefined && typeof value !== 'function') found++
      if (typeof value !== 'boolean' && (typeof value !== 'object' || value === null)) continue
      // The request may be read again for another version.
      if (row === instance) row = { ...row }
      row[names[i]!] = checked
    }
    let sent = 0
    for (const _name in row) sent++
    if (sent !== found) refuseUnknown(row, features, index, isIgnored)
    try {
      encode(row, into, offset)
    } catch (error) {
      if (!isError(error, 'wrong_type')) throw error
      throw new DomainError('wrong_type', `instance ${index}: ${error.message}`)
    }
    return row
  }
}

/** A field that only expressions read has no vocabulary, and may hold true and false as files do. */
const textsOf = (feature: Feature, fit: FeatureFit | undefined): readonly string[] =>
  feature.use === 'prepare' ? ['true', 'false'] : knownTextsOf(feature, fit)

const knownTextsOf = (feature: Feature, fit: FeatureFit | undefined): readonly string[] =>
  (feature.kind === 'category' && feature.values) || (fit?.kind === 'category' ? fit.vocabulary : [])

export const notAnObject = (instance: unknown, index: number): DomainError =>
  new DomainError('invalid_request', `instance ${index} is ${kindOf(instance)}, not an object`)

export const unknownFeature = (name: string, index: number): DomainError =>
  new DomainError('unknown_feature', `instance ${index} has an unknown feature ${quotedName(name)}`)

function compileCheck(name: string, feature: Feature, fit: FeatureFit | undefined): FeatureCheck {
  const refuse = (code: ErrorCode, index: number, what: string, context = {}): never => {
    throw new DomainError(code, `instance ${index}: feature ${quotedName(name)} ${what}`, context)
  }
  /** Accepts null and an absent value where it is imputed, and refuses every other missing value. */
  const checkMissing = (value: unknown, index: number): null => {
    // A row inherits functions such as "constructor" from all objects.
    const isAbsent = value === undefined || typeof value === 'function'
    if (isAbsent && !isOmittable(feature))
      throw new DomainError('missing_feature', `instance ${index} has no feature ${quotedName(name)}`)
    if (isAbsent || (value === null && feature.missing === 'fill')) return null
    if (value === null) refuse('missing_feature', index, 'may not be null')
    const wanted = feature.kind === 'number' ? 'a number' : 'a text'
    return refuse('wrong_type', index, `is ${kindOf(value)}, not ${wanted}`)
  }
  if (feature.kind === 'number')
    return (value, index) => {
      if (typeof value !== 'number') return checkMissing(value, index)
      const read = fit?.kind === 'number' ? scaled(value, fit.mean, fit.std) : value
      if (!fitsSingle(read) || !fitsSingle(value)) refuse('not_finite', index, 'is not finite, or too large')
      return value
    }
  if (feature.kind === 'vector')
    return (value, index) =>
      value === null || value === undefined || typeof value === 'function'
        ? checkMissing(value, index)
        : (readVector(value, feature.length) ?? refuse('wrong_type', index, vectorIssue(feature)))
  const values = feature.kind === 'category' && feature.values ? new Set(feature.values) : undefined
  const refuseCategory = (all: ReadonlySet<string>, index: number): void => {
    const shown = shownValues(all)
    const more = all.size > shown.length ? `, … and ${all.size - shown.length} more` : ''
    const list = `${shown.map((each) => JSON.stringify(each)).join(', ')}${more}`
    refuse('unknown_category', index, `is not one of its ${all.size} values: ${list}`, {
      feature: name,
      values: shown,
    })
  }
  return (given, index) => {
    const value =
      feature.kind === 'image' && Buffer.isBuffer(given) ? given.toString('base64') : (given as unknown)
    if (typeof value !== 'string') return checkMissing(value, index)
    const issue = textIssue(feature, value)
    if (issue !== undefined) refuse('wrong_type', index, issue)
    if (values === undefined) {
      // A stored NUL would fail every query that reads the features.
      if (value.includes('\0')) refuse('wrong_type', index, 'contains NUL, which cannot be stored')
    } else if (!values.has(value)) refuseCategory(values, index)
    return value
  }
}

const maxShownValues = 20
/** In characters. gRPC sends the message as a header, in which each character may take nine bytes. */
const maxShownLength = 400

/** Returns the first values, each cut off like a name. */
function shownValues(values: ReadonlySet<string>): string[] {
  const shown: string[] = []
  let length = 0
  for (const value of values) {
    const text = cutName(value)
    length += text.length
    if (shown.length === maxShownValues || (length > maxShownLength && shown.length > 0)) break
    shown.push(text)
  }
  return shown
}

export function refuseUnknown(
  row: object,
  features: Features,
  index: number,
  isIgnored?: (field: string) => boolean,
): void {
  for (const name in row)
    if (!Object.hasOwn(features, name) && isIgnored?.(name) !== true) throw unknownFeature(name, index)
}

export function kindOf(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  // Browsers have no Buffer.
  if (value instanceof Uint8Array) return 'an image'
  return typeof value === 'object' ? 'an object' : `a ${typeof value === 'string' ? 'text' : typeof value}`
}
