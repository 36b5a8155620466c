/** Reports unknown fields. A misspelled field would otherwise silently keep its default. */
import type { IssueCollector } from './issues.ts'

/** Returns the field names of a type; the type checker compares them with it. */
export const fieldNames = <T>(fields: Record<keyof Required<T>, 0>): string[] => Object.keys(fields)

export function reportUnknown(
  report: IssueCollector,
  place: string,
  given: object | undefined,
  fields: readonly string[],
): void {
  for (const field of Object.keys(given ?? {})) {
    if (fields.includes(field)) continue
    const alike = nearest(field, fields)
    report(
      place,
      alike === undefined
        ? `has the fields ${fields.join(', ')}, not ${field}`
        : `has no field ${field}: did you mean ${alike}?`,
    )
  }
}

/** Returns the most similar name, if the difference is likely a typing error. */
function nearest(given: string, names: readonly string[]): string | undefined {
  const [first] = names
    .map((name) => ({ name, edits: editsBetween(given.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, edits }) => edits <= Math.max(1, Math.floor(name.length / 3)))
    .sort((one, other) => one.edits - other.edits)
  return first?.name
}

/** Computes the Levenshtein distance. */
function editsBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, place) => place)
  for (const [above, letter] of Array.from(one).entries()) {
    const next = [above + 1]
    for (let place = 1; place <= other.length; place++)
      next[place] = Math.min(
        row[place]! + 1,
        next[place - 1]! + 1,
        row[place - 1]! + (letter === other[place - 1] ? 0 : 1),
      )
    row = next
  }
  return row[other.length]!
}
