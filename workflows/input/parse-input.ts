/**
 * Checks the input of a workflow. A terminal or another SDK may send a value of any shape, and a plain error would fail the workflow
 * task, which Temporal retries without end.
 */
import { ApplicationFailure } from '@temporalio/workflow'
import { isStorable } from '../../domain/postgres-text.ts'
import type { UnreadablePayload } from './payload-converter.ts'

/** Returns what is wrong with the value of a field; undefined for a valid value. */
type FieldCheck = (value: unknown) => string | undefined

/** Longer names do not fit into a search attribute. */
const maxNameLength = 500

const name: FieldCheck = (value) => {
  if (typeof value !== 'string' || value === '') return 'must be a non-empty text'
  return value.length > maxNameLength ? `must have at most ${maxNameLength} characters` : undefined
}
const number: FieldCheck = (value) => (Number.isFinite(value) ? undefined : 'must be a number')

/** The checks of a field. */
export const field = { name, number }

/** Other SDKs send null for an absent field. */
export const optional =
  (check: FieldCheck): FieldCheck =>
  (value) =>
    value === undefined || value === null ? undefined : check(value)

/** The fields of any value. */
export const recordOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}

/** Fails the workflow without retry, naming all issues. */
export function parseInput<T>(given: unknown, checks: Record<keyof Required<T> & string, FieldCheck>): T {
  const fields = recordOf(given)
  const issues = Object.entries<FieldCheck>(checks).flatMap(([key, check]) => {
    const issue = check(fields[key])
    return issue === undefined ? [] : [`"${key}" ${issue}`]
  })
  const { unreadable } = fields as Partial<UnreadablePayload>
  const found = typeof unreadable === 'string' ? [unreadable] : issues
  if (!isStorable(given)) found.push('texts must not contain NUL or lone surrogates')
  if (found.length > 0)
    throw ApplicationFailure.nonRetryable(
      `the input is not {"${Object.keys(checks)[0]}": "<name>", …}: ${found.join('; ')}`,
      'invalid_request',
      { issues: found },
    )
  const known = Object.entries(fields).filter(([key, value]) => key in checks && value !== null)
  return Object.fromEntries(known) as T
}
