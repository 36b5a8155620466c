/** Parses the body of a prediction request. The row reader checks the values of its instances. */
import { DomainError, quotedName } from '../../../domain/errors.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { parseModestJson } from './json-limits.ts'
import { kindOf } from './row-reader.ts'

export interface PredictRequest {
  instances: FeatureRow[]
  routingKey: string | undefined
}

export const maxRoutingKeyLength = 256

const fields = new Set(['instances', 'routing_key'])

/** Parses the body. `width` is the number of values of an instance. */
export function parsePredict(body: Buffer, maxInstances: number, width: number): PredictRequest {
  const parsed = parseModestJson(body, maxInstances, width)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new DomainError('invalid_request', `the body is ${kindOf(parsed)}, not an object`)
  const { instances, routing_key: routingKey } = parsed as Record<string, unknown>
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
  if (routingKey !== undefined && !isRoutingKey(routingKey))
    throw new DomainError(
      'invalid_request',
      `"routing_key" is not a text of 1 to ${maxRoutingKeyLength} characters without NUL`,
    )
  return { instances: instances as FeatureRow[], routingKey: routingKey as string | undefined }
}

export function isRoutingKey(value: unknown): value is string {
  return (
    typeof value === 'string' && value !== '' && value.length <= maxRoutingKeyLength && !value.includes('\0')
  )
}
