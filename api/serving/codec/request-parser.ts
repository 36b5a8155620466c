/** Parses the body of a prediction request. The row reader checks the values of its instances. */
import { DomainError, quotedName } from '../../../domain/errors.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { parseModestJson } from './json-limits.ts'
import { kindOf } from './row-reader.ts'

/** The texts that a request may carry beside its rows. */
export interface CallerTexts {
  routingKey: string | undefined
  /** The caller's name of what the request is about, such as an order number, by which its outcomes may come. */
  reference: string | undefined
}

export interface PredictRequest extends CallerTexts {
  instances: FeatureRow[]
}

export const maxRoutingKeyLength = 256
export const maxReferenceLength = 200

const fields = new Set(['instances', 'routing_key', 'reference'])

/** Parses the body. `width` is the number of values of an instance. */
export function parsePredict(body: Buffer, maxInstances: number, width: number): PredictRequest {
  const parsed = parseModestJson(body, maxInstances, width)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new DomainError('invalid_request', `the body is ${kindOf(parsed)}, not an object`)
  const { instances, ...texts } = parsed as Record<string, unknown>
  for (const name in parsed)
    if (!fields.has(name))
      throw new DomainError('invalid_request', `the body has an unknown field ${quotedName(name)}`)
  if (!Array.isArray(instances))
    throw new DomainError('invalid_request', `"instances" is ${kindOf(instances)}, not a list`)
  if (instances.length === 0) throw new DomainError('no_instances', '"instances" is empty')
  if (instances.length > maxInstances)
    throw new DomainError(
      'batch_too_large',
      `the request has ${instances.length} instances, more than ${maxInstances}`,
      { limit: maxInstances },
    )
  return { instances: instances as FeatureRow[], ...callerTexts(texts) }
}

/** Throws `invalid_request` for a wrong `routing_key` or `reference`. */
export function callerTexts({ routing_key: routingKey, reference }: Record<string, unknown>): CallerTexts {
  return {
    routingKey: textOf('routing_key', routingKey, maxRoutingKeyLength),
    reference: textOf('reference', reference, maxReferenceLength),
  }
}

export const isRoutingKey = (value: unknown): value is string => isText(value, maxRoutingKeyLength)

function textOf(name: string, value: unknown, maxLength: number): string | undefined {
  if (value === undefined || isText(value, maxLength)) return value
  throw new DomainError(
    'invalid_request',
    `"${name}" is not a text of 1 to ${maxLength} characters without NUL`,
  )
}

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= maxLength && !value.includes('\0')
