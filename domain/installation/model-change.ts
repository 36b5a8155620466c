/** Says which fields of a model definition a sync has changed, for the audit log. */
import type { ModelDefinition } from '../model-definition.ts'
import { asStored, changedFields } from './plan.ts'

const maxFields = 50

/**
 * Names the changed fields, with the values of numbers and switches: `evaluation.policy.fairness.gap: 0.2 → 0.1`. Other values may be of
 * persons, as in the rows of tests, and the audit log outlives erasures.
 */
export function textsOfChange(before: ModelDefinition | undefined, after: ModelDefinition): string[] {
  if (before === undefined) return []
  const stored = asStored(after)
  const { golden: goldenBefore, tests: testsBefore, ...rest } = before
  const { golden, tests, ...restAfter } = stored
  const rows = { golden: [goldenBefore, golden], tests: [testsBefore, tests] }
  const changed = Object.entries(rows).flatMap(([name, [one, other]]) =>
    changedFields(one, other).length === 0 ? [] : [name],
  )
  for (const { path, before: was, after: is } of changedFields(rest, restAfter))
    changed.push(isShown(was) && isShown(is) ? `${path}: ${textOf(was)} → ${textOf(is)}` : path)
  const more = changed.length - maxFields
  return more > 0 ? [...changed.slice(0, maxFields), `and ${more} more`] : changed
}

const isShown = (value: unknown): boolean => ['number', 'boolean', 'undefined'].includes(typeof value)

const textOf = (value: unknown): string => (value === undefined ? 'unset' : String(value))
