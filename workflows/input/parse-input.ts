/**
 * Checks the input of a workflow. A terminal or another SDK may send a value of any shape, and a plain error would fail the workflow
 * task, which Temporal retries without end.
 */
import { ApplicationFailure } from '@temporalio/workflow'
import { isStorable } from '../../domain/postgres-text.ts'
import type { UnreadablePayload } from './payload-converter.ts'

/** Returns what is wrong with the value of a field; undefined for a valid value. */
export type FieldCheck = (value: unknown) => string | undefined

/** Longer names do not fit into a search attribute. */
const maxNameLength = 500

const name: FieldCheck = (value) => {
  if (typeof value !== 'string' || value === '') return 'must be a non-empty text'
  return value.length > maxNameLength ? `must have at most ${maxNameLength} characters` : undefined
}
const text: FieldCheck = (value) => (typeof value === 'string' ? undefined : 'must be a text')
const number: FieldCheck = (value) => (Number.isFinite(value) ? undefined : 'must be a number')
const time: FieldCheck = (value) =>
  typeof value === 'string' && /^\d{4}-\d{2}-\d{2}/.test(value) && !Number.isNaN(Date.parse(value))
    ? undefined
    : 'must be an ISO 8601 time such as 2001-01-29T00:00:00Z'
const object: FieldCheck = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'must be an object'
const names: FieldCheck = (value) =>
  Array.isArray(value) && value.every((each) => name(each) === undefined)
    ? undefined
    : 'must be a list of texts'

/** The checks of a field. */
export const field = { name, text, number, time, object, names }

/** Other SDKs send null for an absent field. */
export const optional =
  (check: FieldCheck): FieldCheck =>
  (value) =>
    value === undefined || value === null ? undefined : check(value)

/** The fields of any value. */
export const recordOf = (value: unknown): Record<string, unknown> =>
  object(value) === undefined ? (value as Record<string, unknown>) : {}

/** Fails the workflow without retry, naming all issues. */
export function parseInput<T>(given: unknown, checks: Record<keyof Required<T> & string, FieldCheck>): T {
  const fields = recordOf(given)
  const issues = Object.entries<FieldCheck>(checks).flatMap(([key, check]) => {
    const issue = check(fields[key])
    return issue === undefined ? [] : [`"${key}" ${issue}`]
  })
  refuseInput(given, Object.keys(checks)[0] ?? '', issues)
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as T
}

/** Throws unless there are no issues and the input can be stored. */
export function refuseInput(given: unknown, first: string, found: readonly string[]): void {
  const { unreadable } = recordOf(given) as Partial<UnreadablePayload>
  const issues = typeof unreadable === 'string' ? [unreadable] : [...found]
  if (!isStorable(given)) issues.push('texts must not contain NUL or lone surrogates')
  if (issues.length > 0)
    throw ApplicationFailure.nonRetryable(
      `the input is not {"${first}": "<name>", …}: ${issues.join('; ')}`,
      'invalid_request',
      { issues },
    )
}
