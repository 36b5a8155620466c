/**
 * From the bytes of a request to the numbers of the network, checked value by value against the model's features. A
 * schema library on this path would cost more than the prediction; the checks are compiled once per version instead,
 * and each refusal names the instance and the feature.
 */
import { isUtf8 } from 'node:buffer'
import { DomainError } from '../../../domain/errors.ts'
import type { Feature, Features, FeatureRow } from '../../../domain/model/features.ts'
import { compileEncoder, scaled } from '../../../domain/model/preprocessing.ts'
import { withoutExcerpt } from '../../../domain/redact.ts'
import type { FeatureFit } from '../../../domain/model/features.ts'
import { expectModest } from './json-limits.ts'

export interface PredictRequest {
  instances: FeatureRow[]
  routingKey: string | undefined
}

export const maxRoutingKeyLength = 256

const fields = new Set(['instances', 'routing_key'])

/**
 * The one place where the body of a prediction is parsed; `width` is how many values an instance has. The values of the
 * instances are still unchecked.
 */
export function parsePredict(body: Buffer, maxInstances: number, width: number): PredictRequest {
  expectModest(body, maxInstances, width)
  if (!isUtf8(body)) throw new DomainError('body_not_json', 'the body is not UTF-8')
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new DomainError(
      'body_not_json',
      `the body does not parse: ${withoutExcerpt((error as Error).message)}`,
    )
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new DomainError('invalid_request', `the body is ${kindOf(parsed)}, not an object`)
  const { instances, routing_key: routingKey } = parsed as Record<string, unknown>
  for (const name in parsed)
    if (!fields.has(name))
      throw new DomainError('invalid_request', `the body has an unknown field ${quote(name)}`)
  if (!Array.isArray(instances))
    throw new DomainError('invalid_request', `"instances" is ${kindOf(instances)}, not a list`)
  if (instances.length === 0) throw new DomainError('no_instances', '"instances" is empty')
  if (instances.length > maxInstances)
    throw new DomainError(
      'batch_too_large',
      `the request has ${instances.length} instances, more than ${maxInstances}`,
      { limit: maxInstances },
    )
  if (routingKey !== undefined && !isRoutingKey(routingKey))
    throw new DomainError(
      'invalid_request',
      `"routing_key" is not a text of 1 to ${maxRoutingKeyLength} characters without NUL`,
    )
  return { instances: instances as FeatureRow[], routingKey: routingKey as string | undefined }
}

/** Checks one instance and writes its columns into `into` from `offset` on. */
export type InstanceReader = (instance: unknown, index: number, into: Float32Array, offset: number) => void

/** The reader of a version's instances; it throws the error of the first wrong value. */
export function compileReader(features: Features, fits: readonly FeatureFit[]): InstanceReader {
  const encode = compileEncoder(features, fits)
  const names = Object.keys(features)
  const checks = names.map((name) => {
    const fit = fits.find((each) => each.name === name)
    return compileCheck(name, features[name]!, fit)
  })
  const count = names.length
  return (instance, index, into, offset) => {
    if (typeof instance !== 'object' || instance === null || Array.isArray(instance))
      throw new DomainError('invalid_request', `instance ${index} is ${kindOf(instance)}, not an object`)
    const row = instance as FeatureRow
    for (let i = 0; i < count; i++) checks[i]!(row[names[i]!], index)
    let sent = 0
    for (const _name in row) sent++
    if (sent !== count) refuseUnknown(row, features, index)
    encode(row, into, offset)
  }
}

type Check = (value: unknown, index: number) => void

function compileCheck(name: string, feature: Feature, fit: FeatureFit | undefined): Check {
  const fillable = feature.missing === 'fill'
  const refuseMissing = (value: unknown, index: number): void => {
    if (value === undefined)
      throw new DomainError('missing_feature', `instance ${index} has no feature ${quote(name)}`)
    if (value === null && !fillable)
      throw new DomainError('missing_feature', `instance ${index}: feature ${quote(name)} may not be null`)
  }
  const wrongType = (value: unknown, index: number): never => {
    const wanted = feature.kind === 'number' ? 'a number' : 'a text'
    throw new DomainError(
      'wrong_type',
      `instance ${index}: feature ${quote(name)} is ${kindOf(value)}, not ${wanted}`,
    )
  }
  if (feature.kind === 'number')
    return (value, index) => {
      if (typeof value === 'number') {
        // The network reads single precision, and the log keeps it: what overflows there is the caller's doing and not the model's.
        const read = fit?.kind === 'number' ? scaled(value, fit.mean, fit.std) : value
        if (Number.isFinite(Math.fround(read)) && Number.isFinite(Math.fround(value))) return
        throw new DomainError(
          'not_finite',
          `instance ${index}: feature ${quote(name)} is not finite, or too large`,
        )
      }
      refuseMissing(value, index)
      if (value !== null) wrongType(value, index)
    }
  const values = feature.values === undefined ? undefined : new Set(feature.values)
  return (value, index) => {
    if (typeof value === 'string') {
      if (values === undefined) {
        // Stored with the prediction, it would end every query that reads its features.
        if (!value.includes('\0')) return
        throw new DomainError(
          'wrong_type',
          `instance ${index}: feature ${quote(name)} has NUL, which cannot be kept`,
        )
      }
      if (values.has(value)) return
      throw new DomainError(
        'unknown_category',
        `instance ${index}: feature ${quote(name)} is none of its ${values.size} values`,
      )
    }
    refuseMissing(value, index)
    if (value !== null) wrongType(value, index)
  }
}

function refuseUnknown(row: FeatureRow, features: Features, index: number): void {
  for (const name in row)
    if (!Object.hasOwn(features, name))
      throw new DomainError('unknown_feature', `instance ${index} has an unknown feature ${quote(name)}`)
}

export function isRoutingKey(value: unknown): value is string {
  return (
    typeof value === 'string' && value !== '' && value.length <= maxRoutingKeyLength && !value.includes('\0')
  )
}

const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

function kindOf(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value === 'string' ? 'text' : typeof value}`
}
