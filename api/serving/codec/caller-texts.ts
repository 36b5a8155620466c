/** Checks the texts that a request may carry beside its rows. */
import { DomainError } from '../../../domain/errors.ts'

export interface CallerTexts {
  routingKey: string | undefined
  /** The caller's name of what the request is about, such as an order number, by which its outcomes may come. */
  reference: string | undefined
}

export const maxRoutingKeyLength = 256
export const maxReferenceLength = 200

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
    `"${name}" is not a text of 1 to ${maxLength} characters without NUL and unpaired surrogates`,
  )
}

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= maxLength &&
  !value.includes('\0') &&
  value.isWellFormed()
