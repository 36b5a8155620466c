/**
 * Defines the callers who get a candidate before any share of the traffic: by a header, by a feature of their requests, or by their
 * routing keys. They are selected, not drawn, so their requests are counted separately from the compared arms.
 */
import { policyIssues } from '../policy-issues.ts'

/** How callers are selected: exactly one of the three. */
export type CallerTarget =
  | { header: { name: string; value: string } }
  | { attribute: { name: string; value: string | number } }
  | { routingKeys: readonly string[] }

/** The parts of a request that identify its caller. */
export interface TargetedRequest {
  /** The value of a header; undefined when it was not sent or the protocol has no headers. */
  header?: ((name: string) => string | undefined) | undefined
  routingKey: string | undefined
  /** Whether the feature has this value in every row. */
  hasFeature(name: string, value: string | number): boolean
}

export type TargetMatcher = (request: TargetedRequest) => boolean

/** Tests whether a request comes from a targeted caller. Built once per route. */
export function targetMatcher(target: CallerTarget): TargetMatcher {
  if ('header' in target) {
    const { name, value } = target.header
    return ({ header }) => header?.(name) === value
  }
  if ('attribute' in target) {
    const { name, value } = target.attribute
    return (request) => request.hasFeature(name, value)
  }
  const keys = new Set(target.routingKeys)
  return ({ routingKey }) => routingKey !== undefined && keys.has(routingKey)
}

/** The target in words: `callers with the header x-preview: on`. */
export function targetText(target: CallerTarget): string {
  if ('header' in target) return `callers with the header ${target.header.name}: ${target.header.value}`
  if ('attribute' in target) return `requests with ${target.attribute.name} = ${target.attribute.value}`
  const { length } = target.routingKeys
  return `${length} listed routing ${length === 1 ? 'key' : 'keys'}`
}

/** Limits the size of a route, which replicas read often. */
export const maxRoutingKeys = 1_000
const maxKeyLength = 256
const maxValueLength = 200
const headerName = /^[a-z0-9][a-z0-9-]{0,62}$/
const headerValue = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/
/** Headers that carry secrets or frame the message; a policy is stored and shown. */
const refusedHeaders =
  /^(authorization|cookie|proxy-.*|connection|host|transfer-encoding|content-.*|expect|upgrade)$/

const isNamed = (part: unknown): boolean =>
  typeof part === 'object' && part !== null && 'name' in part && 'value' in part

const unnamed = (field: string): string =>
  `${field} must have a name and a value, such as { "name": "x-preview", "value": "on" }`

/** The issues of a target, each with its field; empty when it is valid. A route or a policy may have been edited by hand. */
export function issuesOfTarget(target: CallerTarget): string[] {
  const { issues, need } = policyIssues()
  const given = (typeof target === 'object' && target !== null ? Object.keys(target) : []).filter((name) =>
    ['header', 'attribute', 'routingKeys'].includes(name),
  )
  if (given.length !== 1) return ['header, attribute or routingKeys is required, and only one of them']
  if ('header' in target) {
    if (!isNamed(target.header)) return [unnamed('header')]
    const { name, value } = target.header
    need(headerName.test(name), `header.name is a header in lower case, such as x-preview, not ${name}`)
    need(
      !refusedHeaders.test(name),
      `header.name cannot be ${name}; choose a header of your own, such as x-preview`,
    )
    need(
      headerValue.test(value) && value.length <= maxValueLength,
      `header.value is 1 to ${maxValueLength} visible characters of ASCII`,
    )
  } else if ('attribute' in target) {
    if (!isNamed(target.attribute)) return [unnamed('attribute')]
    const { name, value } = target.attribute
    need(name !== '', 'attribute.name is empty')
    need(
      typeof value === 'number' ? Number.isFinite(value) : value !== '' && value.length <= maxValueLength,
      `attribute.value is a number, or a text of 1 to ${maxValueLength} characters`,
    )
  } else {
    const { routingKeys } = target
    if (!Array.isArray(routingKeys)) return ['routingKeys must be a list of texts']
    need(
      routingKeys.length > 0 && routingKeys.length <= maxRoutingKeys,
      `routingKeys lists 1 to ${maxRoutingKeys} keys, not ${routingKeys.length}`,
    )
    need(
      routingKeys.every((key) => key !== '' && key.length <= maxKeyLength),
      `routingKeys are texts of 1 to ${maxKeyLength} characters`,
    )
    need(new Set(routingKeys).size === routingKeys.length, 'routingKeys lists a key twice')
  }
  return issues
}
